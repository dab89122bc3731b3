//! Checks whether the user of `redis.url` may run each command that the worker runs. The check changes nothing in
//! Redis.

use ::redis::aio::MultiplexedConnection;
use ::redis::{Client, Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, cmd};

use crate::redis::scripts::Script;

/// The Redis commands of the worker and of `postback`. The README lists them; a test compares the two lists.
const COMMANDS: &[&str] = &[
    "PING",
    "INFO",
    "MULTI",
    "EXEC",
    "GET",
    "MGET",
    "SET",
    "SETBIT",
    "DEL",
    "EXISTS",
    "PTTL",
    "PEXPIRE",
    "HGET",
    "HGETALL",
    "HSET",
    "HSETNX",
    "HEXISTS",
    "HINCRBY",
    "HDEL",
    "SADD",
    "SREM",
    "SMEMBERS",
    "ZADD",
    "ZREM",
    "ZREVRANGE",
    "LPUSH",
    "LTRIM",
    "LRANGE",
    "TIME",
    "EVAL",
    "EVALSHA",
];

/// The rights that the user lacks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refused {
    /// Commands that the user may not run.
    commands: Vec<&'static str>,
    /// The user may not use keys under the prefix.
    keys: bool,
}

impl Refused {
    /// One text that says what to grant; `None`: no right is missing.
    pub fn text(&self, prefix: &str) -> Option<String> {
        if *self == Self::default() {
            return None;
        }
        let commands = (!self.commands.is_empty()).then(|| format!("run {}", self.commands.join(", ")));
        let keys = self.keys.then(|| format!("use keys that begin with {prefix}:"));
        let may_not: Vec<String> = commands.into_iter().chain(keys).collect();
        // Without MULTI the other commands are not tried.
        let again = if self.commands.contains(&"MULTI") { ", then check again" } else { "" };
        let mut grants: Vec<String> = self.commands.iter().map(|name| format!("+{}", name.to_lowercase())).collect();
        grants.extend(self.keys.then(|| format!("~{prefix}:*")));
        Some(format!(
            "redis.url: its user may not {}: ACL SETUSER USER {}{again} (all rights that are needed: README, \"Rights in Redis\")",
            may_not.join(" or "),
            grants.join(" ")
        ))
    }
}

/// Asks for each command. The commands are queued in a transaction that is never carried out: Redis checks the right
/// when it queues a command, and drops the queue with the connection.
///
/// # Errors
/// The error of the network.
pub(super) async fn refused(client: &Client, prefix: &str) -> RedisResult<Refused> {
    let mut connection = crate::redis::connect(client).await?;
    let mut found = Refused::default();
    let key = format!("{prefix}:check");
    if !ask(&mut connection, &mut found, "MULTI", &cmd("MULTI")).await? {
        // Outside a transaction Redis would carry the commands out.
        return Ok(found);
    }
    // This EXEC ends an empty transaction, whatever Redis answers.
    ask(&mut connection, &mut found, "EXEC", &cmd("EXEC")).await?;
    cmd("MULTI").query_async::<()>(&mut connection).await?;
    for name in COMMANDS.iter().copied().filter(|name| !["MULTI", "EXEC"].contains(name)) {
        ask(&mut connection, &mut found, name, &command(name, &key)).await?;
    }
    Ok(found)
}

/// Makes a well-formed call. Redis refuses a malformed call before it checks the right.
fn command(name: &'static str, key: &str) -> Cmd {
    let args: &[&str] = match name {
        "HGET" | "HDEL" | "HEXISTS" => &["f"],
        "HSET" | "HSETNX" => &["f", "v"],
        "HINCRBY" => &["f", "0"],
        "SET" | "SADD" | "SREM" | "LPUSH" | "ZREM" => &["v"],
        "LTRIM" | "LRANGE" | "ZREVRANGE" => &["0", "1"],
        "SETBIT" => &["0", "0"],
        "ZADD" => &["0", "v"],
        "PEXPIRE" => &["1"],
        _ => &[],
    };
    let mut call = cmd(name);
    match name {
        "PING" | "INFO" | "TIME" => {}
        "EVAL" => return Script::Release.eval(key.as_bytes()),
        "EVALSHA" => _ = call.arg(Script::Release.sha()).arg(1).arg(key),
        _ => _ = call.arg(key).arg(args),
    }
    call
}

