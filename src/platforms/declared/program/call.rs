//! `[calls.NAME]`, compiled.

use std::time::Duration;

use chrono_tz::Tz;

use crate::platforms::call::Personal;
use crate::platforms::declared::definition::{Answer, CallPart, Limit, Ordered, RequestPart, Shape};
use crate::platforms::declared::engine::{Compiler, Expr, Template, Uses, Variable};
use crate::platforms::declared::interner::intern;
use crate::platforms::declared::program::form::Form;
use crate::platforms::declared::program::reading::{AnswerRules, OF_ANSWER};
use crate::platforms::declared::program::rule::{CheckRule, Requirement};
use crate::platforms::declared::program::shape::Op;
use crate::units::parse_duration;

/// What the rules of a call can name.
const OF_CALL: [Variable; 2] = [Variable::Event, Variable::Account];

/// The longest interval between two requests about one thing.
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);

/// One call.
#[derive(Debug)]
pub(in crate::platforms::declared) struct CallRules {
    /// Every member that its `args` may have.
    pub args: Vec<&'static str>,
    pub require: Vec<Requirement>,
    pub check: Vec<CheckRule>,
    pub form: Form,
    /// `None`: those of the platform.
    pub answer: Option<AnswerRules>,
    pub message: Option<Expr>,
    pub result: Vec<Op>,
    pub personal: Vec<Personal>,
    pub limit: Option<LimitRules>,
}

/// A limit beside the rate.
#[derive(Debug)]
pub(in crate::platforms::declared) struct LimitRules {
    pub about: Template,
    pub interval: Template,
    pub per_day: Template,
    pub tz: Tz,
}

/// The numbers of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::platforms::declared) struct Bounds {
    pub interval: Duration,
    pub per_day: Option<u64>,
}

/// Reads the texts of a limit. An empty one limits nothing.
///
/// # Errors
/// The key at fault, and the reason.
pub(in crate::platforms::declared) fn bounds(
    interval: &str,
    per_day: &str,
) -> Result<Bounds, (&'static str, &'static str)> {
    let interval = match interval {
        "" => Duration::ZERO,
        text => parse_duration(text)
            .filter(|interval| *interval <= LONGEST_INTERVAL)
            .ok_or(("interval", "has to be a duration up to a day, e.g. \"30m\""))?,
    };
    let per_day = match per_day {
        "" => None,
        text => {
            let number = text.parse().ok().filter(|number| *number > 0);
            Some(number.ok_or(("per_day", "has to be a whole number from 1"))?)
        }
    };
    Ok(Bounds { interval, per_day })
}

