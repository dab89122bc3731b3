//! Sends requests over HTTP and returns verdicts. No other module talks to a platform.

mod base;
pub mod call;
pub mod client;
mod failures;
pub mod line;
pub mod quota;
pub mod rate;
pub mod ready;
mod target;
pub mod token;

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AGE, DATE};
use http::response::Parts;
use http::uri::PathAndQuery;
use http_body_util::Full;
use tokio::time::{sleep, timeout};

use crate::account::Account;
use crate::error::DeliveryError;
use crate::platforms::{Prepared, Request, retry_after};
use crate::redis::health::Health;
use crate::send::base::BaseInUse;
use crate::send::client::{Connections, Connector, Failure, PrivateAddress, addresses};
use crate::send::failures::{private_host, refused, unsent};
use crate::send::target::Host;

/// How often the platform's clock is compared.
const DATE_EVERY: Duration = Duration::from_secs(1);

/// The HTTP of one account.
pub struct Dispatcher {
    account: Arc<Account>,
    /// One per base URL, then one per callback host and scheme. The configuration decides how many there are, so no
    /// event can add one. Nothing is shared with other accounts.
    hosts: Box<[Host]>,
    base: BaseInUse,
    /// Learns what the platform's clock says.
    health: Arc<Health>,
    /// When the date of an answer was last looked at.
    dated_at: Cell<Option<Instant>>,
    /// What the last answers demand of the whole account.
    pause: Cell<Option<Duration>>,
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
        let connections = |origin| Connections::new(connector.clone(), origin, connect);
        let bases = account.base_urls.iter().map(|text| {
            let host = Host::of_base(text, connections);
            host.ok_or_else(|| format!("accounts.{}: its base_url cannot be used", account.name))
        });
        let callbacks = account.callback_hosts().into_iter().map(|(host, is_https)| {
            let found = Host::of_callback(host, is_https, connections);
            found.ok_or_else(|| format!("accounts.{}: no request can go to the callback host {host}", account.name))
        });
        let hosts = bases.chain(callbacks).collect::<Result<_, String>>()?;
        Ok(Self {
            base: BaseInUse::new(account.base_urls.len()),
            account,
            hosts,
            health,
            dated_at: Cell::default(),
            pause: Cell::default(),
        })
    }

    /// Where the request of an item goes.
    pub fn destination(&self, item: &Prepared) -> Destination {
        match item.callback.as_ref().filter(|_| !self.account.has_own_base) {
            None => Destination::BaseUrl,
            Some(callback) => {
                let host = self.hosts.iter().skip(self.account.base_urls.len()).position(|host| host.is_of(callback));
                Destination::Callback(host.map(|host| host + self.account.base_urls.len()))
            }
        }
    }

    /// How long the answers since the last call demand that the account sends nothing.
    pub fn take_pause(&self) -> Option<Duration> {
        self.pause.take()
    }

    fn host(&self, to: Destination) -> Option<usize> {
        match to {
            Destination::BaseUrl => Some(self.base.get()),
            Destination::Callback(host) => host,
        }
    }

    fn refused(&self, host: usize, failure: &Failure) -> DeliveryError {
        let error = refused(&self.account.name, failure);
        // Requests that were in flight together move on to the next base URL together. A callback host is not one of
        // them.
        if matches!(error, DeliveryError::Retry(_)) && self.base.leave(host) {
            let (account, next) = (&*self.account.name, self.base.get());
            tracing::info!(account, next, "a base URL cannot be reached; the next one is used");
        }
        error
    }

    /// Scheme, host and port of each host: the base URLs in their order, then the callback hosts.
    pub fn origins(&self) -> impl Iterator<Item = String> {
        self.hosts.iter().map(|host| host.connections.origin().to_string().trim_end_matches('/').to_owned())
    }

    /// Connects to one of [`Dispatcher::origins`] as an attempt would, with TLS where it is `https`; not a byte of HTTP
    /// goes out, and nobody is told anything.
    ///
    /// # Errors
    /// `Halt` where an attempt would halt the account, `Retry` where it would be tried again.
    pub async fn probe(&self, host: usize) -> Result<(), DeliveryError> {
        let broken = || DeliveryError::Halt(unsent("the URL cannot be used"));
        let connections = &self.hosts.get(host).ok_or_else(broken)?.connections;
        let origin = connections.origin();
        let host = origin.host().ok_or_else(broken)?.trim_matches(['[', ']']);
        let port = origin.port_u16().unwrap_or(if origin.scheme_str() == Some("http") { 80 } else { 443 });
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
        connections.probe().await.map_err(|failure| refused(&self.account.name, &failure))
    }

    /// Goes back to the first base URL once it has answered probes for a minute. A probe connects, with TLS if it is
    /// `https`, and sends nothing. Runs for as long as the lane.
    pub async fn return_to_first(&self) {
        loop {
            self.base.return_to_first(sleep, async || self.hosts[0].connections.probe().await.is_ok()).await;
            tracing::info!(account = &*self.account.name, "the first base URL answers again and is used");
        }
    }

    /// Goes on where the earlier settings of the account left off: with their unused connections, and with the base URL
    /// in use, as far as they lead to the same places in the same way.
    pub fn take_over(&self, earlier: &Dispatcher) {
        let (new, old) = (&self.account, &earlier.account);
        if new.allow_private != old.allow_private || new.proxy != old.proxy {
            return;
        }
        if new.base_urls == old.base_urls {
            self.base.set_like(&earlier.base);
        }
        for host in &self.hosts {
            let alike = |other: &&Host| other.connections.origin() == host.connections.origin();
            if let Some(before) = earlier.hosts.iter().find(alike) {
                host.connections.take_over(&before.connections);
            }
        }
    }

    /// Keeps at most `most` unused connections to each host.
    pub fn keep_at_most(&self, most: usize) {
        self.hosts.iter().for_each(|host| host.connections.keep_at_most(most));
    }

    /// Closes connections that were unused for a while.
    pub fn sweep(&self) {
        self.hosts.iter().for_each(|host| host.connections.sweep());
    }

    fn request_to(
        &self,
        host: usize,
        mut request: Request,
        is_the_events: bool,
    ) -> Result<http::Request<Full<Bytes>>, DeliveryError> {
        let broken = |what: &str| {
            let detail = format!("{what} of account {} cannot be put into a request", self.account.name);
            // The URL is the event's, so other events of the account are not affected.
            if is_the_events { DeliveryError::Permanent(unsent(&detail)) } else { DeliveryError::Halt(unsent(&detail)) }
        };
        let host = &self.hosts[host];
        let mut path = std::mem::take(&mut request.path);
        if !is_the_events {
            path = self.account.own_path(path);
            if !host.prefix.is_empty() {
                path = format!("{}{path}", host.prefix).into();
            }
        }
        let path = path_and_query(path).ok_or_else(|| broken("base_url or path"))?;
        host.http(request, path).map_err(|what| broken(&what))
    }

    /// Compares the clocks once a second at most, so that most answers cost only one comparison of times.
    fn compare_clocks(&self, head: &Parts, host: usize, asked: Instant) {
        if self.dated_at.get().is_some_and(|at| asked.duration_since(at) < DATE_EVERY) {
            return;
        }
        self.dated_at.set(Some(asked));
        // The date of an answer from a cache is too old.
        let date = date_ms(head).filter(|_| !head.headers.contains_key(AGE));
        if let Some((date_ms, host)) = date.zip(self.hosts[host].connections.origin().host()) {
            self.health.clock.saw_date(&self.account.name, host, date_ms, asked);
        }
    }
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The base URL in use when the connection is taken.
    BaseUrl,
    /// This callback host. `None`: the host is not on the platform's list, and nothing is sent.
    Callback(Option<usize>),
}

/// Parses a path with its query without copying it.
fn path_and_query(path: Cow<'static, str>) -> Option<PathAndQuery> {
    let bytes = match path {
        Cow::Borrowed(path) => Bytes::from_static(path.as_bytes()),
        Cow::Owned(path) => Bytes::from(path),
    };
    let parsed = PathAndQuery::from_maybe_shared(bytes).ok()?;
    parsed.as_str().starts_with('/').then_some(parsed)
}

/// When the answer was written according to the platform's clock, epoch ms.
fn date_ms(head: &Parts) -> Option<i64> {
    retry_after::date_ms(head.headers.get(DATE)?.to_str().ok()?)
}

#[cfg(test)]
mod tests;
