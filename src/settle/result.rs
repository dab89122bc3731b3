//! The value of a result of a call (`postback.result/1`, SPEC section 10): what the platform answered, or why it was
//! not asked to the end (pure).

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use crate::clock::now_ms;
use crate::delivery::{Called, Delivery, Ready, ReplyTo, Subject};
use crate::envelope::Named;
use crate::error::{Class, DeliveryError, Outcome, Reason};
use crate::platforms::call::{CallAnswer, ItemResult, ItemStatus, Personal, PersonalKind};
use crate::redact::{SECRET, is_mail, mask_phone, mask_sentence, mask_text};
use crate::settle::policy::field_and_detail;

/// A longer name is left out of a result that its topic refuses by size.
pub const LONGEST_NAME: usize = 256;
/// A longer result is replaced by an error that says so: topics take records of about 1 MiB.
const LONGEST: usize = 900 * 1024;
const TOO_LARGE: &str = "result_too_large";

/// What a result is made of, beside its event.
pub struct Part {
    /// The number of the page, as the event counts pages.
    pub page: u64,
    /// No further result of the call follows.
    pub is_final: bool,
    /// The number of attempts, with the one that brought this.
    pub attempts: u32,
    pub http_status: u16,
    pub started_at_ms: i64,
    pub finished_at_ms: i64,
    /// `None`: the answer is longer than a call may have.
    pub answer: Option<CallAnswer>,
}

#[derive(Serialize)]
struct ResultRecord<'a> {
    schema: &'static str,
    trans_id: Option<Cow<'a, str>>,
    platform: Option<Cow<'a, str>>,
    account: Option<Cow<'a, str>>,
    /// The account that answered in place of the one that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<Cow<'a, str>>,
    call: Option<Cow<'a, str>>,
    status: Status,
    page: u64,
    #[serde(rename = "final")]
    is_final: bool,
    attempts: u32,
    http_status: Option<u16>,
    platform_code: Option<String>,
    platform_message: Option<String>,
    classification: Option<&'static str>,
    started_at_ms: Option<i64>,
    finished_at_ms: i64,
    data: Value,
    items: Option<Vec<ItemResult>>,
    error: Option<Problem>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    /// Some items failed.
    Partial,
    /// The platform answered, and not what was asked for.
    PlatformError,
    /// No usable answer came.
    TransportError,
    Expired,
    Invalid,
}

/// Why there is no data.
#[derive(Serialize)]
struct Problem {
    /// A reason of a dead letter, `suppressed`, or `result_too_large`.
    reason: &'static str,
    /// The dotted path of the field at fault; may be empty.
    field: String,
    detail: String,
}

/// The value of a result.
pub struct Written<'a> {
    pub whole: Vec<u8>,
    without_data: ResultRecord<'a>,
}

impl Written<'_> {
    /// The same without data and long texts, for a topic that refuses the whole by size.
    pub fn brief(&self) -> Vec<u8> {
        self.without_data.to_json()
    }
}