impl Compiler<'_> {
    pub(super) fn call(&self, name: &str, part: &CallPart) -> CallRules {
        let key = format!("calls.{name}");
        let below = |member: &str| format!("{key}.{member}");
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) && name.len() <= 128;
        if !is_name {
            self.problem(&key, "is no name of a call: visible ASCII characters without spaces, at most 128");
        }
        if !part.reads_only {
            let reason = "has to be true: a call is made again if its answer does not come, so that only a request that \
                          changes nothing can be declared; any other one is written in code";
            self.problem(&below("reads_only"), reason);
        }
        let mut known = [&OF_CALL[..], &[Variable::NowMs]].concat();
        if self.source.definition.token.is_some() {
            known.push(Variable::Token);
        }
        self.of_one_request(&below("request"), &part.request);
        self.only_reads(&below("request"), &part.request);
        let mut form = self.compiled_form(below("request"), &part.request, &known);
        let of_result = [&OF_ANSWER[..], &[Variable::Event]].concat();
        let mut result = Vec::new();
        match &part.result {
            Some(shape) => self.shape(&below("result"), shape, &of_result, &mut result),
            None => self.problem(&below("result"), "is missing: what the caller gets"),
        }
        let mut uses = Uses::default();
        result.iter().filter_map(Op::uses).for_each(|named| uses.add(&named));
        form.keep(&uses);
        CallRules {
            args: part.args.iter().map(|(arg, _)| intern(arg)).collect(),
            require: self.args(&below("args"), &part.args),
            check: self.checks(&below("check"), &part.check, &OF_CALL),
            form,
            answer: self.answer_of_call(&key, part),
            message: self.expr(&below("message"), &part.message, &OF_ANSWER),
            result,
            personal: self.personal(&below("personal"), part),
            limit: part.limit.as_ref().map(|limit| self.limit(&below("limit"), limit)),
        }
    }

    /// The names of arguments, with the expressions that say when they must be there.
    fn args(&self, key: &str, args: &Ordered<String>) -> Vec<Requirement> {
        let mut require = Vec::new();
        for (name, text) in args.iter() {
            let key = format!("{key}.{name}");
            self.path(&key, name);
            if name.contains('.') {
                self.problem(&key, "has to be a member of `args` itself");
            }
            let when = self.condition(&key, text, &OF_CALL);
            if !text.trim().is_empty() {
                require.push((intern(&format!("args.{name}")), when.filter(|_| text.trim() != "true")));
            }
        }
        require
    }

    /// What a request that changes nothing cannot have.
    fn only_reads(&self, key: &str, part: &RequestPart) {
        if matches!(part.method.as_str(), "PUT" | "PATCH" | "DELETE") {
            let reason =
                format!("has to be GET or POST: a declared call only reads, and {} changes something", part.method);
            self.problem(&format!("{key}.method"), reason);
        }
    }

    fn answer_of_call(&self, key: &str, part: &CallPart) -> Option<AnswerRules> {
        let Some(answer) = &part.answer else {
            let whole = &self.source.definition.answer;
            if whole.delivered.trim().is_empty() && whole.items.is_some() {
                let reason = "is missing: [answer] has no `delivered`, so that no answer would be one to this call";
                self.problem(&format!("{key}.answer"), reason);
            }
            return None;
        };
        let key = format!("{key}.answer");
        if answer.delivered.trim().is_empty() {
            self.problem(&format!("{key}.delivered"), "is missing: without it no answer would be one to this call");
        }
        let Answer { platform_id, split, items, .. } = answer;
        let stated =
            [("platform_id", !platform_id.is_empty()), ("split", !split.is_empty()), ("items", items.is_some())];
        for (name, _) in stated.iter().filter(|(_, is_stated)| *is_stated) {
            self.problem(&format!("{key}.{name}"), "is for conversions: a call has one answer, which is its result");
        }
        Some(self.answer_rules(&key, answer))
    }

    /// A place that is not in the result would leave what it is about unmasked.
    fn personal(&self, key: &str, part: &CallPart) -> Vec<Personal> {
        for (at, _) in part.personal.iter() {
            let first = at.split('.').next().unwrap_or_default();
            let names: Vec<&str> = match &part.result {
                Some(Shape::Table(members)) => members.iter().map(|(name, _)| name.as_str()).collect(),
                _ => continue,
            };
            if first != "*" && !names.contains(&first) {
                let reason = format!("is no place of the result, which has {}", names.join(", "));
                self.problem(&format!("{key}.{at}"), reason);
            }
        }
        part.personal.iter().map(|(at, kind)| Personal { at: intern(at).into(), kind: *kind }).collect()
    }

    fn limit(&self, key: &str, limit: &Limit) -> LimitRules {
        if limit.about.trim().is_empty() {
            self.problem(&format!("{key}.about"), "is missing: what a call asks about, e.g. a number of the event");
        }
        let number = |name: &str, text: &str| self.template(&format!("{key}.{name}"), text, &[Variable::Account]);
        let (interval, per_day) = (number("interval", &limit.interval.0), number("per_day", &limit.per_day.0));
        let fixed = |template: &Template| match template {
            Template::Fixed(text) => text.to_string(),
            _ => String::new(),
        };
        if let Err((name, reason)) = bounds(&fixed(&interval), &fixed(&per_day)) {
            self.problem(&format!("{key}.{name}"), reason);
        }
        LimitRules {
            about: self.template(&format!("{key}.about"), &limit.about, &OF_CALL),
            interval,
            per_day,
            tz: self.zone(key, &limit.tz, &limit.per_day.0, "per_day"),
        }
    }
}
