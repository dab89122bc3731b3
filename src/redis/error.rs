//! Why a command has no usable answer, and the text that describes the error without secrets.

use ::redis::{ErrorKind, RedisError, ServerError, ServerErrorKind, Value};

use crate::redis::tls;

pub(super) const NO_SCRIPT: &str = "NOSCRIPT";
/// With these codes Redis refuses a command before it runs, or one of our scripts before it writes, because our scripts
/// write last. Any other code may come from a proxy that passed the command on.
const REFUSALS: [&str; 17] = [
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
];
/// Redis refuses one command with this code, because its key holds a value of another type.
const WRONG_TYPE: &str = "WRONGTYPE";

/// Why a command has no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// There was no answer, or an answer that does not tell what happened. The command may have run. The text contains
    /// no secret.
    Unavailable(String),
    /// Redis refuses, for example because it is full, read-only or without its replicas: the command did not run. The
    /// text contains no secret.
    Refused(String),
    /// Redis cannot be reached, or must not be asked now: the command was not sent. The text contains no secret.
    Unreached(String),
    /// The key of this command holds what no worker wrote: another type, or a value that a script cannot read. The
    /// command did not run. Redis itself is well, and so are the other keys.
    Foreign,
    /// The command ran, but the store has lost its epoch, so its answer says nothing about the past.
    Forgotten,
}

impl StoreError {
    /// Whether the command may have run.
    pub fn may_have_run(&self) -> bool {
        !matches!(self, StoreError::Unreached(_) | StoreError::Refused(_) | StoreError::Foreign)
    }
}

/// Whether the command certainly did not run.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    error.code().is_some_and(|code| REFUSALS.contains(&code))
}

/// Whether Redis refuses these commands only for what their keys hold, so that others are answered all the same.
pub fn is_of_keys(error: &RedisError) -> bool {
    let errors = error.clone().into_server_errors();
    errors.is_some_and(|errors| errors.iter().all(|(_, error)| is_of_key(error)))
}

fn is_of_key(error: &ServerError) -> bool {
    let text = error.details().unwrap_or_default();
    // What Redis says where a number is needed and the value is none, and Lua in one of our scripts.
    let is_no_number =
        || text.contains("is not an integer") || text.contains("user_script") && text.contains("attempt to ");
    error.code() == WRONG_TYPE || error.code() == "ERR" && is_no_number()
}

/// Whether this reply shows that the store has lost its epoch. Another type is none that a worker wrote.
pub(super) fn is_no_epoch(reply: Value) -> bool {
    reply == Value::Nil || reply.extract_error().is_err_and(|error| is_of_keys(&error))
}

/// Says which right the user lacks. The server puts the name of a command between quotes, and gives no name if it
/// refuses a key.
fn permission(text: &str) -> String {
    let name =
        text.split('\'').nth(1).filter(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b"|-".contains(&b)));
    match name {
        Some(name) => format!("the user lacks a permission (ACL): {name}"),
        None if text.contains(" to access ") => "the user lacks a permission (ACL): keys of redis.prefix".into(),
        None => "the user lacks a permission (ACL)".into(),
    }
}

/// The text that follows the server's error code. If a pipeline met several refusals, the text of the first.
fn refusal(error: &RedisError) -> String {
    match error.clone().into_server_errors() {
        Some(errors) => errors.first().and_then(|(_, error)| error.details()).unwrap_or_default().to_owned(),
        None => error.detail().unwrap_or_default().to_owned(),
    }
}

/// The code of the server's error, and its kind. Of a transaction that was given up, those of the first command that
/// was refused: that one says why.
fn code(error: &RedisError) -> (Option<String>, ErrorKind) {
    let aborted = error.kind() == ErrorKind::Server(ServerErrorKind::ExecAbort);
    let first = aborted.then(|| error.clone().into_server_errors()).flatten();
    match first.as_ref().and_then(|errors| errors.first()) {
        Some((_, refused)) => {
            let kind = refused.kind().map_or(ErrorKind::Extension, ErrorKind::Server);
            (Some(refused.code().to_owned()), kind)
        }
        None => (error.code().map(str::to_owned), error.kind()),
    }
}

/// Describes an error without secrets: what the server or the network said, never an address.
pub fn describe(error: &RedisError) -> String {
    if let Some(text) = tls::trouble(error) {
        return text;
    }
    let (code, kind) = code(error);
    let code = code.as_deref();
    match kind {
        ErrorKind::Server(ServerErrorKind::NoScript) => NO_SCRIPT.into(),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => "read-only (a replica, or a primary that was demoted)".into(),
        ErrorKind::Server(ServerErrorKind::BusyLoading) => "loading its data".into(),
        ErrorKind::Server(ServerErrorKind::NoPerm) => permission(&refusal(error)),
        // Redis says no more than this about a right that only a script lacked.
        _ if refusal(error).starts_with("The user executing the script") => {
            "the user lacks a permission (ACL) that a script needs: `postback check --connect` names it".into()
        }
        ErrorKind::AuthenticationFailed => "authentication failed".into(),
        _ if code == Some(WRONG_TYPE) => "a key holds a value of another type (WRONGTYPE)".into(),
        _ if code == Some("OOM") => "out of memory (maxmemory reached)".into(),
        _ if code == Some("NOREPLICAS") => "not enough replicas (min-replicas-to-write)".into(),
        _ if code == Some("MISCONF") => "refuses writes because it cannot persist (MISCONF)".into(),
        _ if error.is_timeout() => "no answer in time".into(),
        _ if error.is_io_error() => "not reachable".into(),
        _ => format!("answered {}", code.unwrap_or_else(|| error.category())),
    }
}
