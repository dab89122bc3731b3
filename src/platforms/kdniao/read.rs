//! What 快递鸟 answers.

use serde_json::{Map, Value};

use crate::error::{Answer, DeliveryError};
use crate::platforms::call::{CallAnswer, CallReading, Personal, PersonalKind};
use crate::platforms::kdniao::config::ZONE;
use crate::platforms::kdniao::states;
use crate::platforms::quota::until_next_day;
use crate::platforms::reading::HttpAnswer;
use crate::redact::mask_sentence;

/// Words of `Reason` that say that the account cannot ask at all. The platform has no codes, and no list of its texts
/// is public (PUBLIC section 5): any other refusal is retried, and counted as unclassified.
const HALTS: [(&str, &str); 5] = [
    ("签名", "the signature is refused: check the API key and `data_sign`"),
    ("DataSign", "the signature is refused: check the API key and `data_sign`"),
    ("EBusinessID", "the EBusinessID is refused: check `business_id`"),
    ("套餐", "the plan does not cover it, or is used up"),
    ("次数", "the number of queries is used up"),
];

/// With one of these, used-up queries are those of a day: they come back at midnight, so that nothing has to be
/// resumed.
const OF_A_DAY: [&str; 6] = ["今日", "今天", "当日", "当天", "每日", "每天"];
const USED_UP: &str = "次数";

/// Where names and phone numbers stand in an answer. A sentence of the courier is masked where it has them.
const PERSONAL: [(&str, PersonalKind); 7] = [
    ("Traces.*.AcceptStation", PersonalKind::Text),
    ("Traces.*.Remark", PersonalKind::Text),
    ("Reason", PersonalKind::Text),
    ("CustomerName", PersonalKind::Value),
    ("DeliveryMan", PersonalKind::Value),
    ("DeliveryManTel", PersonalKind::Value),
    ("Callback", PersonalKind::Value),
];

/// The answer as the platform gave it, with the names of its states beside their numbers: `state_name`, and
/// `state_ex_name` where there is a `StateEx`; null for a number that no table lists.
pub(super) fn read(http: &HttpAnswer<'_>) -> CallReading {
    let Ok(Value::Object(mut body)) = serde_json::from_slice(http.body) else { return CallReading::Nothing };
    let reason = text(&body, "Reason");
    match success(&body) {
        Some(true) => {
            let code = text(&body, "State");
            for (number, name) in [("State", "state_name"), ("StateEx", "state_ex_name")] {
                if body.contains_key(number) {
                    body.insert(name.to_owned(), states::name(&text(&body, number)).into());
                }
            }
            let personal = PERSONAL.iter().map(|(at, kind)| Personal { at: (*at).into(), kind: *kind }).collect();
            let data = Value::Object(body);
            CallReading::Answer(Box::new(CallAnswer { code, message: reason, data, personal, ..CallAnswer::default() }))
        }
        Some(false) => CallReading::Failed(refusal(http, &reason)),
        None => CallReading::Nothing,
    }
}

/// `Success`; the platform writes a boolean, a text is taken as well.
fn success(body: &Map<String, Value>) -> Option<bool> {
    match body.get("Success")? {
        Value::Bool(success) => Some(*success),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A member as text; empty where it is neither text nor number.
fn text(body: &Map<String, Value>, name: &str) -> String {
    match body.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn refusal(http: &HttpAnswer<'_>, reason: &str) -> DeliveryError {
    let has = |word: &str| reason.contains(word);
    let said: String = mask_sentence(reason).chars().filter(|c| !c.is_control()).take(100).collect();
    let answer = |why: &str| Answer { detail: format!("{why} ({said})"), ..http.answer() };
    if has(USED_UP) && OF_A_DAY.iter().any(|word| has(word)) {
        let detail = "the queries of the day are used up";
        let wait = until_next_day(http.platform_now_ms(), ZONE);
        return DeliveryError::Throttled(Answer { quota_wait: Some(wait), ..answer(detail) });
    }
    match HALTS.iter().find(|(word, _)| has(word)) {
        Some((_, why)) => DeliveryError::Halt(answer(why)),
        None => {
            DeliveryError::Retry(Answer { unclassified: true, ..answer("refused for a reason that is in no table") })
        }
    }
}
