//! Makes the calls of one account of a declared platform.

use std::sync::Arc;

use bytes::Bytes;
use minijinja::{Error, ErrorKind, Value};

use super::Bound;
use super::answer::Said;
use super::compose::{AttemptValues, Failure};
use super::prepare::tried;
use super::seen::Seen;
use crate::error::{Answer, DeliveryError, Fault};
use crate::platforms::call::{
    CALL_ANSWER_BYTES, Call, CallAnswer, CallEvent, CallLimit, CallReading, Parts, PreparedCall,
};
use crate::platforms::declared::answer_json::AnswerJson;
use crate::platforms::declared::blobs::{Reader, Writer};
use crate::platforms::declared::engine::{Content, Scope, Template, Variable};
use crate::platforms::declared::json::JsonObject;
use crate::platforms::declared::program::{Bounds, CallRules, JsonText, Op, bounds};
use crate::platforms::reading::HttpAnswer;
use crate::platforms::rules::invalid;
use crate::platforms::tokens::{Seed, TokenSource};
use crate::platforms::{Context, Item, Problem, Request};
use crate::secret::SecretString;

/// The calls of one account.
pub(in crate::platforms::declared) struct Calls {
    bound: Bound,
    /// The numbers of each call's limit, in the order of the calls.
    bounds: Vec<Bounds>,
}

impl Calls {
    /// # Errors
    /// A limit whose numbers the keys of the account do not give.
    pub fn new(bound: Bound) -> Result<Self, Vec<Problem>> {
        let scope = Scope::new().with(Variable::Account, Content::Account(&bound.account));
        let (mut all, mut problems) = (Vec::new(), Vec::new());
        for (name, rules) in bound.program.call_names.iter().zip(&bound.program.calls) {
            let Some(limit) = &rules.limit else {
                all.push(Bounds::default());
                continue;
            };
            let text = |template: &Template| {
                let mut text = String::new();
                template.render(&scope, &mut text).map(|()| text).unwrap_or_default()
            };
            match bounds(&text(&limit.interval), &text(&limit.per_day)) {
                Ok(bounds) => all.push(bounds),
                Err((member, reason)) => {
                    let template = if member == "interval" { &limit.interval } else { &limit.per_day };
                    let uses = template.uses();
                    let key = uses.of(Variable::Account).next().unwrap_or_default().to_owned();
                    problems.push((key, format!("{reason}: calls.{name}.limit.{member} is made of it")));
                }
            }
        }
        drop(scope);
        if problems.is_empty() { Ok(Self { bound, bounds: all }) } else { Err(problems) }
    }

    fn rules(&self, call: &str) -> Option<(&'static str, &CallRules, Bounds)> {
        let program = &self.bound.program;
        let at = program.call_names.iter().position(|name| *name == call)?;
        Some((program.call_names[at], program.calls.get(at)?, self.bounds.get(at).copied()?))
    }

    fn composed(&self, rules: &CallRules, item: &Item, parts: &AttemptValues) -> Result<Request, Failure> {
        let mut texts = Reader(item.text().unwrap_or_default());
        let event = kept(&mut texts);
        let mut scope = Scope::new();
        scope.set(Variable::Account, Content::Account(&self.bound.account));
        scope.set(Variable::NowMs, Content::Int(parts.now_ms));
        scope.set(Variable::Token, Content::Value(parts.token.clone()));
        if let Some(event) = &event {
            scope.set(Variable::Event, Content::Event(event));
        }
        self.bound.rendered(&rules.form, texts, scope, parts.shown)
    }

    fn limit(rules: &CallRules, bounds: Bounds, seen: &Seen<'_>) -> Result<Option<CallLimit>, DeliveryError> {
        let Some(limit) = &rules.limit else { return Ok(None) };
        let mut about = String::new();
        let rendered = limit.about.render(seen.scope, &mut about);
        rendered.map_err(|error| seen.refused("limit.about", &error, &limit.about.uses()))?;
        Ok(Some(CallLimit { about, interval: bounds.interval, per_day: bounds.per_day, tz: limit.tz }))
    }
}

/// What an item keeps of its event.
fn kept(texts: &mut Reader<'_>) -> Option<Arc<JsonObject>> {
    let text = texts.next()?;
    Some(JsonObject::event(Bytes::copy_from_slice(text.as_bytes())))
}