/// Says whether the user may run the command.
async fn ask(
    connection: &mut MultiplexedConnection,
    found: &mut Refused,
    name: &'static str,
    call: &Cmd,
) -> RedisResult<bool> {
    let error: RedisError = match call.query_async::<::redis::Value>(connection).await {
        Ok(_) => return Ok(true),
        Err(error) => error,
    };
    let text = error.detail().unwrap_or_default();
    // Redis answers a refused EXEC as an aborted transaction, with the reason behind that.
    if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) || text.contains("NOPERM") {
        if text.contains(" to access ") {
            found.keys = true;
        } else {
            found.commands.push(name);
        }
        return Ok(false);
    }
    // Any other answer of the server is about the call, not about the right.
    if error.code().is_some() { Ok(true) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_named_with_what_to_grant() {
        assert_eq!(Refused::default().text("pb"), None);
        let text = Refused { commands: vec!["SADD", "EVALSHA"], keys: true }.text("pb").unwrap();
        for part in
            ["may not run SADD, EVALSHA or use keys that begin with pb:", "+sadd +evalsha ~pb:*", "Rights in Redis"]
        {
            assert!(text.contains(part), "no `{part}` in {text}");
        }
    }

    #[test]
    fn the_readme_lists_each_command_and_each_is_one_that_scripts_or_code_run() {
        let (_, rights) = include_str!("../../../README.md").split_once("Rights in Redis").unwrap();
        let rights = rights.split("\n\n").take(3).collect::<Vec<_>>().join("\n");
        let listed: Vec<&str> = rights.split_whitespace().filter_map(|word| word.strip_prefix('+')).collect();
        let wanted: Vec<String> = COMMANDS.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(listed, wanted);
        let in_scripts: String = Script::ALL.iter().map(|script| script.text()).collect();
        for call in in_scripts.split("redis.call('").skip(1) {
            let name = call.split('\'').next().unwrap();
            assert!(COMMANDS.contains(&name), "{name} runs in a script");
        }
    }

    /// The list contains every command that the sources name.
    #[test]
    fn each_command_in_the_sources_is_asked_for() {
        fn search(folder: &std::path::Path, found: &mut std::collections::BTreeSet<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if path.is_dir() && !["embedded", "stub", "tests"].contains(&&*name) {
                    search(&path, found);
                } else if name.ends_with(".rs") && !["tests.rs", "rights.rs"].contains(&&*name) {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let code = text.split("#[cfg(test)]").next().unwrap();
                    found.extend(
                        code.split("cmd(\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned),
                    );
                    if code.contains(".atomic()") {
                        found.extend(["MULTI", "EXEC"].map(str::to_owned));
                    }
                }
            }
        }
        let mut found = std::collections::BTreeSet::new();
        search(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        assert!(found.len() > 10, "{found:?}");
        // The embedded store has exactly the commands that are used, even those that the sources name in another form.
        let embedded = include_str!("../../embedded/store/commands.rs");
        let embedded = embedded.split("command(\"").skip(1).filter_map(|rest| rest.split('"').next());
        found.extend(embedded.filter(|name| !["CLIENT", "SELECT"].contains(name)).map(str::to_owned));
        found.iter().for_each(|name| assert!(COMMANDS.contains(&name.as_str()), "{name} is not asked for"));
    }

    /// The embedded store has no rights: every command may run, and the check leaves nothing behind.
    #[tokio::test]
    async fn asking_changes_nothing() {
        let store = crate::embedded::store::Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        assert_eq!(refused(&client, "pb").await.unwrap(), Refused::default());
        let mut connection = crate::redis::connect(&client).await.unwrap();
        let there: i64 = cmd("EXISTS").arg("pb:check").query_async(&mut connection).await.unwrap();
        assert_eq!(there, 0);
    }
}
