//! What an HTTP status means, for every platform (SPEC section 0.2): whether the body or the status decides.

use std::time::Duration;

use crate::error::{Answer, DeliveryError};
use crate::platforms::call::{CallAnswer, CallReading};
use crate::platforms::reading::{HttpAnswer, Reading, Verdict, Verdicts};
use crate::platforms::retry_after;

/// The verdicts on the items of a request. `read` is asked first where SPEC lets the body decide, then the status.
pub fn judge(items: usize, http: &HttpAnswer<'_>, read: impl FnOnce() -> Reading) -> Verdicts {
    let reading = if body_speaks(http.status) { read() } else { Reading::Nothing };
    let verdicts = match reading {
        Reading::All(Ok(receipt)) if is_success(http.status) => Verdicts::All(Ok(receipt)),
        Reading::All(Err(error)) => Verdicts::All(Err(error)),
        // A body that states a success proves nothing under a status that refuses.
        Reading::All(Ok(_)) | Reading::Nothing => Verdicts::All(Err(by_status(http))),
        Reading::Each(said) => Verdicts::Each(each(items, http, said)),
        Reading::Split => Verdicts::Split,
    };
    match verdicts {
        // At least one item is at fault, but not necessarily all. Sent alone, each item shows whether it is.
        Verdicts::All(Err(DeliveryError::Permanent(_))) if items > 1 => Verdicts::Split,
        Verdicts::Split if items <= 1 => Verdicts::All(Err(DeliveryError::Permanent(Answer {
            detail: "the platform refuses the request as a whole".into(),
            ..http.answer()
        }))),
        Verdicts::Each(mut one) if items <= 1 => Verdicts::All(one.pop().unwrap_or_else(|| Err(unmentioned(http)))),
        verdicts => verdicts,
    }
}

/// The same for a request that carried a token: a status that refuses the sender is first taken as a refusal of the
/// token.
pub fn of_a_token(verdicts: Verdicts) -> Verdicts {
    match verdicts {
        Verdicts::All(Err(DeliveryError::Halt(answer))) if matches!(answer.status, Some(401 | 403 | 407)) => {
            Verdicts::All(Err(DeliveryError::Refresh(answer)))
        }
        verdicts => verdicts,
    }
}

/// The verdicts of a request whose URL an event brought, and not its platform. A redirect is not followed either, but
/// it says something about that URL only, and so does a status that refuses the sender: whoever writes a click must be
/// able neither to halt an account nor to use up its refresh tokens. What the platform's own words refuse stays what it
/// is, and a run of permanent answers halts the account all the same.
pub fn of_a_callback(verdicts: Verdicts) -> Verdicts {
    match verdicts {
        Verdicts::All(Err(DeliveryError::Halt(answer)))
            if matches!(answer.status, Some(300..=399 | 401 | 403 | 407)) =>
        {
            let detail = format!("{}, at the URL that the event brought", answer.detail);
            Verdicts::All(Err(DeliveryError::Permanent(Answer { detail, ..answer })))
        }
        verdicts => verdicts,
    }
}

/// Makes exactly one verdict per item.
fn each(items: usize, http: &HttpAnswer<'_>, said: Vec<Option<Verdict>>) -> Vec<Verdict> {
    let mut said = said.into_iter();
    let verdict = |said: Option<Verdict>| match said {
        // The status refuses and the body accepts, so nobody knows whether the item was accepted.
        Some(Ok(_)) if !is_success(http.status) => Err(unmentioned(http)),
        Some(verdict) => verdict,
        None => Err(unmentioned(http)),
    };
    (0..items).map(|_| verdict(said.next().flatten())).collect()
}

/// What an answer to a call means: its body first, if SPEC lets it speak, then the status.
///
/// # Errors
/// The attempt class.
pub fn judge_call(http: &HttpAnswer<'_>, read: impl FnOnce() -> CallReading) -> Result<Box<CallAnswer>, DeliveryError> {
    let reading = if body_speaks(http.status) { read() } else { CallReading::Nothing };
    match reading {
        CallReading::Answer(answer) if is_success(http.status) => Ok(answer),
        CallReading::Failed(error) => Err(error),
        // A success body on a refusing status is no success.
        CallReading::Answer(_) | CallReading::Nothing => Err(by_status(http)),
    }
}

fn is_success(status: u16) -> bool {
    (200..=299).contains(&status)
}

/// Whether the body may contradict the status.
fn body_speaks(status: u16) -> bool {
    !matches!(status, 300..=399 | 401 | 403 | 407 | 408 | 425 | 429 | 500..=599)
}

/// What a status means if the body decides nothing.
fn by_status(http: &HttpAnswer<'_>) -> DeliveryError {
    let answer = |detail: &str| Answer { detail: detail.to_owned(), ..http.answer() };
    let wait = |detail: &str| Answer { retry_after: pause(http), ..answer(detail) };
    match http.status {
        200..=299 => unreadable(Some(http.status), "a success status, and nothing that the platform's rules know"),
        // A redirect is never followed, because signature and body would reach another host.
        300..=399 => DeliveryError::Halt(answer("a redirect")),
        401 | 403 | 407 => DeliveryError::Halt(answer("credentials or permission refused")),
        408 | 425 => DeliveryError::Retry(answer("the platform gave up waiting")),
        429 => DeliveryError::Throttled(wait("too many requests")),
        500..=599 => DeliveryError::Retry(wait("the platform failed")),
        400 | 404 | 405 | 413 | 415 | 422 => DeliveryError::Permanent(answer("the platform refuses the request")),
        _ => DeliveryError::Retry(Answer { unclassified: true, ..answer("a status that is in no table") }),
    }
}

/// The verdict on an item that the answer does not mention: it may have been accepted.
fn unmentioned(http: &HttpAnswer<'_>) -> DeliveryError {
    DeliveryError::Ambiguous(Answer { detail: "the answer says nothing of this event".into(), ..http.answer() })
}

/// An answer came but cannot be read: the request may have been accepted. It is counted like a code that is in no
/// table, because somebody has to look at it.
pub fn unreadable(status: Option<u16>, why: &str) -> DeliveryError {
    let detail = format!("an answer that cannot be read: {why}");
    DeliveryError::Ambiguous(Answer { status, detail, sent: true, unclassified: true, ..Answer::default() })
}

fn pause(http: &HttpAnswer<'_>) -> Option<Duration> {
    http.retry_after.and_then(|text| retry_after::parse(text, http.now_ms))
}

/// Whether a body is meant as an object. Without this check serde would also read a list as a struct.
pub fn looks_like_object(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'{')
}

/// A platform's own code in the form that headers and logs take: visible ASCII, at most 64 characters.
pub fn safe_code(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests;
