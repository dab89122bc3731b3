//! The calls that accounts of the third platform may make.

use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{Answer, DeliveryError, Fault};
use crate::event::Paginate;
use crate::platforms::call::{
    CALL_ANSWER_BYTES, Call, CallAnswer, CallEvent, CallLimit, CallReading, ItemResult, ItemStatus, Parts, Personal,
    PersonalKind, PreparedCall,
};
use crate::platforms::reading::HttpAnswer;
use crate::platforms::{Context, Item, Request};

/// The most pages of `list`.
pub(crate) const MOST_PAGES: u64 = 5;
/// From one call about a thing (`args.about`) to the next.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1800);
/// The most items per request of `decrypt`.
pub(crate) const CHUNK: usize = 2;

/// Makes the calls `list` (pages, counted from 1), `get`, `decrypt` (chunks) and `wipe` (destructive).
pub(crate) struct Caller;

impl Call for Caller {
    fn names(&self) -> &'static [&'static str] {
        &["list", "get", "decrypt", "wipe"]
    }

    fn prepare(&self, call: &CallEvent<'_>, now_ms: i64) -> Result<PreparedCall, DeliveryError> {
        call.knows_only(&["items", "about", "per_day", "until_ms"])?;
        if call.args.get("until_ms").and_then(Value::as_i64).is_some_and(|until| until < now_ms) {
            return Err(DeliveryError::Invalid(Fault::new("args.until_ms", "is over")));
        }
        let items = call.args.get("items").and_then(Value::as_array).map_or(0, Vec::len);
        let (name, parts) = match call.name {
            "list" if call.paginate == Paginate::All => ("list", Parts::Pages { first: 1, most: MOST_PAGES }),
            "list" => ("list", Parts::Pages { first: 1, most: 1 }),
            "get" => ("get", Parts::One),
            "decrypt" => ("decrypt", Parts::Chunks(items.div_ceil(CHUNK).max(1) as u64)),
            _ => ("wipe", Parts::One),
        };
        Ok(PreparedCall {
            name,
            item: Item::new(call.trans_id),
            parts,
            destructive: name == "wipe",
            warnings: Vec::new(),
            limit: call.args.get("about").and_then(Value::as_str).map(|about| CallLimit {
                about: about.to_owned(),
                interval: INTERVAL,
                per_day: call.args.get("per_day").and_then(Value::as_u64),
                tz: chrono_tz::Asia::Shanghai,
            }),
        })
    }

    fn request(&self, call: &PreparedCall, part: u64, _: &Context<'_>) -> Result<Request, Fault> {
        let body = format!("{} {part} {}", call.name, call.item.text().unwrap_or_default());
        Ok(Request { path: "/call".into(), body: body.into(), answer_bytes: CALL_ANSWER_BYTES, ..Request::default() })
    }

    fn read(&self, call: &PreparedCall, part: u64, http: &HttpAnswer<'_>) -> CallReading {
        let Ok(body) = serde_json::from_slice::<Value>(http.body) else { return CallReading::Nothing };
        if body["refused"] == true {
            return CallReading::Failed(DeliveryError::Permanent(Answer { code: "E7".into(), ..http.answer() }));
        }
        let item = |(at, word): (usize, &Value)| ItemResult {
            index: part * CHUNK as u64 + at as u64,
            auth_id: Some(format!("auth-{at}")),
            status: if word == "bad" { ItemStatus::Error } else { ItemStatus::Ok },
            code: String::new(),
            message: String::new(),
            data: json!({"text": word}),
        };
        let items = body["items"].as_array().map(|items| items.iter().enumerate().map(item).collect());
        CallReading::Answer(Box::new(CallAnswer {
            code: "0".into(),
            message: "fine".into(),
            more: body["more"] == true,
            data: if matches!(call.parts, Parts::Chunks(_)) { Value::Null } else { body["data"].clone() },
            items,
            personal: vec![Personal { at: "text".into(), kind: PersonalKind::Value }],
        }))
    }
}
