//! What an answer says (SPEC 4.8): four envelopes, none of them with documented codes for refusals.

pub(super) mod codes;
pub(super) mod envelope;
mod items;
mod personal;

use serde_json::Value;

use crate::error::{Answer, DeliveryError};
use crate::platforms::call::{CallAnswer, CallReading, PreparedCall};
use crate::platforms::http_status::{looks_like_object, safe_code};
use crate::platforms::reading::HttpAnswer;
use crate::platforms::retry_after;
use crate::platforms::solinkup::args::{MOST_ORDERS, kept};
use crate::platforms::solinkup::catalog::Name;
use crate::platforms::solinkup::config::Settings;
use codes::Means;
use envelope::{Refused, Unwrapped};

/// A request whose timestamp is further off than this is refused.
const CLOCK_LIMIT_MS: u64 = 5 * 60_000;

/// What the answer to one part of a call says.
pub(super) fn read(
    settings: &Settings,
    name: Name,
    call: &PreparedCall,
    part: u64,
    http: &HttpAnswer<'_>,
) -> CallReading {
    let Some(body) = parsed(http.body) else { return CallReading::Nothing };
    match envelope::open(name, &body) {
        Unwrapped::Unknown => CallReading::Nothing,
        Unwrapped::Refused(refused) => CallReading::Failed(failure(settings, &refused, http)),
        Unwrapped::Success { code, message, data } => {
            let items = match name {
                Name::Decrypt => Some(items::of(&call.item, part, data)),
                _ => None,
            };
            // The items say it all.
            let data = if items.is_some() { Value::Null } else { data.clone() };
            CallReading::Answer(Box::new(CallAnswer {
                code,
                message,
                more: more(name, call, part, &data),
                personal: if items.is_some() { items::personal() } else { personal::places(name, &data) },
                data,
                items,
            }))
        }
    }
}

/// The body as JSON, where it is an object.
pub(super) fn parsed(body: &[u8]) -> Option<Value> {
    if looks_like_object(body) { serde_json::from_slice(body).ok() } else { None }
}

/// The class of a refusal: by its code where that is in a table, else by the words of its message.
pub(super) fn failure(settings: &Settings, refused: &Refused, http: &HttpAnswer<'_>) -> DeliveryError {
    let answer = |detail: &str| Answer { code: safe_code(&refused.code), detail: detail.into(), ..http.answer() };
    match refused.means {
        Means::Success | Means::Retry => DeliveryError::Retry(answer("the platform, or the one behind it, failed")),
        Means::Throttled => DeliveryError::Throttled(answer("too many requests")),
        Means::Refresh => DeliveryError::Refresh(answer("the access token is refused")),
        Means::Halt => DeliveryError::Halt(answer("the signature, the app or its permission is refused")),
        Means::Permanent => DeliveryError::Permanent(answer("the arguments are refused")),
        Means::Clock => clock(http, answer),
        Means::Unknown if codes::is_about_the_clock(&refused.words) && is_our_clock_off(http) => clock(http, answer),
        Means::Unknown if settings.patterns.refresh.is_match(&refused.words) => {
            DeliveryError::Refresh(answer("the message of the refusal is about the token"))
        }
        Means::Unknown if settings.patterns.halt.is_match(&refused.words) => {
            DeliveryError::Halt(answer("the message of the refusal is about signature, app or permission"))
        }
        Means::Unknown if codes::is_about_the_clock(&refused.words) => clock(http, answer),
        Means::Unknown => {
            let answer = answer("a refusal whose code and message are in no table");
            DeliveryError::Retry(Answer { unclassified: true, ..answer })
        }
    }
}

/// The failure, where a refusal is about the timestamp and not about anything else that is configured.
pub(super) fn is_clock_refusal(settings: &Settings, refused: &Refused, http: &HttpAnswer<'_>) -> Option<DeliveryError> {
    let is_about_it = refused.means == Means::Clock || codes::is_about_the_clock(&refused.words);
    let is_about_more = settings.patterns.halt.is_match(&refused.words) && !is_our_clock_off(http);
    (is_about_it && !is_about_more).then(|| failure(settings, refused, http))
}

/// The timestamp of the request was refused. If our clock is right, the platform's may soon be so again.
fn clock(http: &HttpAnswer<'_>, answer: impl Fn(&str) -> Answer) -> DeliveryError {
    if is_our_clock_off(http) {
        return DeliveryError::Halt(answer(
            "the timestamp is refused, and this machine's clock is over 5 min from the platform's Date: set it (NTP)",
        ));
    }
    DeliveryError::Retry(answer("the timestamp is refused, and no Date says that this machine's clock is wrong"))
}

/// Whether the answer's own date says so.
fn is_our_clock_off(http: &HttpAnswer<'_>) -> bool {
    let date = http.headers.get("date").and_then(retry_after::date_ms);
    date.is_some_and(|date| date.abs_diff(http.now_ms) > CLOCK_LIMIT_MS)
}

/// Whether another page follows.
fn more(name: Name, call: &PreparedCall, part: u64, data: &Value) -> bool {
    let number = |value: &Value| codes::number(value).and_then(|n| u64::try_from(n).ok());
    let asked = |name: &str| {
        let args = kept(&call.item).unwrap_or_default();
        args.iter().find(|(member, _)| *member == name).and_then(|(_, json)| json.get().parse::<u64>().ok())
    };
    // The page that was asked for, whatever the answer says: one that always names the first page would never end.
    let page = asked("page").map(|first| first.saturating_add(part));
    let is_empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    match name {
        Name::OrderList if !is_empty(&data["shop_order_list"]) => {
            let size = asked("size").or_else(|| number(&data["size"]));
            let (Some(page), Some(size), Some(total)) = (page, size, number(&data["total"])) else { return false };
            let next = (page + 1).saturating_mul(size);
            next < total && next <= MOST_ORDERS.unsigned_abs()
        }
        Name::AdvertiserReport | Name::AdReport if !is_empty(&data["list"]) => {
            page.zip(number(&data["page_info"]["total_page"])).is_some_and(|(page, total)| page < total)
        }
        _ => false,
    }
}
