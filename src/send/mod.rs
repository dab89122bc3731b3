//! Sends requests over HTTP and returns verdicts. No other module talks to a platform.

mod base;
pub mod client;
mod failures;
pub(crate) mod fine_timer;
pub mod rate;
pub mod ready;
mod target;
pub mod token;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AGE, DATE, RETRY_AFTER};
use http::response::Parts;
use http_body_util::Full;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::account::Account;
use crate::error::{DeliveryError, Fault};
use crate::platforms::http_status::{judge, of_a_token, unreadable};
use crate::platforms::reading::{HttpAnswer, Verdicts};
use crate::platforms::{Prepared, Request, SecretString, retry_after};
use crate::redis::health::Health;
use crate::send::base::BaseInUse;
use crate::send::client::{Answered, Connections, Connector, Failure, NoBody, PrivateAddress, Unanswered, addresses};
use crate::send::failures::{ambiguous, private_host, refused, unsent};
use crate::send::target::{Target, http, origin, target};

/// How often the platform's clock is compared.
const DATE_EVERY: Duration = Duration::from_secs(1);

/// The HTTP of one account.
pub struct Dispatcher {
    account: Arc<Account>,
    /// One per base URL. Nothing is shared with other accounts.
    connections: Vec<Connections>,
    base: BaseInUse,
    /// One per base URL and path in use, so there are few.
    targets: RefCell<Vec<Arc<Target>>>,
    /// Learns what the platform's clock says.
    health: Arc<Health>,
    /// When the date of an answer was last looked at.
    dated_at: Cell<Option<Instant>>,
}

impl Dispatcher {
    /// Has its own connections, none of which is made yet. `health` learns what the platform's clock says.
    ///
    /// # Errors
    /// TLS could not be set up.
    pub fn new(account: Arc<Account>, health: Arc<Health>) -> Result<Self, String> {
        let connector = Connector::new(account.allow_private, account.proxy.as_ref())
            .map_err(|e| format!("accounts.{}: TLS cannot be set up: {e}", account.name))?;
        Self::over(account, health, &connector)
    }

    /// Trusts only one certificate.
    #[cfg(test)]
    pub(crate) fn trusting(
        account: Arc<Account>,
        health: Arc<Health>,
        root: rustls::pki_types::CertificateDer<'static>,
    ) -> Self {
        let connector = client::trusting(root, account.allow_private, account.proxy.as_ref());
        Self::over(account, health, &connector).unwrap()
    }

    fn over(account: Arc<Account>, health: Arc<Health>, connector: &Connector) -> Result<Self, String> {
        let limits = &account.limits;
        // It ends before the whole timeout does: if a connection is not made in time, nothing was sent, and the error
        // can say so.
        let connect = limits.connect_timeout.min(limits.timeout.mul_f64(0.9));
        let connections = account.base_urls.iter().map(|text| {
            let origin = Url::parse(text).ok().and_then(|url| origin(&url));
            let origin = origin.ok_or_else(|| format!("accounts.{}: its base_url cannot be used", account.name))?;
            Ok(Connections::new(connector.clone(), origin, connect))
        });
        let connections = connections.collect::<Result<_, String>>()?;
        Ok(Self {
            base: BaseInUse::new(account.base_urls.len()),
            account,
            connections,
            targets: RefCell::default(),
            health,
            dated_at: Cell::default(),
        })
    }