impl Call for Calls {
    fn names(&self) -> &'static [&'static str] {
        self.bound.program.call_names
    }

    fn prepare(&self, call: &CallEvent<'_>, now_ms: i64) -> Result<PreparedCall, DeliveryError> {
        let Some((name, rules, bounds)) = self.rules(call.name) else {
            return Err(invalid("call", format!("is none of {}", self.names().join(", "))));
        };
        let object = JsonObject::event(call.published.0.clone());
        let scope = Scope::new()
            .with(Variable::Event, Content::Event(&object))
            .with(Variable::Account, Content::Account(&self.bound.account));
        let seen = Seen { object: &object, scope: &scope };
        seen.judge(&rules.require, &rules.check, &rules.form, &self.bound.program)?;
        call.knows_only(&rules.args)?;
        let mut texts = Writer::default();
        texts.push(seen.late(&rules.form).as_deref());
        seen.early(&rules.form, &mut texts, None)?;
        let item = Item::new(texts.finish());
        let limit = Self::limit(rules, bounds, &seen)?;
        let token = Value::from_pairs([("access", "token"), ("refresh", "token")]);
        tried(&seen, &rules.form, self.composed(rules, &item, &AttemptValues { now_ms, token, shown: false }))?;
        Ok(PreparedCall { name, item, parts: Parts::One, destructive: false, warnings: Vec::new(), limit })
    }

    fn request(&self, call: &PreparedCall, _part: u64, context: &Context<'_>) -> Result<Request, Fault> {
        let (_, rules, _) = self.rules(call.name).ok_or_else(|| Fault::whole("no call of this platform"))?;
        let parts = AttemptValues { now_ms: context.now_ms, token: self.bound.token(context)?, shown: true };
        let token = context.token.map(SecretString::expose);
        let request = self.bound.masked(&rules.form, token, || self.composed(rules, &call.item, &parts))?;
        Ok(Request { answer_bytes: CALL_ANSWER_BYTES, ..request })
    }

    fn read(&self, call: &PreparedCall, _part: u64, answer: &HttpAnswer<'_>) -> CallReading {
        let Some((name, rules, _)) = self.rules(call.name) else { return CallReading::Nothing };
        let answers = rules.answer.as_ref().unwrap_or(&self.bound.program.answer);
        let event = kept(&mut Reader(call.item.text().unwrap_or_default()));
        let body = AnswerJson::read(answer.body);
        let mut scope = self.bound.seen(answer, body.as_ref());
        if let Some(event) = &event {
            scope.set(Variable::Event, Content::Event(event));
        }
        let said = Said { scope: &scope, answer, code: &answers.code };
        if said.holds(&answers.delivered) {
            let data = match result(rules, &scope) {
                Ok(data) => data,
                Err(error) => {
                    let detail = format!("calls.{name}.result cannot be made of the answer: {}", error.kind());
                    let answer = Answer { detail, unclassified: true, ..said.answer() };
                    return CallReading::Failed(DeliveryError::Retry(answer));
                }
            };
            let (code, message) = (said.safe_code(), said.text(&rules.message));
            let personal = rules.personal.clone();
            return CallReading::Answer(Box::new(CallAnswer {
                code,
                message,
                data,
                personal,
                ..CallAnswer::default()
            }));
        }
        match said.refused(answers) {
            Some(error) => CallReading::Failed(error),
            None if body.is_some() && (200..=299).contains(&answer.status) => CallReading::Failed(said.unknown()),
            None => CallReading::Nothing,
        }
    }

    fn tokens(&self) -> Option<(Arc<dyn TokenSource>, Seed)> {
        self.bound.tokens()
    }
}

/// `data` of the result.
fn result(rules: &CallRules, scope: &Scope<'_>) -> Result<serde_json::Value, Error> {
    let mut text = JsonText::with_capacity(1024);
    for op in &rules.result {
        match op {
            Op::Raw(raw) => text.push(raw),
            Op::Open(before) => text.open(before),
            Op::Close => text.close(),
            Op::Member(before, slot) => {
                if let Template::Whole(expr) = &slot.template
                    && expr.operand(scope)?.is_undefined()
                    && !expr.uses.is_conditional
                {
                    return Err(Error::from(ErrorKind::UndefinedError));
                }
                text.member(before, &slot.template, scope)?;
            }
        }
    }
    serde_json::from_str(&text.finish()).map_err(|_| Error::from(ErrorKind::BadSerialization))
}
