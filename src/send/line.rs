//! A connection to a platform, and one attempt over it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use http::header::RETRY_AFTER;
use http::response::Parts;

use crate::account::Account;
use crate::error::{DeliveryError, Fault};
use crate::platforms::headers::Headers;
use crate::platforms::http_status::{judge, of_a_callback, of_a_token, unreadable};
use crate::platforms::reading::{HttpAnswer, Reading, Verdicts};
use crate::platforms::{Prepared, Request};
use crate::secret::SecretString;
use crate::send::client::{self, Answered, NoBody, Unanswered};
use crate::send::failures::{ambiguous, unsent};
use crate::send::{Destination, Dispatcher, date_ms};

impl Dispatcher {
    /// A connection for the next request that is open already.
    pub fn kept(&self, to: Destination) -> Option<Line<'_>> {
        let host = self.host(to)?;
        let connection = self.hosts[host].connections.kept()?;
        Some(Line { dispatcher: self, host, connection })
    }

    /// A connection for the next request, new or kept, within `limit`. If none can be made to the base URL in use, the
    /// account moves on to its next base URL.
    ///
    /// # Errors
    /// An attempt class. No byte of HTTP has gone out.
    pub async fn connect(&self, to: Destination, limit: Duration) -> Result<Line<'_>, DeliveryError> {
        let nowhere = "the callback leads to a host that is not on the platform's list";
        let host = self.host(to).ok_or_else(|| DeliveryError::Permanent(unsent(nowhere)))?;
        match self.hosts[host].connections.line(limit.min(self.account.limits.timeout)).await {
            Ok(connection) => Ok(Line { dispatcher: self, host, connection }),
            Err(failure) => Err(self.refused(host, &failure)),
        }
    }
}

/// An open connection for one attempt. If it is not used, it goes back to the kept ones.
pub struct Line<'a> {
    pub(super) dispatcher: &'a Dispatcher,
    pub(super) host: usize,
    pub(super) connection: client::Line<'a>,
}

impl Line<'_> {
    /// Whether the connection may still be used, as far as that is known without waiting.
    pub fn is_open(&mut self) -> bool {
        self.connection.is_open()
    }

    /// Waits until the connection must not be used any more.
    pub async fn spent(&mut self) {
        self.connection.spent().await;
    }

    /// Makes one attempt: signs, sends and reads. `judge` makes the last check, directly before the first byte.
    ///
    /// # Errors
    /// An attempt class for all items, whose `Answer::sent` says whether a byte may have gone out; or the error of
    /// `judge`.
    pub async fn attempt<E>(
        self,
        items: &[&Prepared],
        token: Option<&SecretString>,
        now_ms: i64,
        judge: impl FnOnce() -> Result<(), E>,
    ) -> Result<Verdicts, Unanswered<DeliveryError, E>> {
        let dispatcher = self.dispatcher;
        let account = &*dispatcher.account;
        let request = account.request(items, token, now_ms).map_err(unsigned)?;
        let is_the_events = items.first().and_then(|item| item.callback.as_ref()).is_some_and(|to| !to.is_fixed);
        let Answered { head, body, room: _room } = self.exchange(request, is_the_events, judge).await?;
        let verdicts = read((account, &dispatcher.pause), items, &head, body, now_ms);
        let verdicts = if is_the_events { of_a_callback(verdicts) } else { verdicts };
        Ok(if token.is_some() { of_a_token(verdicts) } else { verdicts })
    }

    /// Sends a request and returns the answer. `is_the_events`: its URL is the event's own. `judge` makes the last
    /// check, directly before the first byte.
    ///
    /// # Errors
    /// As [`Line::attempt`].
    pub(super) async fn exchange<E>(
        self,
        request: Request,
        is_the_events: bool,
        judge: impl FnOnce() -> Result<(), E>,
    ) -> Result<Answered, Unanswered<DeliveryError, E>> {
        let Self { dispatcher, host, connection } = self;
        let answer_bytes = request.answer_bytes;
        let http = dispatcher.request_to(host, request, is_the_events).map_err(Unanswered::Failed)?;
        let asked = Instant::now();
        match connection.exchange(http, dispatcher.account.limits.timeout, answer_bytes, judge).await {
            Ok(answered) => {
                dispatcher.compare_clocks(&answered.head, host, asked);
                Ok(answered)
            }
            Err(Unanswered::Failed(failure)) => Err(Unanswered::Failed(dispatcher.refused(host, &failure))),
            Err(Unanswered::Stopped(why)) => Err(Unanswered::Stopped(why)),
            Err(Unanswered::Closed) => Err(Unanswered::Closed),
        }
    }
}

/// No request can be signed: the account halts.
pub(super) fn unsigned<E>(fault: Fault) -> Unanswered<DeliveryError, E> {
    Unanswered::Failed(DeliveryError::Halt(unsent(&format!("{}: {}", fault.field, fault.detail))))
}

/// The verdicts of an answer.
fn read(
    (account, pause): (&Account, &Cell<Option<Duration>>),
    items: &[&Prepared],
    head: &Parts,
    body: Result<Vec<u8>, NoBody>,
    now_ms: i64,
) -> Verdicts {
    let status = head.status.as_u16();
    let retry_after = head.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
    // A date to wait for is measured by the clock of the server that wrote it, which may differ from ours.
    let now_ms = retry_after.and_then(|_| date_ms(head)).unwrap_or(now_ms);
    let body = match body {
        Ok(body) => body,
        // The status alone decides.
        Err(_) if !(200..300).contains(&status) => Vec::new(),
        Err(NoBody::Unreadable(why)) => return Verdicts::All(Err(unreadable(Some(status), why))),
        Err(NoBody::TooLong(most)) => {
            let why = format!("it is longer than {} KiB", most / 1024);
            return Verdicts::All(Err(unreadable(Some(status), &why)));
        }
        Err(NoBody::Cut(why)) => return Verdicts::All(Err(ambiguous(Some(status), why))),
    };
    let http = HttpAnswer { status, retry_after, headers: Headers::new(&head.headers), body: &body, now_ms };
    let sender = account.sender.as_ref();
    pause.set(pause.get().max(sender.and_then(|sender| sender.pause(&http))));
    judge(items.len(), &http, || sender.map_or(Reading::Nothing, |sender| sender.read(items, &http)))
        .with_code(|| sender.map_or_else(String::new, |sender| sender.code(&http)))
        .with_sample(&body)
}
