//! One batcher per runtime thread: what waits goes out in one pipeline, two pipelines under way at most.
//!
//! Not one awaited command per event: a pipeline of 256 costs a fifth of the client's CPU. There is no artificial delay;
//! batches grow by themselves while two pipelines are under way.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use ::redis::{Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use crate::redis::facts::Facts;
use crate::redis::health::Health;
use crate::redis::scripts::Script;
use crate::redis::tls;

/// Commands in one pipeline at most.
const BATCH: usize = 256;
/// Pipelines under way at most.
const PIPELINES: usize = 2;
/// A connection that was idle for longer is asked before it is used: servers and proxies close such ones, and a command
/// that meets a closed one may have run for all that is known.
const IDLE: Duration = Duration::from_secs(5);

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// No answer, or one that says nothing; the text is safe. The command may have run all the same.
    Unavailable(String),
    /// Redis is full, read-only, without its replicas or otherwise refuses: the command did not run. The text is safe.
    Refused(String),
    /// Redis cannot be reached, or must not be asked now: the command did not go out. The text is safe.
    Unreached(String),
    /// The command ran, but the store has lost its epoch: what it says of the past is worth nothing.
    Forgotten,
}

impl StoreError {
    /// Whether the command may have run.
    pub fn may_have_run(&self) -> bool {
        !matches!(self, StoreError::Unreached(_) | StoreError::Refused(_))
    }
}

struct Call {
    cmd: Cmd,
    /// Judged against the epoch that the same pipeline reads.
    claim: bool,
    reply: oneshot::Sender<Result<Value, StoreError>>,
}

/// The way to Redis from one runtime thread.
#[derive(Clone)]
pub struct Batcher {
    calls: mpsc::UnboundedSender<Call>,
    /// The connection may lead to a server that is no primary any more.
    reset: Rc<Cell<bool>>,
    health: Arc<Health>,
}

impl Batcher {
    /// A handle, and the work behind it: to be run on the same thread. It ends with the last handle.
    pub fn new(client: Client, epoch_key: String, health: Arc<Health>) -> (Self, impl Future<Output = ()>) {
        Self::asking_after(IDLE, client, epoch_key, health)
    }

    fn asking_after(
        idle: Duration,
        client: Client,
        epoch_key: String,
        health: Arc<Health>,
    ) -> (Self, impl Future<Output = ()>) {
        let (calls, inbox) = mpsc::unbounded_channel();
        let reset = Rc::new(Cell::new(false));
        let (own, used) = (health.clone(), Instant::now());
        let work =
            Loop { client, epoch_key, health: own, connection: None, reset: reset.clone(), idle, used }.run(inbox);
        (Self { calls, reset, health }, work)
    }

    /// The replication id of the primary as the last look found it, up to a second ago; empty: not yet.
    pub fn known_primary(&self) -> Arc<str> {
        self.health.primary()
    }

    /// The replication id of the primary, asked now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Unreached`].
    pub async fn primary(&self) -> Result<String, StoreError> {
        let mut cmd = ::redis::cmd("INFO");
        cmd.arg("replication");
        let text = ::redis::from_redis_value::<String>(self.call(cmd).await?)
            .map_err(|_| StoreError::Unavailable("gave an answer of another type".into()))?;
        Ok(Facts::read(&text).replication_id)
    }

    /// Connects anew before the next command: the address may lead to another server now.
    pub fn reconnect(&self) {
        self.reset.set(true);
    }

    /// One command.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Unreached`].
    pub async fn call(&self, cmd: Cmd) -> Result<Value, StoreError> {
        self.submit(cmd, false).await
    }

    /// One claim: the store's epoch is read in the same pipeline, after it.
    ///
    /// # Errors
    /// All of [`StoreError`].
    pub async fn claim(&self, cmd: Cmd) -> Result<Value, StoreError> {
        self.submit(cmd, true).await
    }

    /// One script on one key.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Unreached`].
    pub async fn script(&self, script: Script, key: &[u8], args: &[&[u8]]) -> Result<Value, StoreError> {
        let mut cmd = ::redis::cmd("EVALSHA");
        cmd.arg(script.sha()).arg(1).arg(key);
        for arg in args {
            cmd.arg(*arg);
        }
        match self.submit(cmd, false).await {
            Err(StoreError::Refused(text)) if text == NO_SCRIPT => {
                // A restarted or failed-over server has no cached scripts; EVAL caches it again.
                let mut cmd = script.eval(key);
                for arg in args {
                    cmd.arg(*arg);
                }
                self.submit(cmd, false).await
            }
            other => other,
        }
    }

