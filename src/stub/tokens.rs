//! A platform that issues access tokens, and accepts events only with a valid one.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;

use crate::error::{DeliveryError, Fault};
use crate::event::ConversionEvent;
use crate::platforms::reading::{BatchLimits, HttpAnswer, Reading};
use crate::platforms::tokens::{Grant, Issued, Life, Seed, TokenSource};
use crate::platforms::{Context, Prepared, Receipt, Request, Sender};
use crate::secret::SecretString;
use crate::send::token::seal::Seal;
use crate::stub::prepared;
use crate::stub::server::{Server, answer};

/// A key for tests.
pub(crate) fn seal() -> Seal {
    Seal::new(&SecretString::new(base64::engine::general_purpose::STANDARD.encode([9; 32]))).unwrap()
}

/// Sends the trans_ids, one per line, with the token in a header.
pub(crate) struct Tokened {
    /// The most items of one request.
    pub(crate) items: usize,
}

impl Sender for Tokened {
    fn natives(&self) -> Vec<std::borrow::Cow<'static, str>> {
        vec!["install".into()]
    }

    fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError> {
        Ok(prepared(&event.trans_id))
    }

    fn request(&self, items: &[&Prepared], context: &Context<'_>) -> Result<Request, Fault> {
        let token = context.token.ok_or_else(|| Fault::new("token", "none is in force"))?;
        let lines: Vec<_> = items.iter().map(|item| item.item.text().unwrap()).collect();
        let headers = vec![("x-token", token.expose().to_owned())];
        Ok(Request { path: "/batch".into(), headers, body: Bytes::from(lines.join("\n")), ..Request::default() })
    }

    fn read(&self, items: &[&Prepared], http: &HttpAnswer<'_>) -> Reading {
        if http.status == 503 {
            return Reading::Nothing;
        }
        let body = String::from_utf8_lossy(http.body);
        let said = |item: &&Prepared| {
            let id = item.item.text().unwrap();
            let (_, word) = body.lines().filter_map(|line| line.split_once(' ')).find(|(line, _)| *line == id)?;
            let stale = DeliveryError::Refresh(http.answer());
            Some(if word == "stale" { Err(stale) } else { Ok(Receipt::default()) })
        };
        Reading::Each(items.iter().map(said).collect())
    }

    fn batch(&self) -> BatchLimits {
        BatchLimits { items: self.items, bytes: usize::MAX }
    }

    fn tokens(&self) -> Option<(Arc<dyn TokenSource>, Seed)> {
        let secret = |text: &str| Some(SecretString::new(text));
        Some((Arc::new(Source), Seed { access: secret("access-0"), refresh: secret("refresh-0"), code: None }))
    }
}

/// Its token endpoint answers `access refresh life`.
struct Source;

impl TokenSource for Source {
    fn token_request(&self, grant: Grant<'_>, _: &Context<'_>) -> Result<Request, Fault> {
        let (Grant::Refresh(secret) | Grant::Code(secret)) = grant;
        Ok(Request { path: "/token".into(), body: Bytes::from(secret.expose().to_owned()), ..Request::default() })
    }

    fn token_from(&self, http: &HttpAnswer<'_>) -> Result<Issued, DeliveryError> {
        match http.status {
            200 => {}
            503 => return Err(DeliveryError::Retry(http.answer())),
            _ => return Err(DeliveryError::Halt(http.answer())),
        }
        let text = String::from_utf8_lossy(http.body);
        let parts: Vec<_> = text.split(' ').collect();
        Ok(Issued {
            access: SecretString::new(parts[0]),
            refresh: Some(SecretString::new(parts[1])),
            access_ends_ms: Some(http.now_ms + parts[2].parse::<i64>().unwrap()),
            refresh_ends_ms: None,
        })
    }

    /// As early as the rules allow: at half of the token's life.
    fn refresh_at_ms(&self, life: &Life) -> Option<i64> {
        life.first_end_ms().map(|_| life.issued_ms)
    }
}

/// What the platform knows, and how it behaves.
#[derive(Default)]
pub(crate) struct State {
    /// The number of issued pairs. The access token of the last one is valid.
    pub(crate) issued: u32,
    /// How long an issued token is valid.
    pub(crate) life: Duration,
    /// Access tokens that are refused.
    pub(crate) refused: BTreeSet<String>,
    /// Whether it refuses all access tokens.
    pub(crate) refuses_all: bool,
    /// Whether it names the refused events in an answer of status 200. Then it refuses only events whose trans_id
    /// begins with `stale`.
    pub(crate) by_item: bool,
    /// A refusal waits until this many requests with events have arrived.
    pub(crate) refuses_together: u32,
    /// The number of requests with events that have arrived.
    pub(crate) events: u32,
    /// Whether requests with events have to wait.
    pub(crate) holds_events: bool,
    /// Whether requests with events fail.
    pub(crate) fails_events: bool,
    /// Whether token requests fail.
    pub(crate) fails_tokens: bool,
    /// Whether token requests have to wait.
    pub(crate) holds_tokens: bool,
    /// The number of token requests that have arrived.
    pub(crate) asked: u32,
    /// The accepted events: trans_id and token.
    pub(crate) taken: Vec<(String, String)>,
}

/// The platform, shared with its server.
pub(crate) struct Issuer(Mutex<State>);

impl Issuer {
    pub(crate) fn new(edit: impl FnOnce(&mut State)) -> Arc<Self> {
        let mut state = State { life: Duration::from_secs(3600), ..State::default() };
        edit(&mut state);
        Arc::new(Self(Mutex::new(state)))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn token(&self, refresh: &str) -> String {
        self.state().asked += 1;
        while self.state().holds_tokens {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut state = self.state();
        if state.fails_tokens {
            return answer("503 Away", "");
        }
        if refresh != format!("refresh-{}", state.issued) {
            return answer("401 Refused", "");
        }
        state.issued += 1;
        let n = state.issued;
        answer("200 OK", &format!("access-{n} refresh-{n} {}", state.life.as_millis()))
    }

    fn events(&self, token: &str, body: &str) -> String {
        let mut state = self.state();
        state.events += 1;
        while state.holds_events {
            drop(state);
            std::thread::sleep(Duration::from_millis(5));
            state = self.state();
        }
        if state.fails_events {
            return answer("503 Away", "");
        }
        let is_refused = state.refuses_all || state.refused.contains(token);
        if is_refused && !state.by_item {
            while state.events < state.refuses_together {
                drop(state);
                std::thread::sleep(Duration::from_millis(5));
                state = self.state();
            }
            return answer("401 Refused", "");
        }
        let mut said = String::new();
        for id in body.lines() {
            if is_refused && id.starts_with("stale") {
                said.push_str(&format!("{id} stale\n"));
            } else {
                state.taken.push((id.to_owned(), token.to_owned()));
                said.push_str(&format!("{id} ok\n"));
            }
        }
        answer("200 OK", &said)
    }
}

pub(crate) fn server(issuer: Arc<Issuer>) -> Server {
    Server::start(move |mut connection| {
        while let Some(request) = connection.request() {
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let token = head.lines().find_map(|line| line.strip_prefix("x-token: "));
            let answer = match token {
                Some(token) => issuer.events(token, body),
                None => issuer.token(body),
            };
            let _ = connection.tcp.write_all(answer.as_bytes());
        }
    })
}
