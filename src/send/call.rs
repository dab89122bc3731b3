//! One request of a call: signs, sends, and reads the answer.

use http::header::RETRY_AFTER;

use crate::error::DeliveryError;
use crate::platforms::call::{CallAnswer, PreparedCall};
use crate::platforms::headers::Headers;
use crate::platforms::http_status::{judge_call, unreadable};
use crate::platforms::reading::HttpAnswer;
use crate::secret::SecretString;
use crate::send::client::{Answered, NoBody, Unanswered};
use crate::send::date_ms;
use crate::send::failures::{ambiguous, unsent};
use crate::send::line::{Line, unsigned};

/// What a platform answered to one request of a call.
pub struct CallAnswered {
    /// HTTP status.
    pub status: u16,
    /// `None`: the answer is longer than a call may have.
    pub answer: Option<Box<CallAnswer>>,
}

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
        let Answered { head, body } = self.exchange(request, false, judge).await?;
        let status = head.status.as_u16();
        let is_success = (200..300).contains(&status);
        let body = match body {
            Ok(body) => body,
            // The status alone decides.
            Err(_) if !is_success => Vec::new(),
            Err(NoBody::TooLong(_)) => return Ok(CallAnswered { status, answer: None }),
            Err(NoBody::Unreadable(why)) => return Err(Unanswered::Failed(unreadable(Some(status), why))),
            Err(NoBody::Cut(why)) => return Err(Unanswered::Failed(ambiguous(Some(status), why))),
        };
        let retry_after = head.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
        let now_ms = retry_after.and_then(|_| date_ms(&head)).unwrap_or(now_ms);
        let http = HttpAnswer { status, retry_after, headers: Headers::new(&head.headers), body: &body, now_ms };
        let Some(maker) = &account.call else {
            return Err(Unanswered::Failed(DeliveryError::Halt(unsent("the platform makes no calls"))));
        };
        match judge_call(&http, || maker.read(call, part, &http)) {
            Ok(answer) => Ok(CallAnswered { status, answer: Some(answer) }),
            // Whoever sent a token is first asked for a new one.
            Err(DeliveryError::Halt(answer)) if token.is_some() && matches!(answer.status, Some(401 | 403 | 407)) => {
                Err(Unanswered::Failed(DeliveryError::Refresh(answer)))
            }
            Err(error) => Err(Unanswered::Failed(error)),
        }
    }
}