impl<'a> ResultRecord<'a> {
    fn written(mut self) -> Written<'a> {
        let mut whole = self.to_json();
        if whole.len() > LONGEST {
            let detail = format!("the result has {} bytes, more than {LONGEST}: ask for smaller pages", whole.len());
            self.leave_out(detail);
            whole = self.to_json();
        }
        let detail = match &self.error {
            Some(error) => format!("the topic refuses by size the result of a call that ended as {}", error.reason),
            None => format!("the topic refuses a result of {} bytes: raise its max.message.bytes", whole.len()),
        };
        self.leave_out(detail);
        for name in [&mut self.trans_id, &mut self.platform, &mut self.account, &mut self.answered_by, &mut self.call] {
            *name = name.take().filter(|name| name.len() <= LONGEST_NAME);
        }
        self.platform_code = self.platform_code.filter(|code| code.len() <= LONGEST_NAME);
        self.platform_message = None;
        Written { whole, without_data: self }
    }

    fn leave_out(&mut self, detail: String) {
        // A call that failed keeps the status that says how.
        if matches!(self.status, Status::Ok | Status::Partial) {
            self.status = Status::PlatformError;
        }
        (self.data, self.items) = (Value::Null, None);
        self.error = Some(Problem { reason: TOO_LARGE, field: String::new(), detail });
    }

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The value of the result that says what a platform answered. Personal data is masked unless the call may publish it.
pub fn answered<'a>(ready: &'a Ready, call: &'a Called, part: Part) -> Written<'a> {
    let Part { page, is_final, attempts, http_status, started_at_ms, finished_at_ms, answer } = part;
    let too_large = answer.is_none();
    let mut answer = answer.unwrap_or_default();
    if !call.shows_personal {
        mask(&mut answer);
    }
    let failed = answer.items.iter().flatten().any(|item| item.status == ItemStatus::Error);
    let mut record = ResultRecord {
        schema: "postback.result/1",
        trans_id: Some(Cow::Borrowed(&ready.trans_id)),
        platform: Some(Cow::Borrowed(ready.asked().platform)),
        account: Some(Cow::Borrowed(&ready.asked().name)),
        answered_by: call.asked.as_ref().map(|_| Cow::Borrowed(&*ready.account.name)),
        call: Some(Cow::Borrowed(&ready.prepared.native)),
        status: if failed { Status::Partial } else { Status::Ok },
        page,
        is_final,
        attempts,
        http_status: Some(http_status),
        platform_code: Some(std::mem::take(&mut answer.code)).filter(|code| !code.is_empty()),
        platform_message: message(&answer.message),
        classification: Some(Class::Delivered.as_str()),
        started_at_ms: Some(started_at_ms),
        finished_at_ms,
        data: std::mem::take(&mut answer.data),
        items: answer.items.take(),
        error: None,
    };
    if too_large {
        record.leave_out("the platform's answer is too long to be read".to_owned());
    }
    record.written()
}

/// Where the result of a call goes that ends as a dead letter, and its value. `None`: it is no call, or none that could
/// be read.
pub fn failed(delivery: &Delivery, reason: Reason, error: &DeliveryError) -> Option<(ReplyTo, Written<'static>)> {
    let has_answer = error.answer().is_some_and(|answer| answer.status.is_some());
    let status = match reason {
        Reason::Malformed | Reason::Quarantined => return None,
        Reason::Invalid | Reason::UnmappedEvent | Reason::UnknownAccount | Reason::Conflict => Status::Invalid,
        Reason::Expired => Status::Expired,
        Reason::Rejected => Status::PlatformError,
        Reason::AttemptsExhausted | Reason::UnknownOutcome if has_answer => Status::PlatformError,
        Reason::AttemptsExhausted | Reason::UnknownOutcome => Status::TransportError,
    };
    let (field, detail) = field_and_detail(reason, error);
    let problem = Problem { reason: reason.as_str(), field: field.into_owned(), detail };
    let (reply, record) = unanswered(delivery, status, problem)?;
    let answer = error.answer();
    let record = ResultRecord {
        http_status: answer.and_then(|answer| answer.status),
        platform_code: answer.map(|answer| answer.code.clone()).filter(|code| !code.is_empty()),
        classification: error.class().map(Class::as_str),
        ..record
    };
    Some((reply, record.written()))
}

/// The same for a call that nobody makes, because its person has opted out.
pub fn suppressed(delivery: &Delivery) -> Option<(ReplyTo, Written<'static>)> {
    let problem = Problem {
        reason: Outcome::Suppressed.as_str(),
        field: "consent.opt_out".to_owned(),
        detail: "no call is made for a person who has opted out".to_owned(),
    };
    let (reply, record) = unanswered(delivery, Status::Invalid, problem)?;
    Some((reply, record.written()))
}

/// The last result of a call that ends without an answer, and where it goes.
fn unanswered(delivery: &Delivery, status: Status, problem: Problem) -> Option<(ReplyTo, ResultRecord<'static>)> {
    let envelope = &delivery.envelope;
    let (reply, page) = match &delivery.subject {
        Subject::Ready(Ready { call, .. }) => {
            let call = call.as_ref()?;
            (call.reply.clone(), call.first_page().saturating_add(envelope.page.into()))
        }
        Subject::Ended(ended) => (ended.reply.clone()?, envelope.page.into()),
    };
    let Named { platform, account, trans_id, event } = delivery.named();
    let record = ResultRecord {
        schema: "postback.result/1",
        trans_id: trans_id.map(Cow::Owned),
        platform: platform.map(Cow::Owned),
        account: account.map(Cow::Owned),
        answered_by: None,
        call: event.map(Cow::Owned),
        status,
        page,
        is_final: true,
        attempts: envelope.attempts,
        http_status: None,
        platform_code: None,
        platform_message: None,
        classification: None,
        started_at_ms: envelope.first_attempt_ms,
        finished_at_ms: now_ms(),
        data: Value::Null,
        items: None,
        error: Some(problem),
    };
    Some((reply, record))
}

