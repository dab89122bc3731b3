//! Request, HTTP, verdict: the only place that talks to a platform.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Method, Url};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::{Answer, DeliveryError};
use crate::pipeline::address::private;
use crate::pipeline::config::Account;
use crate::senders::{Context, Credential, Prepared, Receipt, Request};

/// A postback's answer is read to at most this; more is no answer.
const MAX_BODY: usize = 64 * 1024;
/// Below the keep-alive of common servers, so that a request seldom meets a connection that is being closed.
const IDLE: Duration = Duration::from_secs(15);

/// One account's HTTP.
pub struct Dispatcher {
    account: Arc<Account>,
    client: Client,
    /// Which of the base URLs is in use: the next one after a connection failed.
    base: Cell<usize>,
    urls: RefCell<HashMap<(usize, String), Url>>,
}

impl Dispatcher {
    /// A client of its own: nothing is shared with other accounts.
    ///
    /// # Errors
    /// TLS could not be set up.
    pub fn new(account: Arc<Account>) -> Result<Self, String> {
        let client = client(&account)
            .build()
            .map_err(|e| format!("accounts.{}: the HTTP client cannot be built: {}", account.name, innermost(&e)))?;
        Ok(Self { account, client, base: Cell::new(0), urls: RefCell::default() })
    }

    /// One attempt: sign, send, judge.
    ///
    /// # Errors
    /// An attempt class; `Answer::sent` tells whether a byte may have gone out.
    pub async fn attempt(&self, item: &Prepared, now_ms: i64) -> Result<Receipt, DeliveryError> {
        let sender = &self.account.sender;
        let request = request(&self.account, item, now_ms)?;
        let base = self.base.get();
        let response = match self.send(request, base).await {
            Ok(response) => response,
            Err(error) => {
                // Those that were under way together go on to the next one together.
                if matches!(&error, DeliveryError::Retry(_)) && self.base.get() == base {
                    self.base.set((base + 1) % self.account.base_urls.len());
                }
                return Err(error);
            }
        };
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let body = match read(response).await {
            Ok(body) => body,
            // The status alone tells what became of it.
            Err(_) if !(200..300).contains(&status) => Vec::new(),
            Err(why) => return Err(ambiguous(Some(status), why)),
        };
        let mut verdicts = sender.verdict(1, status, retry_after.as_deref(), &body, now_ms);
        match verdicts.pop() {
            Some(verdict) => verdict,
            None => Err(ambiguous(Some(status), "the answer says nothing of this event")),
        }
    }

    /// Connects to one of the base URLs as an attempt would, and tells nobody anything: to `https` with the same TLS, by
    /// a HEAD request for `/` without credentials, to `http` without a byte.
    ///
    /// # Errors
    /// `Halt` where an attempt would halt the account, `Retry` where it would be tried again.
    pub async fn probe(&self, base: usize) -> Result<(), DeliveryError> {
        let broken = || DeliveryError::Halt(unsent("the URL cannot be used"));
        let url = self.account.base_urls.get(base).and_then(|text| Url::parse(text).ok()).ok_or_else(broken)?;
        let (host, port) = url.host_str().zip(url.port_or_known_default()).ok_or_else(broken)?;
        let host = host.trim_matches(['[', ']']);
        let limit = self.account.limits.connect_timeout;
        let resolved = timeout(limit, addresses(host, port, self.account.allow_private)).await;
        let found = match resolved {
            Ok(Ok(found)) => found,
            Ok(Err(error)) if error.is::<PrivateAddress>() => return Err(private_host()),
            Ok(Err(_)) => return Err(DeliveryError::Retry(unsent("the host's name does not resolve"))),
            Err(_) => return Err(DeliveryError::Retry(unsent("the host's name does not resolve in time"))),
        };
        if url.scheme() == "http" {
            let connected = timeout(limit, TcpStream::connect(&found[..])).await;
            return match connected {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) => Err(DeliveryError::Retry(unsent("no connection"))),
                Err(_) => Err(DeliveryError::Retry(unsent("no connection in time"))),
            };
        }
        let root = url.join("/").map_err(|_| broken())?;
        match self.client.head(root).send().await.map_err(|error| failure(&error)) {
            // Whatever came of it after the handshake is no matter of TLS.
            Ok(_) | Err(DeliveryError::Ambiguous(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn send(&self, request: Request, base: usize) -> Result<reqwest::Response, DeliveryError> {
        let broken = |what: &str| {
            DeliveryError::Halt(Answer {
                detail: format!("{what} of account {} cannot be put into a request", self.account.name),
                ..Answer::default()
            })
        };
        let url = self.url(&request.path, base).ok_or_else(|| broken("base_url or path"))?;
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| broken("method"))?;
        let mut http = reqwest::Request::new(method, url);
        for (name, value) in request.headers {
            let name = if name.eq_ignore_ascii_case("content-type") {
                CONTENT_TYPE
            } else {
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| broken(name))?
            };
            let value = HeaderValue::try_from(value).map_err(|_| broken(name.as_str()))?;
            http.headers_mut().insert(name, value);
        }
        *http.body_mut() = Some(request.body.into());
        self.client.execute(http).await.map_err(|error| failure(&error))
    }

    fn url(&self, path: &str, base: usize) -> Option<Url> {
        if let Some(url) = self.urls.borrow().get(&(base, path.to_owned())) {
            return Some(url.clone());
        }
        let url = url(&self.account, base, path)?;
        self.urls.borrow_mut().insert((base, path.to_owned()), url.clone());
        Some(url)
    }
}

/// Redirects, ambient proxies and private addresses are off; so are cookies and compression, which are no features here.
fn client(account: &Account) -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(account.limits.timeout)
        // Before the whole time is over: a connection that is not made in time has carried nothing, and says so.
        .connect_timeout(account.limits.connect_timeout.min(account.limits.timeout.mul_f64(0.9)))
        .pool_max_idle_per_host(account.limits.concurrency)
        .pool_idle_timeout(IDLE)
        .tcp_nodelay(true)
        .user_agent(concat!("postback/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(Resolver { allow_private: account.allow_private }))
}

/// The request of one event at this moment, signed.
///
/// # Errors
/// `Halt`: no credential holds.
pub fn request(account: &Account, item: &Prepared, now_ms: i64) -> Result<Request, DeliveryError> {
    let credential = Credential::in_force(&account.credentials, now_ms);
    account.sender.request(&[item], &Context { now_ms, credential }).map_err(|fault| {
        DeliveryError::Halt(Answer { detail: format!("{}: {}", fault.field, fault.detail), ..Answer::default() })
    })
}

/// Where an account's request goes: one of its base URLs, then its own path or the platform's.
pub fn url(account: &Account, base: usize, path: &str) -> Option<Url> {
    let path = account.path.as_deref().unwrap_or(path);
    Url::parse(&format!("{}{path}", account.base_urls.get(base)?)).ok()
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, &'static str> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > MAX_BODY => return Err("the answer is longer than 64 KiB"),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) if error.is_timeout() => return Err("the answer did not end in time"),
            Err(_) => return Err("the answer broke off"),
        }
    }
}

