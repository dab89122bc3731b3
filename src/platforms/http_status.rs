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

/// The verdicts of a request whose URL an event brought, and not its platform. A redirect is not followed either, but it
/// says something about that URL only, and so does a status that refuses the sender: whoever writes a click must be able
/// neither to halt an account nor to use up its refresh tokens. What the platform's own words refuse stays what it is, and
/// a run of permanent answers halts the account all the same.
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
mod tests {
    use super::*;
    use crate::error::Class;
    use crate::platforms::Receipt;
    use crate::platforms::headers::Headers;

    fn http(status: u16) -> HttpAnswer<'static> {
        HttpAnswer { status, retry_after: Some("7"), headers: Headers::default(), body: b"", now_ms: 0 }
    }

    fn judged(status: u16, said: Reading) -> Verdict {
        let Verdicts::All(verdict) = judge(1, &http(status), || said) else { panic!("one item has one verdict") };
        verdict
    }

    fn class(status: u16, said: Reading) -> Option<Class> {
        judged(status, said).err().and_then(|e| e.class())
    }

    fn success() -> Reading {
        Reading::All(Ok(Receipt::default()))
    }

    #[test]
    fn every_row_of_the_status_table_has_its_class() {
        let rows: [(&[u16], Class); 7] = [
            (&[300, 301, 302, 304, 307, 308, 399], Class::Halt),
            (&[401, 403, 407], Class::Halt),
            (&[408, 425], Class::Retry),
            (&[429], Class::Throttled),
            (&[500, 502, 503, 504, 599], Class::Retry),
            (&[400, 404, 405, 413, 415, 422], Class::Permanent),
            (&[402, 406, 409, 410, 418, 451, 499, 100, 600, 999], Class::Retry),
        ];
        for (statuses, expected) in rows {
            for status in statuses {
                assert_eq!(class(*status, Reading::Nothing), Some(expected), "{status}");
                assert_eq!(class(*status, success()), Some(expected), "{status}, success body");
            }
        }
        for status in [200, 201, 204, 299] {
            assert_eq!(class(status, Reading::Nothing), Some(Class::Ambiguous), "{status}");
            assert_eq!(class(status, success()), None, "{status}");
        }
    }

    #[test]
    fn a_status_that_refuses_who_asks_refuses_the_token_first_where_there_is_one() {
        for (status, expected) in [
            (401, Class::Refresh),
            (403, Class::Refresh),
            (407, Class::Refresh),
            (302, Class::Halt),
            (429, Class::Throttled),
            (400, Class::Permanent),
        ] {
            let verdicts = of_a_token(judge(1, &http(status), || Reading::Nothing));
            assert_eq!(verdicts.one().err().and_then(|e| e.class()), Some(expected), "{status}");
        }
    }

    #[test]
    fn a_status_at_the_url_of_an_event_halts_nobody_and_the_platforms_own_words_do() {
        for status in [301, 302, 401, 403, 407] {
            let verdicts = of_a_token(of_a_callback(judge(1, &http(status), || Reading::Nothing)));
            let error = verdicts.one().unwrap_err();
            assert_eq!(error.class(), Some(Class::Permanent), "{status}");
            assert!(error.answer().unwrap().detail.ends_with("at the URL that the event brought"), "{error:?}");
        }
        let refused = || Reading::All(Err(DeliveryError::Halt(http(200).answer())));
        let verdicts = of_a_callback(judge(1, &http(200), refused));
        assert_eq!(verdicts.one().err().and_then(|e| e.class()), Some(Class::Halt));
    }

    #[test]
    fn a_refusal_in_the_body_decides_only_where_the_body_speaks() {
        let refused = || Reading::All(Err(DeliveryError::Halt(Answer::default())));
        for status in [200, 400, 404, 405, 413, 415, 422, 409] {
            assert_eq!(class(status, refused()), Some(Class::Halt), "{status}");
        }
        assert_eq!(class(429, refused()), Some(Class::Throttled));
        assert_eq!(class(503, refused()), Some(Class::Retry));
        assert_eq!(class(408, refused()), Some(Class::Retry));
    }

    #[test]
    fn a_success_that_says_nothing_is_an_answer_that_cannot_be_read() {
        let answer = judged(200, Reading::Nothing).unwrap_err().answer().cloned().unwrap();
        assert!(answer.detail.starts_with("an answer that cannot be read: "), "{}", answer.detail);
        assert!(answer.sent && answer.unclassified);
    }

    #[test]
    fn a_wait_is_kept_for_429_and_5xx_alone() {
        let wait = |status| judged(status, Reading::Nothing).err().and_then(|e| e.answer().and_then(|a| a.retry_after));
        assert_eq!(wait(429), Some(Duration::from_secs(7)));
        assert_eq!(wait(503), Some(Duration::from_secs(7)));
        for status in [200, 302, 400, 403, 408, 409, 425] {
            assert_eq!(wait(status), None, "{status}");
        }
    }

    #[test]
    fn only_a_status_without_a_row_and_a_success_that_says_nothing_are_unclassified() {
        for status in 100..=999 {
            let answer = judged(status, Reading::Nothing).err().and_then(|e| e.answer().cloned());
            let known =
                matches!(status, 300..=408 | 413 | 415 | 422 | 425 | 429 | 500..=599) && !matches!(status, 402 | 406);
            assert_eq!(answer.as_ref().map(|a| a.unclassified), Some(!known), "{status}");
            assert_eq!(answer.map(|a| (a.status, a.sent)), Some((Some(status), true)), "{status}");
        }
    }

    fn classes(verdicts: Verdicts) -> Vec<Option<Class>> {
        let Verdicts::Each(verdicts) = verdicts else { panic!("not one per item") };
        verdicts.iter().map(|v| v.as_ref().err().and_then(DeliveryError::class)).collect()
    }

    #[test]
    fn an_item_that_its_answer_does_not_mention_is_ambiguous() {
        let refused = || Some(Err(DeliveryError::Permanent(Answer::default())));
        let accepted = || Some(Ok(Receipt::default()));
        let (ambiguous, permanent) = (Some(Class::Ambiguous), Some(Class::Permanent));
        let said = || Reading::Each(vec![accepted(), None, refused()]);
        assert_eq!(classes(judge(3, &http(200), said)), [None, ambiguous, permanent]);
        // Each item gets a verdict, and a success under a status that refuses does not count as one.
        assert_eq!(classes(judge(4, &http(200), said)), [None, ambiguous, permanent, ambiguous]);
        assert_eq!(classes(judge(2, &http(200), said)), [None, ambiguous]);
        assert_eq!(classes(judge(3, &http(400), said)), [ambiguous, ambiguous, permanent]);
        assert_eq!(class(200, Reading::Each(vec![None])), ambiguous);
        assert_eq!(class(200, Reading::Each(Vec::new())), ambiguous);
        assert_eq!(class(200, Reading::Each(vec![accepted()])), None);
    }

    #[test]
    fn a_request_of_several_that_is_refused_as_a_whole_is_split_and_one_of_one_is_permanent() {
        let permanent = || Reading::All(Err(DeliveryError::Permanent(Answer::default())));
        let readings: [(u16, &dyn Fn() -> Reading); 4] =
            [(200, &|| Reading::Split), (200, &permanent), (400, &|| Reading::Nothing), (413, &success)];
        for (status, said) in readings {
            assert!(matches!(judge(2, &http(status), said), Verdicts::Split), "{status}");
            assert_eq!(class(status, said()), Some(Class::Permanent), "{status}");
        }
        // Where the status decides, the body cannot ask for a split.
        assert!(matches!(judge(2, &http(503), || Reading::Split), Verdicts::All(Err(DeliveryError::Retry(_)))));
    }
}
