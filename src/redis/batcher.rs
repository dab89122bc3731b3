//! Each runtime thread has one batcher. It sends the waiting commands together in one pipeline, with at most two
//! pipelines under way.
//!
//! It does not await each command of each event: a pipeline of 256 commands takes a fifth of the client's CPU. It adds
//! no artificial delay: batches grow by themselves while two pipelines are under way.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use ::redis::{Arg, Client, Cmd, RedisError, Value};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

pub use crate::redis::error::StoreError;
use crate::redis::error::{NO_SCRIPT, describe, is_no_epoch, is_of_keys, is_refusal};
use crate::redis::facts::Facts;
use crate::redis::health::Health;
use crate::redis::scripts::Script;

/// The most commands in one pipeline.
const BATCH: usize = 256;
/// The most pipelines under way.
const PIPELINES: usize = 2;
/// A connection that was idle for longer is tested before it is used. Servers and proxies close idle connections, and a
/// command sent on a closed connection may or may not have run.
const IDLE: Duration = Duration::from_secs(5);

struct PendingCommand {
    cmd: Cmd,
    /// Whether the answer counts only if the epoch key, read in the same pipeline, is there.
    claim: bool,
    reply: oneshot::Sender<Result<Value, StoreError>>,
}

/// Sends commands to Redis from one runtime thread.
#[derive(Clone)]
pub struct Batcher {
    commands: mpsc::UnboundedSender<PendingCommand>,
    /// Set when the connection may lead to a server that is no longer the primary.
    reset: Rc<Cell<bool>>,
    health: Arc<Health>,
}

impl Batcher {
    /// Returns a handle and the future that does the work. Run the future on the same thread; it ends when the last
    /// handle is dropped.
    pub fn new(client: Client, epoch_key: String, health: Arc<Health>) -> (Self, impl Future<Output = ()>) {
        Self::asking_after(IDLE, client, epoch_key, health)
    }

    fn asking_after(
        idle: Duration,
        client: Client,
        epoch_key: String,
        health: Arc<Health>,
    ) -> (Self, impl Future<Output = ()>) {
        let (commands, inbox) = mpsc::unbounded_channel();
        let reset = Rc::new(Cell::new(false));
        let (own, used) = (health.clone(), Instant::now());
        let work =
            Loop { client, epoch_key, health: own, connection: None, reset: reset.clone(), idle, used }.run(inbox);
        (Self { commands, reset, health }, work)
    }

    /// The replication id of the primary as it was last read, up to a second ago. Empty: it was not read yet.
    pub fn known_primary(&self) -> Arc<str> {
        self.health.primary()
    }

    /// Asks for the replication id of the primary now.
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

    /// Names a key that holds what no worker wrote, as the batcher itself does if Redis refuses to read it.
    pub fn met_foreign(&self, key: &[u8]) {
        self.health.foreign.met(key);
    }

    /// Opens a new connection before the next command, because the address may lead to another server now.
    pub fn reconnect(&self) {
        self.reset.set(true);
    }

    /// Sends one command, which goes out whether its answer is awaited or not.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Unreached`].
    pub fn call(&self, cmd: Cmd) -> impl Future<Output = Result<Value, StoreError>> + use<> {
        self.submit(cmd, false)
    }

    /// Sends one claim, as [`Batcher::call`] does. The same pipeline reads the store's epoch after it.
    ///
    /// # Errors
    /// All of [`StoreError`].
    pub fn claim(&self, cmd: Cmd) -> impl Future<Output = Result<Value, StoreError>> + use<> {
        self.submit(cmd, true)
    }

    /// Runs one script on one key.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Unreached`].
    pub async fn script(&self, script: Script, key: &[u8], args: &[&[u8]]) -> Result<Value, StoreError> {
        match self.submit(by_sha(script, key, args), false).await {
            // A server that restarted or was failed over to has no cached scripts. EVAL caches the script again.
            Err(StoreError::Refused(text)) if text == NO_SCRIPT => {
                self.submit(with_args(script.eval(key), args), false).await
            }
            other => other,
        }
    }