    async fn submit(&self, cmd: Cmd, claim: bool) -> Result<Value, StoreError> {
        let (reply, answer) = oneshot::channel();
        let gone = || StoreError::Unavailable("the store's task has ended".into());
        self.calls.send(Call { cmd, claim, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

const NO_SCRIPT: &str = "NOSCRIPT";
/// With these Redis turns a command away before it runs; a script of ours, which writes last, before it writes. Any other
/// code may be a proxy's, whose command went on.
const REFUSALS: [&str; 18] = [
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "EXECABORT",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOPERM",
    "NOREPLICAS",
    NO_SCRIPT,
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "WRONGPASS",
    "WRONGTYPE",
];

struct Loop {
    client: Client,
    epoch_key: String,
    health: Arc<Health>,
    connection: Option<MultiplexedConnection>,
    reset: Rc<Cell<bool>>,
    idle: Duration,
    /// When the connection was used last.
    used: Instant,
}

impl Loop {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Call>) {
        let mut under_way = FuturesUnordered::new();
        let mut calls = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                Some(broken) = under_way.next(), if !under_way.is_empty() => {
                    if broken {
                        self.connection = None;
                    }
                }
                taken = inbox.recv_many(&mut calls, BATCH), if under_way.len() < PIPELINES => {
                    if taken == 0 {
                        return;
                    }
                    match self.connection().await {
                        Ok(connection) => {
                            let batch = std::mem::replace(&mut calls, Vec::with_capacity(BATCH));
                            under_way.push(send(connection, self.epoch_key.clone(), batch, self.health.clone()));
                        }
                        Err(text) => {
                            for call in calls.drain(..) {
                                let _ = call.reply.send(Err(StoreError::Unreached(text.clone())));
                            }
                        }
                    }
                }
            }
        }
    }

    async fn connection(&mut self) -> Result<MultiplexedConnection, String> {
        if self.reset.replace(false) {
            self.connection = None;
        }
        let idle = self.used.elapsed() >= self.idle;
        self.used = Instant::now();
        if let Some(mut connection) = self.connection.take() {
            if !idle || lives(&mut connection).await {
                return Ok(self.connection.insert(connection).clone());
            }
            tracing::debug!("redis has closed a connection that was idle: opened anew");
        }
        match crate::redis::connect(&self.client).await {
            Ok(connection) => Ok(self.connection.insert(connection).clone()),
            Err(error) => {
                let text = describe(&error);
                self.health.failed(&text);
                Err(text)
            }
        }
    }
}

/// Whether the server answers there, whatever it says.
async fn lives(connection: &mut MultiplexedConnection) -> bool {
    match ::redis::cmd("PING").query_async::<()>(connection).await {
        Ok(()) => true,
        Err(error) => error.code().is_some(),
    }
}

/// Sends one pipeline and hands the answers out. Returns whether the connection is broken.
async fn send(mut connection: MultiplexedConnection, epoch_key: String, batch: Vec<Call>, health: Arc<Health>) -> bool {
    let mut pipe = ::redis::Pipeline::with_capacity(batch.len() + 1);
    pipe.ignore_errors();
    let mut replies = Vec::with_capacity(batch.len());
    let mut claims = false;
    for Call { cmd, claim, reply } in batch {
        pipe.add_command(cmd);
        claims |= claim;
        replies.push((claim, reply));
    }
    if claims {
        pipe.cmd("GET").arg(&epoch_key);
    }
    match pipe.query_async::<Vec<Value>>(&mut connection).await {
        Ok(mut values) => {
            let forgotten = claims && matches!(values.pop(), Some(Value::Nil));
            if forgotten {
                health.forgot();
            }
            let mut refused = None;
            for ((claim, reply), value) in replies.into_iter().zip(values) {
                let _ = reply.send(match value {
                    Value::ServerError(error) => {
                        let error = RedisError::from(error);
                        let text = describe(&error);
                        if text != NO_SCRIPT {
                            refused = Some(text.clone());
                        }
                        let refused = error.code().is_some_and(|code| REFUSALS.contains(&code));
                        Err(if refused { StoreError::Refused(text) } else { StoreError::Unavailable(text) })
                    }
                    _ if claim && forgotten => Err(StoreError::Forgotten),
                    value => Ok(value),
                });
            }
            match &refused {
                Some(text) => health.failed(text),
                None => health.answered(),
            }
            // One that refuses may have been demoted: another server may answer at this address.
            refused.is_some()
        }
        Err(error) => {
            let text = describe(&error);
            health.failed(&text);
            for (_, reply) in replies {
                let _ = reply.send(Err(StoreError::Unavailable(text.clone())));
            }
            true
        }
    }
}

/// What the user may not do. The server puts a command between quotes, and names none where keys are refused.
fn permission(text: &str) -> String {
    let name =
        text.split('\'').nth(1).filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b"|-".contains(&b)));
    match name {
        Some(name) => format!("the user lacks a permission (ACL): {name}"),
        None if text.contains(" to access ") => "the user lacks a permission (ACL): keys of redis.prefix".into(),
        None => "the user lacks a permission (ACL)".into(),
    }
}

/// What the server wrote behind its code; of several refusals in a pipeline, the first.
fn refusal(error: &RedisError) -> String {
    match error.clone().into_server_errors() {
        Some(errors) => errors.first().and_then(|(_, error)| error.details()).unwrap_or_default().to_owned(),
        None => error.detail().unwrap_or_default().to_owned(),
    }
}

/// A safe text: what the server or the network said, never an address.
pub fn describe(error: &RedisError) -> String {
    if let Some(text) = tls::trouble(error) {
        return text;
    }
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoScript) => NO_SCRIPT.into(),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => "read-only (a replica, or a primary that was demoted)".into(),
        ErrorKind::Server(ServerErrorKind::BusyLoading) => "loading its data".into(),
        ErrorKind::Server(ServerErrorKind::NoPerm) => permission(&refusal(error)),
        // Redis says no more than this of a right that only a script missed.
        _ if refusal(error).starts_with("The user executing the script") => {
            "the user lacks a permission (ACL) that a script needs: `postback check --connect` names it".into()
        }
        ErrorKind::AuthenticationFailed => "authentication failed".into(),
        _ if error.code() == Some("OOM") => "out of memory (maxmemory reached)".into(),
        _ if error.code() == Some("NOREPLICAS") => "not enough replicas (min-replicas-to-write)".into(),
        _ if error.code() == Some("MISCONF") => "refuses writes because it cannot persist (MISCONF)".into(),
        _ if error.is_timeout() => "no answer in time".into(),
        _ if error.is_io_error() => "not reachable".into(),
        _ => format!("answered {}", error.code().unwrap_or_else(|| error.category())),
    }
}

#[cfg(test)]
pub(crate) mod tests;