fn unsent(detail: &str) -> Answer {
    Answer { detail: detail.to_owned(), ..Answer::default() }
}

fn private_host() -> DeliveryError {
    DeliveryError::Halt(unsent(
        "the host resolves to a private or loopback address: set allow_private on the account if that is meant",
    ))
}

fn ambiguous(status: Option<u16>, why: &str) -> DeliveryError {
    DeliveryError::Ambiguous(Answer { status, detail: why.to_owned(), sent: true, ..Answer::default() })
}

/// The class of a request that got no answer (SPEC 0.2). Texts are ours: an HTTP error prints the URL.
fn failure(error: &reqwest::Error) -> DeliveryError {
    if let Some(cause) = find_cause(error) {
        return match cause {
            Cause::Private => private_host(),
            Cause::Certificate => DeliveryError::Halt(unsent("the host's TLS certificate is not valid for it")),
        };
    }
    if error.is_connect() {
        let what = if error.is_timeout() { "no connection in time" } else { "no connection" };
        return DeliveryError::Retry(unsent(what));
    }
    if error.is_builder() {
        return DeliveryError::Halt(unsent("the request cannot be built"));
    }
    ambiguous(None, if error.is_timeout() { "no answer in time" } else { "the connection broke before an answer" })
}

enum Cause {
    Private,
    Certificate,
}

fn find_cause(error: &reqwest::Error) -> Option<Cause> {
    let mut next = error.source();
    while let Some(cause) = next {
        if cause.is::<PrivateAddress>() {
            return Some(Cause::Private);
        }
        let tls = cause.downcast_ref::<rustls::Error>();
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)) {
            return Some(Cause::Certificate);
        }
        // An io::Error hides what it wraps from `source`, and TLS comes wrapped twice.
        next = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    None
}

fn innermost(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = cause.to_string();
        next = cause.source();
    }
    text
}

/// The resolved address is what is checked: a name may point anywhere, and elsewhere tomorrow.
struct Resolver {
    allow_private: bool,
}

/// The host resolves to an address that the account may not reach.
#[derive(Debug, thiserror::Error)]
#[error("the host resolves to a private address")]
struct PrivateAddress;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = addresses(name.as_str(), 0, allow_private).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// One private address among public ones refuses them all: which one is taken is not ours to say.
fn reachable(found: Vec<SocketAddr>, allow_private: bool) -> Result<Vec<SocketAddr>, PrivateAddress> {
    if !allow_private && found.iter().any(|a| private(a.ip()).is_some()) {
        return Err(PrivateAddress);
    }
    Ok(found)
}

/// Where a name leads; refused as a whole where any of it is private and that is not allowed.
async fn addresses(
    host: &str,
    port: u16,
    allow_private: bool,
) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    Ok(reachable(found, allow_private)?)
}

#[cfg(test)]
mod tests;
