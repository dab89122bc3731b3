//! What an answer means, by the expressions of `[answer]`. An expression that fails does not hold, so that any bytes
//! have a class.

use std::time::Duration;

use minijinja::Value;

use super::Bound;
use crate::error::{Answer, DeliveryError};
use crate::platforms::Receipt;
use crate::platforms::declared::Unmentioned;
use crate::platforms::declared::answer_json::AnswerJson;
use crate::platforms::declared::engine::{Content, Expr, Scope, Variable};
use crate::platforms::declared::operand::Operand;
use crate::platforms::declared::program::{AnswerRules, ItemRules};
use crate::platforms::declared::write;
use crate::platforms::http_status::safe_code;
use crate::platforms::quota::{until_next_day, until_next_minute};
use crate::platforms::reading::{HttpAnswer, Reading, Verdict};
use crate::platforms::retry_after;

/// A class of answers that accept nothing.
type Refusal = fn(Answer) -> DeliveryError;

/// Clocks that are further apart make a timestamp be refused.
const CLOCKS_APART_MS: u64 = 60_000;

fn sign_again(answer: Answer) -> DeliveryError {
    DeliveryError::Refresh(Answer { sign_again: true, ..answer })
}

/// Why a request may be refused and its event not, as far as the platform's own clock tells.
fn clock_check(answer: &HttpAnswer<'_>) -> String {
    let refused = "the platform refuses the request itself, e.g. its nonce or its timestamp";
    match answer.headers.get("date").and_then(retry_after::date_ms) {
        Some(date_ms) if date_ms.abs_diff(answer.now_ms) > CLOCKS_APART_MS => {
            let seconds = date_ms.abs_diff(answer.now_ms) / 1000;
            format!("{refused}, and this machine's clock is {seconds} s from the platform's Date: set it (NTP)")
        }
        Some(_) => format!("{refused}, though this machine's clock agrees with the platform's Date"),
        None => format!("{refused}, and no Date says whether this machine's clock is right"),
    }
}

/// How long the limit of the minute or of the day lasts, of an answer that says so.
fn limited(rules: &AnswerRules, said: &Said<'_>, error: DeliveryError) -> DeliveryError {
    let now_ms = said.answer.platform_now_ms();
    match error {
        DeliveryError::Throttled(answer) if said.holds(&rules.day) => {
            DeliveryError::Throttled(Answer { quota_wait: Some(until_next_day(now_ms, rules.tz)), ..answer })
        }
        DeliveryError::Throttled(answer) if answer.retry_after.is_none() && said.holds(&rules.minute) => {
            DeliveryError::Throttled(Answer { retry_after: Some(until_next_minute(now_ms)), ..answer })
        }
        error => error,
    }
}

/// A platform's id of a conversion may be so long.
const LONGEST_ID: usize = 256;

impl Bound {
    pub(super) fn reading(&self, items: usize, answer: &HttpAnswer<'_>) -> Reading {
        let rules = &self.program.answer;
        let body = AnswerJson::read(answer.body);
        let scope = self.seen(answer, body.as_ref());
        let said = Said { scope: &scope, answer, code: &rules.code };
        if said.holds(&rules.delivered) {
            return Reading::All(Ok(said.receipt(&rules.platform_id)));
        }
        if let Some(error) = said.refused(rules) {
            return Reading::All(Err(error));
        }
        if said.holds(&rules.split) {
            return Reading::Split;
        }
        if let Some(verdicts) = rules.items.as_ref().and_then(|rules| self.each(rules, items, &scope, answer)) {
            return Reading::Each(verdicts);
        }
        if body.is_some() && (200..=299).contains(&answer.status) {
            return Reading::All(Err(said.unknown()));
        }
        Reading::Nothing
    }

    /// How long an answer makes the whole account wait, whatever it says of the events.
    pub(super) fn pause_of(&self, answer: &HttpAnswer<'_>) -> Option<Duration> {
        let minute = self.program.answer.minute.as_ref()?;
        let body = AnswerJson::read(answer.body);
        let scope = self.seen(answer, body.as_ref());
        minute.holds(&scope).then(|| until_next_minute(answer.platform_now_ms()))
    }

    /// The platform's own code in an answer; empty: it has none.
    pub(super) fn code(&self, answer: &HttpAnswer<'_>) -> String {
        let body = AnswerJson::read(answer.body);
        let scope = self.seen(answer, body.as_ref());
        safe_code(&Said { scope: &scope, answer, code: &None }.text(&self.program.answer.code))
    }

    /// An answer as expressions see it. `body`: where it is JSON.
    pub(super) fn seen<'a>(&'a self, answer: &HttpAnswer<'_>, body: Option<&'a AnswerJson<'_>>) -> Scope<'a> {
        let mut scope = Scope::new();
        scope.set(Variable::Status, Content::Int(answer.status.into()));
        scope.set(Variable::Body, body.map_or_else(|| Content::Value(Value::from(())), Content::Answer));
        scope.set(Variable::Account, Content::Account(&self.account));
        if self.program.of_answers.contains(&Variable::Headers) {
            scope.set(Variable::Headers, Content::Value(Value::from_pairs(answer.headers.iter())));
        }
        if self.program.of_answers.contains(&Variable::Text) {
            let text = String::from_utf8_lossy(answer.body);
            scope.set(Variable::Text, Content::Value(Value::from(text.as_ref())));
        }
        scope
    }