    /// Not asynchronous itself, so that who waits for the answer holds no copy of the command: in a burst thousands
    /// wait.
    fn submit(&self, cmd: Cmd, claim: bool) -> impl Future<Output = Result<Value, StoreError>> + use<> {
        let (reply, answer) = oneshot::channel();
        // If the task has ended, the sender of the answer is dropped here.
        let _ = self.commands.send(PendingCommand { cmd, claim, reply });
        async move { answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the store's task has ended".into()))) }
    }
}

/// Has no spare room: each event reserves a slot by a script.
fn by_sha(script: Script, key: &[u8], args: &[&[u8]]) -> Cmd {
    let sha = script.sha();
    let bytes = "EVALSHA1".len() + sha.len() + key.len() + args.iter().map(|arg| arg.len()).sum::<usize>();
    let mut cmd = Cmd::with_capacity(4 + args.len(), bytes);
    cmd.arg("EVALSHA").arg(sha).arg(1).arg(key);
    with_args(cmd, args)
}

fn with_args(mut cmd: Cmd, args: &[&[u8]]) -> Cmd {
    args.iter().for_each(|arg| _ = cmd.arg(*arg));
    cmd
}

struct Loop {
    client: Client,
    epoch_key: String,
    health: Arc<Health>,
    connection: Option<MultiplexedConnection>,
    reset: Rc<Cell<bool>>,
    idle: Duration,
    /// When the connection was last used.
    used: Instant,
}

impl Loop {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<PendingCommand>) {
        let mut under_way = FuturesUnordered::new();
        let mut commands = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                Some(broken) = under_way.next(), if !under_way.is_empty() => {
                    if broken {
                        self.connection = None;
                    }
                }
                taken = inbox.recv_many(&mut commands, BATCH), if under_way.len() < PIPELINES => {
                    if taken == 0 {
                        return;
                    }
                    match self.connection().await {
                        Ok(connection) => {
                            let batch = std::mem::replace(&mut commands, Vec::with_capacity(BATCH));
                            under_way.push(send(connection, self.epoch_key.clone(), batch, self.health.clone()));
                        }
                        Err(text) => {
                            for command in commands.drain(..) {
                                let _ = command.reply.send(Err(StoreError::Unreached(text.clone())));
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

/// Whether the server answers on this connection, with any answer.
async fn lives(connection: &mut MultiplexedConnection) -> bool {
    match ::redis::cmd("PING").query_async::<()>(connection).await {
        Ok(()) => true,
        Err(error) => error.code().is_some(),
    }
}

/// The key of a command: its first argument, or the one behind a script and the number of its keys.
fn key_of(cmd: &Cmd) -> Option<&[u8]> {
    let mut args = cmd.args_iter();
    let Arg::Simple(name) = args.next()? else { return None };
    let Arg::Simple(key) = args.nth(if name.starts_with(b"EVAL") { 2 } else { 0 })? else { return None };
    Some(key)
}

/// Sends one pipeline and distributes the answers. Returns whether the connection must be replaced.
async fn send(
    mut connection: MultiplexedConnection,
    epoch_key: String,
    batch: Vec<PendingCommand>,
    health: Arc<Health>,
) -> bool {
    let mut pipe = ::redis::Pipeline::with_capacity(batch.len() + 1);
    pipe.ignore_errors();
    let mut replies = Vec::with_capacity(batch.len());
    let mut claims = false;
    for PendingCommand { cmd, claim, reply } in batch {
        pipe.add_command(cmd);
        claims |= claim;
        replies.push((claim, reply));
    }
    if claims {
        pipe.cmd("GET").arg(&epoch_key);
    }
    match pipe.query_async::<Vec<Value>>(&mut connection).await {
        Ok(mut values) => {
            let forgotten = claims && values.pop().is_some_and(is_no_epoch);
            if forgotten {
                health.forgot();
            }
            let mut refused = None;
            for (((claim, reply), value), cmd) in replies.into_iter().zip(values).zip(pipe.cmd_iter()) {
                let _ = reply.send(match value {
                    Value::ServerError(error) => {
                        let error = RedisError::from(error);
                        let text = describe(&error);
                        if is_of_keys(&error) {
                            key_of(cmd).inspect(|key| health.foreign.met(key));
                            Err(StoreError::Foreign)
                        } else {
                            if text != NO_SCRIPT {
                                refused = Some(text.clone());
                            }
                            Err(if is_refusal(&error) {
                                StoreError::Refused(text)
                            } else {
                                StoreError::Unavailable(text)
                            })
                        }
                    }
                    _ if claim && forgotten => Err(StoreError::Forgotten),
                    value => Ok(value),
                });
            }
            match &refused {
                Some(text) => health.failed(text),
                None => health.answered(),
            }
            // A server that refuses may have been demoted: another server may answer at this address now.
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

#[cfg(test)]
pub(crate) mod tests;