    /// A connection for the next request that is open already.
    pub async fn kept(&self) -> Option<Line<'_>> {
        let base = self.base.get();
        let connection = self.connections[base].kept().await?;
        Some(Line { dispatcher: self, base, connection })
    }

    /// A connection for the next request, new or kept, within `limit`. If none can be made, the account moves on to its
    /// next base URL.
    ///
    /// # Errors
    /// An attempt class. No byte of HTTP has gone out.
    pub async fn connect(&self, limit: Duration) -> Result<Line<'_>, DeliveryError> {
        let base = self.base.get();
        match self.connections[base].line(limit.min(self.account.limits.timeout)).await {
            Ok(connection) => Ok(Line { dispatcher: self, base, connection }),
            Err(failure) => Err(self.refused(base, &failure)),
        }
    }

    fn refused(&self, base: usize, failure: &Failure) -> DeliveryError {
        let error = refused(&self.account.name, failure);
        // Requests that were connecting at the same time move on to the next one together.
        if matches!(error, DeliveryError::Retry(_)) && self.base.leave(base) {
            let (account, next) = (&*self.account.name, self.base.get());
            tracing::info!(account, next, "a base URL cannot be reached; the next one is used");
        }
        error
    }

    /// Connects to one of the base URLs as an attempt would, with TLS if it is `https`. It sends no byte of HTTP and
    /// changes nothing.
    ///
    /// # Errors
    /// `Halt` if an attempt would halt the account, `Retry` if it would be tried again.
    pub async fn probe(&self, base: usize) -> Result<(), DeliveryError> {
        let broken = || DeliveryError::Halt(unsent("the URL cannot be used"));
        let url = self.account.base_urls.get(base).and_then(|text| Url::parse(text).ok()).ok_or_else(broken)?;
        let (host, port) = url.host_str().zip(url.port_or_known_default()).ok_or_else(broken)?;
        let host = host.trim_matches(['[', ']']);
        let limit = self.account.limits.connect_timeout;
        // The lookup is separate from the connection only to have an error text that names the cause. A proxy resolves
        // the name itself.
        if self.account.proxy.is_none() {
            match timeout(limit, addresses(host, port, self.account.allow_private)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) if error.is::<PrivateAddress>() => return Err(private_host()),
                Ok(Err(_)) => return Err(DeliveryError::Retry(unsent("the host's name does not resolve"))),
                Err(_) => return Err(DeliveryError::Retry(unsent("the host's name does not resolve in time"))),
            }
        }
        self.connections[base].probe().await.map_err(|failure| refused(&self.account.name, &failure))
    }

    /// Goes back to the first base URL once it has answered probes for a minute. A probe connects, with TLS if it is
    /// `https`, and sends nothing. Runs for as long as the lane.
    pub async fn return_to_first(&self) {
        loop {
            self.base.return_to_first(sleep, async || self.connections[0].probe().await.is_ok()).await;
            tracing::info!(account = &*self.account.name, "the first base URL answers again and is used");
        }
    }

    /// Keeps at most `most` unused connections to each base URL.
    pub fn keep_at_most(&self, most: usize) {
        self.connections.iter().for_each(|connections| connections.keep_at_most(most));
    }

    /// Closes connections that were unused for a while.
    pub fn sweep(&self) {
        self.connections.iter().for_each(Connections::sweep);
    }

    fn request_to(&self, base: usize, request: Request) -> Result<http::Request<Full<Bytes>>, DeliveryError> {
        let broken = |what: &str| {
            let detail = format!("{what} of account {} cannot be put into a request", self.account.name);
            DeliveryError::Halt(unsent(&detail))
        };
        let target = self.target(&request.path, base).ok_or_else(|| broken("base_url or path"))?;
        http(request, &target).map_err(|what| broken(&what))
    }

    /// Compares the clocks once a second at most, so that most answers cost only one comparison of times.
    fn compare_clocks(&self, head: &Parts, base: usize, asked: Instant) {
        if self.dated_at.get().is_some_and(|at| asked.duration_since(at) < DATE_EVERY) {
            return;
        }
        self.dated_at.set(Some(asked));
        // The date of an answer from a cache is too old.
        let date = date_ms(head).filter(|_| !head.headers.contains_key(AGE));
        if let Some((date_ms, host)) = date.zip(self.connections[base].origin().host()) {
            self.health.clock.saw_date(&self.account.name, host, date_ms, asked);
        }
    }

    fn target(&self, path: &str, base: usize) -> Option<Arc<Target>> {
        if let Some(known) = self.targets.borrow().iter().find(|t| t.base == base && t.path == path) {
            return Some(known.clone());
        }
        let target = Arc::new(target(&self.account.url(base, path)?, base, path.to_owned())?);
        self.targets.borrow_mut().push(target.clone());
        Some(target)
    }
}

/// An open connection for one attempt. If it is not used, it goes back to the kept ones.
pub struct Line<'a> {
    dispatcher: &'a Dispatcher,
    base: usize,
    connection: client::Line<'a>,
}

impl Line<'_> {
    /// Whether the connection may still be used, as far as that is known without waiting.
    pub async fn is_open(&mut self) -> bool {
        self.connection.is_open().await
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
        let Self { dispatcher, base, connection } = self;
        let account = &*dispatcher.account;
        let halt = |fault: Fault| DeliveryError::Halt(unsent(&format!("{}: {}", fault.field, fault.detail)));
        let request = account.request(items, token, now_ms).map_err(|fault| Unanswered::Failed(halt(fault)))?;
        let answer_bytes = request.answer_bytes;
        let http = dispatcher.request_to(base, request).map_err(Unanswered::Failed)?;
        let asked = Instant::now();
        let exchange = connection.exchange(http, account.limits.timeout, answer_bytes, judge);
        let Answered { head, body } = match exchange.await {
            Ok(answered) => answered,
            Err(Unanswered::Failed(failure)) => return Err(Unanswered::Failed(dispatcher.refused(base, &failure))),
            Err(Unanswered::Stopped(why)) => return Err(Unanswered::Stopped(why)),
            Err(Unanswered::Closed) => return Err(Unanswered::Closed),
        };
        dispatcher.compare_clocks(&head, base, asked);
        let verdicts = read(account, items, &head, body, now_ms);
        Ok(if token.is_some() { of_a_token(verdicts) } else { verdicts })
    }
}

/// The verdicts of an answer.
fn read(account: &Account, items: &[&Prepared], head: &Parts, body: Result<Vec<u8>, NoBody>, now_ms: i64) -> Verdicts {
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
    let http = HttpAnswer { status, retry_after, body: &body, now_ms };
    judge(items.len(), &http, || account.sender.read(items, &http))
}

/// When the answer was written according to the platform's clock, epoch ms.
fn date_ms(head: &Parts) -> Option<i64> {
    retry_after::date_ms(head.headers.get(DATE)?.to_str().ok()?)
}

#[cfg(test)]
mod tests;