    /// One verdict per item; `None`: the answer has no such list.
    fn each(
        &self,
        rules: &ItemRules,
        items: usize,
        whole: &Scope<'_>,
        answer: &HttpAnswer<'_>,
    ) -> Option<Vec<Option<Verdict>>> {
        if rules.when.as_ref().is_some_and(|when| !when.holds(whole)) {
            return None;
        }
        let list = rules.at.as_ref()?.value(whole).ok()?;
        if !matches!(list.kind(), minijinja::value::ValueKind::Seq | minijinja::value::ValueKind::Iterable) {
            return None;
        }
        let mut base = String::new();
        rules.index_base.render(whole, &mut base).ok()?;
        let base: i64 = base.trim().parse().ok()?;
        let mut verdicts: Vec<Option<Verdict>> = vec![None; items];
        // A list of errors without an error contradicts the answer that has it: nobody knows which events failed.
        let mut all_placed = list.len() != Some(0);
        for (position, item) in list.try_iter().ok()?.enumerate() {
            let scope = whole.clone().with(Variable::Item, Content::Value(item));
            let said = Said { scope: &scope, answer, code: &rules.code };
            let index = match &rules.index {
                None => Some(position),
                Some(index) => {
                    said.number(&Some(index)).and_then(|index| usize::try_from(index.checked_sub(base)?).ok())
                }
            };
            let Some(verdict) = index.and_then(|index| verdicts.get_mut(index)) else {
                all_placed = false;
                continue;
            };
            // Of several entries for one event the first counts.
            if verdict.is_some() {
                continue;
            }
            *verdict = Some(if said.holds(&rules.delivered) {
                Ok(said.receipt(&rules.platform_id))
            } else if said.holds(&rules.retry) {
                Err(said.refusal(DeliveryError::Retry))
            } else if said.holds(&rules.throttled) {
                Err(said.refusal(DeliveryError::Throttled))
            } else if said.holds(&rules.permanent) {
                Err(said.refusal(DeliveryError::Permanent))
            } else {
                Err(said.unknown())
            });
        }
        // An entry without a place belongs to one of the events that seem unmentioned, and nobody knows to which.
        if rules.unmentioned == Unmentioned::Delivered && all_placed {
            for verdict in verdicts.iter_mut().filter(|verdict| verdict.is_none()) {
                *verdict = Some(Ok(Receipt::default()));
            }
        }
        Some(verdicts)
    }
}

/// An answer, or one item of it, while its rules are asked.
pub(super) struct Said<'a> {
    pub scope: &'a Scope<'a>,
    pub answer: &'a HttpAnswer<'a>,
    pub code: &'a Option<Expr>,
}

impl Said<'_> {
    pub fn holds(&self, rule: &Option<Expr>) -> bool {
        rule.as_ref().is_some_and(|rule| rule.holds(self.scope))
    }

    /// A text or a number, as text; empty: there is none.
    pub fn text(&self, rule: &Option<Expr>) -> String {
        let value = match rule.as_ref().map(|rule| rule.operand(self.scope)) {
            Some(Ok(Operand::Text(text))) => return text.into_owned(),
            Some(Ok(value)) => value.into_value(),
            Some(Err(_)) | None => return String::new(),
        };
        let mut text = String::new();
        match value.as_i64() {
            // A whole number by its value: 0.0 is 0.
            Some(number) => text = number.to_string(),
            None if value.is_number() || value.as_str().is_some() => _ = write::text(&value, &mut text),
            None => {}
        }
        text
    }

    pub fn number(&self, rule: &Option<&Expr>) -> Option<i64> {
        let value = rule.as_ref()?.value(self.scope).ok()?;
        value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
    }

    fn receipt(&self, platform_id: &Option<Expr>) -> Receipt {
        let id = self.text(platform_id);
        let fine = !id.is_empty() && id.len() <= LONGEST_ID && !id.chars().any(char::is_control);
        Receipt { platform_id: fine.then_some(id) }
    }

    /// The platform's own code, in the form that headers take.
    pub fn safe_code(&self) -> String {
        safe_code(&self.text(self.code))
    }

    /// What every error says of the answer.
    pub fn answer(&self) -> Answer {
        Answer { code: self.safe_code(), ..self.answer.answer() }
    }

    pub fn refusal(&self, class: Refusal) -> DeliveryError {
        let pause = self.answer.retry_after.and_then(|text| retry_after::parse(text, self.answer.now_ms));
        let detail = "the platform refuses; its code says why".to_owned();
        let answer = Answer { detail, ..self.answer() };
        match class(answer) {
            DeliveryError::Throttled(answer) => DeliveryError::Throttled(Answer { retry_after: pause, ..answer }),
            error => error,
        }
    }

    /// The first class of `rules` that holds, of those that accept nothing.
    pub fn refused(&self, rules: &AnswerRules) -> Option<DeliveryError> {
        let classes: [(&Option<Expr>, Refusal); 6] = [
            (&rules.refresh, DeliveryError::Refresh),
            (&rules.halt, DeliveryError::Halt),
            (&rules.throttled, DeliveryError::Throttled),
            (&rules.permanent, DeliveryError::Permanent),
            (&rules.once_more, sign_again),
            (&rules.retry, DeliveryError::Retry),
        ];
        let (_, class) = classes.into_iter().find(|(rule, _)| self.holds(rule))?;
        let mut error = limited(rules, self, self.refusal(class));
        if let Some(refused) = error.answer_mut().filter(|refused| refused.sign_again) {
            refused.detail = clock_check(self.answer);
        }
        Some(error)
    }

    /// An answer that no rule knows.
    pub fn unknown(&self) -> DeliveryError {
        let answer = self.answer();
        let detail = if answer.code.is_empty() { "an answer that no rule knows" } else { "a code that is in no rule" };
        DeliveryError::Retry(Answer { detail: detail.into(), unclassified: true, ..answer })
    }
}
