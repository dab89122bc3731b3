//! What an HTTP status means, for every platform (SPEC section 0.2): where the body decides, where the status does.

use std::time::Duration;

use crate::error::{Answer, DeliveryError};
use crate::platforms::{Receipt, retry_after};

/// What a body says, in the words of one platform.
pub enum Said {
    /// Success. Believed only on a 2xx.
    Success(Receipt),
    /// A refusal, with its class.
    Refusal(DeliveryError),
    /// Nothing that the platform's rules know.
    Nothing,
}

/// Judges one answer: body first where SPEC lets it speak, then the status. `said` reads the body with an
/// [`Answer`] that carries the status.
pub fn judge(
    status: u16,
    retry_after: Option<&str>,
    now_ms: i64,
    said: impl FnOnce(Answer) -> Said,
) -> Result<Receipt, DeliveryError> {
    let answer =
        |detail: &str| Answer { status: Some(status), detail: detail.to_owned(), sent: true, ..Answer::default() };
    let wait = |detail: &str| Answer { retry_after: pause(retry_after, now_ms), ..answer(detail) };
    match status {
        200..=299 => match said(answer("")) {
            Said::Success(receipt) => Ok(receipt),
            Said::Refusal(error) => Err(error),
            Said::Nothing => {
                Err(unreadable(Some(status), "a success status, and nothing that the platform's rules know"))
            }
        },
        // Never followed: signature and body would reach another host.
        300..=399 => Err(DeliveryError::Halt(answer("a redirect"))),
        401 | 403 | 407 => Err(DeliveryError::Halt(answer("credentials or permission refused"))),
        408 | 425 => Err(DeliveryError::Retry(answer("the platform gave up waiting"))),
        429 => Err(DeliveryError::Throttled(wait("too many requests"))),
        500..=599 => Err(DeliveryError::Retry(wait("the platform failed"))),
        400 | 404 | 405 | 413 | 415 | 422 => match said(answer("")) {
            Said::Refusal(error) => Err(error),
            // A success body on a refusing status is no success.
            Said::Success(_) | Said::Nothing => {
                Err(DeliveryError::Permanent(answer("the platform refuses the request")))
            }
        },
        _ => match said(answer("")) {
            Said::Refusal(error) => Err(error),
            Said::Success(_) | Said::Nothing => {
                let unknown = answer("a status that is in no table");
                Err(DeliveryError::Retry(Answer { unclassified: true, ..unknown }))
            }
        },
    }
}

/// An answer that came and says nothing: the request may have been accepted. Counted like a code that is in no table,
/// because somebody has to look at it.
pub fn unreadable(status: Option<u16>, why: &str) -> DeliveryError {
    let detail = format!("an answer that cannot be read: {why}");
    DeliveryError::Ambiguous(Answer { status, detail, sent: true, unclassified: true, ..Answer::default() })
}

fn pause(retry_after: Option<&str>, now_ms: i64) -> Option<Duration> {
    retry_after.and_then(|text| retry_after::parse(text, now_ms))
}

/// Whether a body is meant as an object; serde takes a list for a struct with its members in order.
pub fn looks_like_object(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'{')
}

/// A platform's own code as it may stand in headers and logs: visible ASCII, at most 64 characters.
pub fn safe_code(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    fn class(status: u16, said: fn(Answer) -> Said) -> Option<Class> {
        judge(status, Some("7"), 0, said).err().and_then(|e| e.class())
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
                assert_eq!(class(*status, |_| Said::Nothing), Some(expected), "{status}");
                assert_eq!(
                    class(*status, |_| Said::Success(Receipt::default())),
                    Some(expected),
                    "{status}, success body"
                );
            }
        }
        for status in [200, 201, 204, 299] {
            assert_eq!(class(status, |_| Said::Nothing), Some(Class::Ambiguous), "{status}");
            assert_eq!(class(status, |_| Said::Success(Receipt::default())), None, "{status}");
        }
    }

    #[test]
    fn a_refusal_in_the_body_decides_only_where_the_body_speaks() {
        let refused = |answer| Said::Refusal(DeliveryError::Halt(answer));
        for status in [200, 400, 404, 405, 413, 415, 422, 409] {
            assert_eq!(class(status, refused), Some(Class::Halt), "{status}");
        }
        assert_eq!(class(429, refused), Some(Class::Throttled));
        assert_eq!(class(503, refused), Some(Class::Retry));
        assert_eq!(class(408, refused), Some(Class::Retry));
    }

    #[test]
    fn a_success_that_says_nothing_is_an_answer_that_cannot_be_read() {
        let answer = judge(200, None, 0, |_| Said::Nothing).unwrap_err().answer().cloned().unwrap();
        assert!(answer.detail.starts_with("an answer that cannot be read: "), "{}", answer.detail);
        assert!(answer.sent && answer.unclassified);
    }

    #[test]
    fn a_wait_is_kept_for_429_and_5xx_alone() {
        let wait = |status| {
            judge(status, Some("7"), 0, |_| Said::Nothing).err().and_then(|e| e.answer().and_then(|a| a.retry_after))
        };
        assert_eq!(wait(429), Some(Duration::from_secs(7)));
        assert_eq!(wait(503), Some(Duration::from_secs(7)));
        for status in [200, 302, 400, 403, 408, 409, 425] {
            assert_eq!(wait(status), None, "{status}");
        }
    }

    #[test]
    fn only_a_status_without_a_row_and_a_success_that_says_nothing_are_unclassified() {
        for status in 100..=999 {
            let answer = judge(status, None, 0, |_| Said::Nothing).err().and_then(|e| e.answer().cloned());
            let known =
                matches!(status, 300..=408 | 413 | 415 | 422 | 425 | 429 | 500..=599) && !matches!(status, 402 | 406);
            assert_eq!(answer.as_ref().map(|a| a.unclassified), Some(!known), "{status}");
            assert_eq!(answer.map(|a| (a.status, a.sent)), Some((Some(status), true)), "{status}");
        }
    }
}
