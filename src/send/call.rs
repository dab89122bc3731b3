//! One request of a call: signs, sends, and reads the answer.

use std::panic::resume_unwind;

use http::header::RETRY_AFTER;
use http::response::Parts;
use tokio::task::spawn_blocking;

use crate::error::DeliveryError;
use crate::platforms::call::{Call, CallAnswer, PreparedCall};
use crate::platforms::headers::Headers;
use crate::platforms::http_status::{judge_call, unreadable};
use crate::platforms::reading::{HttpAnswer, add_sample};
use crate::secret::SecretString;
use crate::send::client::{Answered, NoBody, Room, Unanswered};
use crate::send::date_ms;
use crate::send::failures::{ambiguous, unsent};
use crate::send::line::{Line, unsigned};

/// What a platform answered to one request of a call.
pub struct CallAnswered {
    /// HTTP status.
    pub status: u16,
    /// `None`: the answer is longer than a call may have.
    pub answer: Option<Box<CallAnswer>>,
    /// What the answer takes of the room for long ones, to be kept until its result is published.
    pub room: Option<Room>,
}

/// A longer answer is parsed on a thread of its own: meanwhile the lanes of this thread go on.
const LONG: usize = 256 * 1024;

impl Line<'_> {
    /// Makes one attempt for one part of a call, as [`Line::attempt`] does for conversions.
    ///
    /// # Errors
    /// An attempt class, whose `Answer::sent` says whether a byte may have gone out; or the error of `judge`.
    pub async fn call<E>(
        self,
        (call, part): (&PreparedCall, u64),
        token: Option<&SecretString>,
        now_ms: i64,
        judge: impl FnOnce() -> Result<(), E>,
    ) -> Result<CallAnswered, Unanswered<DeliveryError, E>> {
        let account = &*self.dispatcher.account;
        let request = account.call_request(call, part, token, now_ms).map_err(unsigned)?;
        let Answered { head, body, room } = self.exchange(request, false, judge).await?;
        let status = head.status.as_u16();
        let is_success = (200..300).contains(&status);
        let body = match body {
            Ok(body) => body,
            // The status alone decides.
            Err(_) if !is_success => Vec::new(),
            Err(NoBody::TooLong(_)) => return Ok(CallAnswered { status, answer: None, room: None }),
            Err(NoBody::Unreadable(why)) => return Err(Unanswered::Failed(unreadable(Some(status), why))),
            Err(NoBody::Cut(why)) => return Err(Unanswered::Failed(ambiguous(Some(status), why))),
        };
        let Some(maker) = account.call.clone() else {
            return Err(Unanswered::Failed(DeliveryError::Halt(unsent("the platform makes no calls"))));
        };
        let read = if body.len() > LONG {
            let call = call.clone();
            let reading = spawn_blocking(move || read(&*maker, (&call, part), &head, &body, now_ms));
            // A panic is this attempt's.
            reading.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
        } else {
            read(&*maker, (call, part), &head, &body, now_ms)
        };
        match read {
            Ok(answer) => Ok(CallAnswered { status, answer: Some(answer), room }),
            // Whoever sent a token is first asked for a new one.
            Err(DeliveryError::Halt(answer)) if token.is_some() && matches!(answer.status, Some(401 | 403 | 407)) => {
                Err(Unanswered::Failed(DeliveryError::Refresh(answer)))
            }
            Err(error) => Err(Unanswered::Failed(error)),
        }
    }
}

fn read(
    maker: &dyn Call,
    (call, part): (&PreparedCall, u64),
    head: &Parts,
    body: &[u8],
    now_ms: i64,
) -> Result<Box<CallAnswer>, DeliveryError> {
    let retry_after = head.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
    let now_ms = retry_after.and_then(|_| date_ms(head)).unwrap_or(now_ms);
    let headers = Headers::new(&head.headers);
    let http = HttpAnswer { status: head.status.as_u16(), retry_after, headers, body, now_ms };
    let mut read = judge_call(&http, || maker.read(call, part, &http));
    if let Err(error) = &mut read {
        add_sample(error, body);
    }
    read
}
