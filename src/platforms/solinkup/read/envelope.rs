//! The four envelopes. 数环通's own has `success`; what stands behind it may answer inside of that envelope or without it.

use serde_json::Value;

use crate::platforms::solinkup::catalog::{Family, Name};
use crate::platforms::solinkup::read::codes::{self, Means, number};

/// An answer without its envelope.
#[derive(Debug)]
pub(in crate::platforms::solinkup) enum Unwrapped<'a> {
    Success {
        code: String,
        message: String,
        data: &'a Value,
    },
    Refused(Refused),
    /// It is none of the four.
    Unknown,
}

#[derive(Debug)]
pub(in crate::platforms::solinkup) struct Refused {
    pub(in crate::platforms::solinkup) code: String,
    pub(in crate::platforms::solinkup) means: Means,
    /// All that the refusal says in words, one a line.
    pub(in crate::platforms::solinkup) words: String,
}

/// Opens the envelope around the answer to a call.
pub(in crate::platforms::solinkup) fn open(call: Name, body: &Value) -> Unwrapped<'_> {
    match &body["success"] {
        Value::Null => inner(call, body).unwrap_or(Unwrapped::Unknown),
        Value::Bool(true) => {
            // `200` and `__200OK` are the envelope's own codes; only an `err_no` beside them is of the platform behind
            // it.
            let beside = if body["err_no"].is_null() { None } else { inner(call, body) };
            let inside = || if body["data"].is_object() { inner(call, &body["data"]) } else { None };
            beside.or_else(inside).unwrap_or_else(|| Unwrapped::Success {
                code: text(&body["code"]),
                message: text(&body["message"]),
                data: &body["data"],
            })
        }
        _ => {
            let told =
                [body, &body["data"]].into_iter().filter_map(|at| inner(call, at)).find_map(|inner| match inner {
                    Unwrapped::Refused(refused) if refused.means != Means::Unknown => Some(refused),
                    _ => None,
                });
            let words = || Refused { code: text(&body["code"]), means: Means::Unknown, words: words(body) };
            Unwrapped::Refused(told.unwrap_or_else(words))
        }
    }
}

/// The answer of the platform behind, by its own rules; `None`: it is not there.
fn inner(call: Name, body: &Value) -> Option<Unwrapped<'_>> {
    let (err_no, code) = (number(&body["err_no"]), number(&body["code"]));
    let data = &body["data"];
    let has_items = data["decrypt_infos"].as_array().is_some_and(|infos| !infos.is_empty());
    let means = match call.family() {
        Family::Open => return None,
        // The items have codes of their own, whatever stands beside them. Where there is none, that alone tells.
        _ if call == Name::Decrypt && has_items => Means::Success,
        _ if call == Name::Decrypt && body["decrypt_infos"].is_array() => {
            return Some(Unwrapped::Success { code: String::new(), message: String::new(), data: body });
        }
        Family::Doudian if err_no.is_some() || code.is_some() => {
            codes::doudian(err_no, code, body["sub_code"].as_str().unwrap_or_default())
        }
        Family::Qianchuan => codes::qianchuan(code?),
        Family::Doudian if call == Name::Decrypt && data["decrypt_infos"].is_array() => Means::Success,
        Family::Doudian => return None,
    };
    let code = if code.is_some() { text(&body["code"]) } else { text(&body["err_no"]) };
    if means == Means::Success {
        let message = [&body["message"], &body["msg"]].into_iter().map(text).find(|text| !text.is_empty());
        return Some(Unwrapped::Success { code, message: message.unwrap_or_default(), data });
    }
    Some(Unwrapped::Refused(Refused { code, means, words: words(body) }))
}

fn words(body: &Value) -> String {
    let said = ["msgCode", "message", "msg", "sub_code", "sub_msg"].map(|name| text(&body[name]));
    said.join("\n")
}

/// A text as it is, a number as it is written, anything else as nothing.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}