/// What a platform says in its own words may name a person.
fn message(text: &str) -> Option<String> {
    if text.is_empty() { None } else { Some(mask_sentence(text).into_owned()) }
}

fn mask(answer: &mut CallAnswer) {
    for Personal { at, kind } in std::mem::take(&mut answer.personal) {
        hide(&mut answer.data, Some(&at), kind);
        answer.items.iter_mut().flatten().for_each(|item| hide(&mut item.data, Some(&at), kind));
    }
    answer.items.iter_mut().flatten().for_each(|item| item.message = mask_sentence(&item.message).into_owned());
}

/// Hides what stands at a place below `value`. Everything below the place is hidden.
fn hide(value: &mut Value, at: Option<&str>, kind: PersonalKind) {
    let Some(at) = at else {
        return match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => *value = hidden(&number.to_string(), kind).into(),
            Value::String(text) => *text = hidden(text, kind),
            Value::Array(items) => items.iter_mut().for_each(|item| hide(item, None, kind)),
            Value::Object(members) => members.values_mut().for_each(|member| hide(member, None, kind)),
        };
    };
    let (name, rest) = at.split_once('.').map_or((at, None), |(name, rest)| (name, Some(rest)));
    match value {
        Value::Array(items) if name == "*" => items.iter_mut().for_each(|item| hide(item, rest, kind)),
        Value::Object(members) if name == "*" => members.values_mut().for_each(|member| hide(member, rest, kind)),
        Value::Object(members) => {
            if let Some(member) = members.get_mut(name) {
                hide(member, rest, kind);
            }
        }
        _ => {}
    }
}

fn hidden(text: &str, kind: PersonalKind) -> String {
    match kind {
        _ if text.is_empty() => String::new(),
        PersonalKind::Value => match mask_phone(text) {
            phone if phone != SECRET => phone,
            // A mail address keeps its first character and its host; nothing else is known of what it is.
            _ if is_mail(text) => mask_text(text).into_owned(),
            _ => SECRET.to_owned(),
        },
        PersonalKind::Text => mask_sentence(text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn personal_data_is_masked_at_each_place_and_nowhere_else() {
        let personal = |at: &'static str, kind| Personal { at: at.into(), kind };
        let mut answer = CallAnswer {
            data: json!({"traces": [{"text": "签收人：张三 13812345678", "at": "2026"}, {"text": "x"}], "phone": 13_812_345_678_i64,
                         "order": "13812345678", "buyer": {"name": "李四", "vip": true, "none": null}}),
            items: Some(vec![ItemResult {
                index: 0,
                auth_id: None,
                status: ItemStatus::Error,
                code: String::new(),
                message: "no 13812345678，收件人：李四".into(),
                data: json!({"text": "李四", "mail": "li@example.com", "both": "李四 li@example.com 北京",
                             "joined": "李四li@example.com"}),
            }]),
            personal: vec![
                personal("traces.*.text", PersonalKind::Text),
                personal("phone", PersonalKind::Value),
                personal("buyer", PersonalKind::Value),
                personal("text", PersonalKind::Value),
                personal("mail", PersonalKind::Value),
                personal("both", PersonalKind::Value),
                personal("joined", PersonalKind::Value),
                personal("absent.*.x", PersonalKind::Value),
            ],
            ..CallAnswer::default()
        };
        mask(&mut answer);
        let expected = json!({"traces": [{"text": "签收人：*** 138****5678", "at": "2026"}, {"text": "x"}],
                              "phone": "138****5678", "order": "13812345678",
                              "buyer": {"name": "***", "vip": true, "none": null}});
        assert_eq!(answer.data, expected);
        let item = &answer.items.unwrap()[0];
        assert_eq!(
            (&item.data, &*item.message),
            (
                &json!({"text": "***", "mail": "l***@example.com", "both": "***", "joined": "***"}),
                "no 138****5678，收件人：***"
            )
        );
        assert_eq!(message("签收人：张三").as_deref(), Some("签收人：***"));
    }
}
