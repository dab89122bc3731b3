use std::io::{Read as _, Seek as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Mutex;

use super::*;
use crate::embedded::store::Store;

/// Opens a port in front of the store. The test can close its connections.
pub(crate) fn in_front_of(store: &Store) -> (u16, Arc<Mutex<Vec<TcpStream>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, open) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let (address, kept) = (store.url().trim_start_matches("redis://").to_owned(), open.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let store = TcpStream::connect(&address).unwrap();
            kept.lock().unwrap().push(stream.try_clone().unwrap());
            for (from, to) in [(&stream, &store), (&store, &stream)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                std::thread::spawn(move || _ = std::io::copy(&mut from, &mut to));
            }
        }
    });
    (port, open)
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closed_fails_no_command_and_warns_nobody() {
    let store = Store::start().unwrap();
    let (port, open) = in_front_of(&store);
    let client = crate::redis::Config::stub(format!("redis://127.0.0.1:{port}")).client().unwrap();
    let health = Arc::new(Health::default());
    let mut log = tempfile::tempfile().unwrap();
    let lines = Mutex::new(log.try_clone().unwrap());
    crate::telemetry::tests::hear_every_thread();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(lines).finish());
    let (batcher, work) = Batcher::asking_after(Duration::ZERO, client, "pb:epoch".into(), health.clone());
    let asked = async {
        for _ in 0..2 {
            let mut cmd = ::redis::cmd("GET");
            cmd.arg("k");
            assert_eq!(batcher.call(cmd).await, Ok(Value::Nil));
            open.lock().unwrap().drain(..).for_each(|stream| stream.shutdown(Shutdown::Both).unwrap());
        }
    };
    tokio::select! { () = asked => {}, () = work => panic!("it ended") }
    assert!(health.is_up());
    let mut text = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut text).unwrap();
    assert!(text.contains("redis answers") && !text.contains("WARN"), "{text}");
}

#[tokio::test]
async fn what_one_key_holds_says_nothing_of_the_server() {
    let store = Store::start().unwrap();
    let client = crate::redis::Config::stub(store.url()).client().unwrap();
    let health = Arc::new(Health::default());
    let (batcher, work) = Batcher::new(client, "pb:epoch".into(), health.clone());
    let cmd = |words: &[&str]| {
        let mut cmd = ::redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = cmd.arg(*word));
        batcher.call(cmd)
    };
    let asked = async {
        cmd(&["LPUSH", "pb:list", "x"]).await.unwrap();
        assert_eq!(cmd(&["GET", "pb:list"]).await, Err(StoreError::Foreign));
        assert_eq!(batcher.script(Script::Renew, b"pb:list", &[b"c|", b"1"]).await, Err(StoreError::Foreign));
        assert!(health.is_up() && !StoreError::Foreign.may_have_run());
        assert_eq!(health.foreign.names(), ["pb:list"]);
        assert!(matches!(cmd(&["NO-SUCH"]).await, Err(StoreError::Unavailable(_))));
        assert!(!health.is_up());
    };
    tokio::select! { () = asked => {}, () = work => panic!("it ended") }
}

#[test]
fn an_error_for_what_a_key_holds_is_told_from_all_others() {
    let is_of_keys = |text: &str| {
        let refusal = ::redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap();
        is_of_keys(&refusal.extract_error().unwrap_err())
    };
    for text in [
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "WRONGTYPE Operation against a key holding the wrong kind of value script: d3c2, on @user_script:2.",
        "ERR user_script:8: attempt to perform arithmetic on local 'tat' (a nil value) script: d3c2, on @user_script:8.",
        "ERR hash value is not an integer script: d3c2, on @user_script:2.",
        "ERR value is not an integer or out of range",
    ] {
        assert!(is_of_keys(text), "{text}");
    }
    for text in [
        "ERR The user executing the script can't run this command or subcommand script: d3c2, on @user_script:1.",
        "ERR Unknown Redis command called from script script: d3c2, on @user_script:1.",
        "ERR unknown command 'GET'",
        "ERR attempt to reach the server failed",
        "OOM command not allowed when used memory > 'maxmemory'. script: d3c2, on @user_script:5.",
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "NOSCRIPT No matching script",
    ] {
        assert!(!is_of_keys(text), "{text}");
    }
}

