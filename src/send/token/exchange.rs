//! Token requests: sent over the connections of their account, without a slot of the rate, which is for events.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use http::header::RETRY_AFTER;

use crate::account::Account;
use crate::clock::now_ms;
use crate::error::DeliveryError;
use crate::platforms::Request;
use crate::platforms::tokens::{Seed, TokenSource};
use crate::redis::batcher::Batcher;
use crate::secret::SecretString;
use crate::send::client::{Answered, Unanswered};
use crate::send::failures::unsent;
use crate::send::line::Line;
use crate::send::token::seal::Seal;
use crate::send::token::{Reply, Setup, Tokens};
use crate::send::{Destination, Dispatcher, path_and_query};

/// How an account gets its tokens, and what encrypts them.
pub struct Kit {
    /// How the platform issues tokens.
    pub source: Arc<dyn TokenSource>,
    /// The values of the configuration.
    pub seed: Seed,
    /// Encrypts with the key of `redis.token_key`.
    pub seal: Seal,
}

impl Kit {
    /// The kit of an account, if it has tokens. Without a `token_key` the key ends with this process, and so does the
    /// embedded store that keeps the tokens.
    ///
    /// # Errors
    /// The tokens cannot be encrypted; the text is safe.
    pub fn of(account: &Account, token_key: &SecretString) -> Result<Option<Self>, String> {
        let Some((source, seed)) = account.tokens() else { return Ok(None) };
        let seal = if token_key.expose().is_empty() {
            Seal::of_this_process().ok_or("the system gives no random bytes")?
        } else {
            Seal::new(token_key).map_err(|why| format!("redis.token_key {why}"))?
        };
        Ok(Some(Self { source, seed, seal }))
    }
}

/// The tokens of an account, kept below `prefix` in Redis.
pub fn tokens(kit: Kit, dispatcher: &Rc<Dispatcher>, batcher: Batcher, prefix: &str) -> Rc<Tokens> {
    let account = &dispatcher.account;
    let key = format!("{prefix}:token:{}", account.name);
    let way = dispatcher.clone();
    let setup = Setup {
        account: account.name.clone(),
        credentials: account.credentials.clone(),
        source: kit.source,
        seed: kit.seed,
        exchange: Box::new(move |request| {
            let dispatcher = way.clone();
            Box::pin(async move { dispatcher.ask(request).await })
        }),
        timeout: account.limits.timeout,
        now_ms,
    };
    Tokens::new(setup, batcher, &key, kit.seal)
}

impl Dispatcher {
    /// Sends a request that carries no event to the base URL in use, with its own path, and returns the answer.
    pub async fn ask(&self, request: Request) -> Result<Reply, DeliveryError> {
        let limit = self.account.limits.timeout;
        loop {
            let line = match self.kept(Destination::BaseUrl) {
                Some(line) => line,
                None => self.connect(Destination::BaseUrl, limit).await?,
            };
            let Line { host, connection, .. } = line;
            let to = &self.hosts[host];
            let path = path_and_query(format!("{}{}", to.prefix, request.path).into());
            let broken = || DeliveryError::Halt(unsent("the platform's token request cannot be put into HTTP"));
            let http = path.and_then(|path| to.http(request.clone(), path).ok()).ok_or_else(broken)?;
            let answered = connection.exchange(http, limit, request.answer_bytes, || Ok::<_, Infallible>(())).await;
            let Answered { head, body, room: _room } = match answered {
                Ok(answered) => answered,
                Err(Unanswered::Failed(failure)) => return Err(self.refused(host, &failure)),
                // The kept connection had closed: another one takes the request.
                Err(Unanswered::Closed) => continue,
                Err(Unanswered::Stopped(never)) => match never {},
            };
            let status = head.status.as_u16();
            let body = match body {
                Ok(body) => body,
                // The status alone decides.
                Err(_) if !head.status.is_success() => Vec::new(),
                Err(_) => return Err(DeliveryError::Retry(unsent("the answer cannot be read"))),
            };
            let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
            return Ok(Reply { status, retry_after, headers: head.headers, body: body.into() });
        }
    }
}