/// A promoted primary, one that is full, one that starts, one that cannot persist: none of them has run the command.
#[test]
fn each_answer_by_which_redis_runs_nothing_is_told_from_one_that_may_come_from_a_proxy() {
    let is_refusal = |text: &str| {
        let answer = ::redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap();
        is_refusal(&answer.extract_error().unwrap_err())
    };
    for text in [
        "NOREPLICAS Not enough good replicas to write.",
        "READONLY You can't write against a read only replica.",
        "READONLY You can't write against a read only replica. script: d3c2, on @user_script:9.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "OOM command not allowed when used memory > 'maxmemory'. script: d3c2, on @user_script:5.",
        "LOADING Redis is loading the dataset in memory",
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "NOSCRIPT No matching script. Please use EVAL.",
        "NOAUTH Authentication required.",
        "NOPERM this user has no permissions to run the 'set' command",
        "WRONGPASS invalid username-password pair or user is disabled.",
        "CLUSTERDOWN The cluster is down",
        "MOVED 3999 127.0.0.1:6381",
        "ASK 3999 127.0.0.1:6381",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CROSSSLOT Keys in request don't hash to the same slot",
        "EXECABORT Transaction discarded because of previous errors.",
    ] {
        assert!(is_refusal(text), "{text}");
    }
    for text in ["ERR timed out waiting for the backend", "UPSTREAM failure", "ERR READONLY", "NOREPLICASX"] {
        assert!(!is_refusal(text), "{text}");
    }
}

#[test]
fn a_missing_right_is_named() {
    let refusal = |text: &str| {
        let refusal = ::redis::parse_redis_value(format!("-NOPERM {text}\r\n").as_bytes()).unwrap();
        describe(&refusal.extract_error().unwrap_err())
    };
    let text = refusal("this user has no permissions to run the 'evalsha' command or its subcommand");
    assert_eq!(text, "the user lacks a permission (ACL): evalsha");
    let text = refusal("this user has no permissions to access one of the keys used as arguments");
    assert_eq!(text, "the user lacks a permission (ACL): keys of redis.prefix");
    let text = refusal("other words");
    assert_eq!(text, "the user lacks a permission (ACL)");
}

/// A server that accepts every command, and refuses a transaction with this answer.
fn refusing(answer: &str) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let answer = answer.to_owned();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut heard) {
            let heard = String::from_utf8_lossy(&heard[..read]);
            let is_transaction = heard.contains("MULTI");
            let commands = heard.lines().filter(|line| line.starts_with('*')).count();
            let answer = if is_transaction { answer.clone() } else { "+OK\r\n".repeat(commands) };
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

#[tokio::test]
async fn of_a_transaction_that_was_given_up_the_refused_command_says_why() {
    for (refusal, want) in [
        ("OOM command not allowed when used memory > 'maxmemory'.", "out of memory (maxmemory reached)"),
        (
            "READONLY You can't write against a read only replica.",
            "read-only (a replica, or a primary that was demoted)",
        ),
        ("NOPERM this user has no permissions to run the 'set' command", "the user lacks a permission (ACL): set"),
    ] {
        let url = refusing(&format!(
            "+OK\r\n-{refusal}\r\n-{refusal}\r\n-EXECABORT Transaction discarded because of previous errors.\r\n"
        ));
        let mut connection = ::redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
        let mut pipe = ::redis::pipe();
        pipe.atomic().cmd("SET").arg("k").arg("v").cmd("SET").arg("l").arg("v");
        let asked: ::redis::RedisResult<()> = pipe.query_async(&mut connection).await;
        assert_eq!(describe(&asked.unwrap_err()), want);
    }
}

/// Redis gives this error no code of its own.
#[test]
fn a_right_that_only_a_script_misses_is_told_as_one() {
    let text =
        "-ERR The user executing the script can't run this command or subcommand script: d3c2, on @user_script:1.\r\n";
    let text = describe(&::redis::parse_redis_value(text.as_bytes()).unwrap().extract_error().unwrap_err());
    assert!(text.contains("ACL") && text.contains("check --connect"), "{text}");
}
