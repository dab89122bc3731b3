//! The embedded store beside a real Redis: both get the same commands and have to answer the same.
//!
//! `POSTBACK_TEST_REDIS` names the server. Every case uses its own keys.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

#[path = "stores/real.rs"]
mod real;

use postback::embedded::store::Store;
use postback::redis::scripts::Script;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};

/// Lifetimes are seconds apart from each other and from the ages, so that the time that passes during a case decides
/// nothing.
const LIVES: &[&str] = &["10000", "100000", "1000000"];
const NEAR_MS: i64 = 4_000;

/// One command; `K0` to `K3` are keys.
#[derive(Clone, Debug)]
struct Words(Vec<String>);

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(words).prop_map(str::to_owned)
}

fn key() -> impl Strategy<Value = String> {
    one_of(&["K0", "K1", "K2", "K3"])
}

fn value() -> impl Strategy<Value = String> {
    one_of(&["", "a", "ab", "abc", "c|t|", "c|t|rest", "starting", "7"])
}

fn field() -> impl Strategy<Value = String> {
    one_of(&["f", "g", "t/0"])
}

fn life() -> impl Strategy<Value = String> {
    one_of(LIVES)
}

fn words(parts: Vec<BoxedStrategy<String>>) -> BoxedStrategy<Words> {
    parts.prop_map(Words).boxed()
}

fn lit(word: &'static str) -> BoxedStrategy<String> {
    Just(word.to_owned()).boxed()
}

fn set() -> BoxedStrategy<Words> {
    let options = proptest::sample::subsequence(vec!["NX", "XX", "GET", "PX"], 0..=3);
    let lives = one_of(&["10000", "100000", "1000000", "0", "soon"]);
    (key(), value(), options, lives)
        .prop_map(|(key, value, options, life)| {
            let mut words = vec!["SET".to_owned(), key, value];
            for option in options {
                words.push(option.to_owned());
                if option == "PX" {
                    words.push(life.clone());
                }
            }
            Words(words)
        })
        .boxed()
}

fn script() -> BoxedStrategy<Words> {
    let run = |script: Script, args: Vec<BoxedStrategy<String>>| {
        let keys = script.least_keys() + if script == Script::ReplayProgress { 2 } else { 0 };
        let mut all = vec![lit(script.text()), Just(keys.to_string()).boxed()];
        all.extend((0..keys).map(|_| key().boxed()));
        all.extend(args);
        all.prop_map(move |words| Words([vec!["EVAL".to_owned()], words].concat())).boxed()
    };
    let age = || one_of(&["-1", "0", "5000"]).boxed();
    // Whole tens of seconds, with a limit between two of them.
    let slots = || one_of(&["1", "2", "3"]).boxed();
    let lead = || one_of(&["0", "10000000"]).boxed();
    Script::ALL
        .iter()
        .map(|script| match script {
            Script::TakeOver => run(*script, vec![value().boxed(), value().boxed(), life().boxed(), age()]),
            Script::Release => run(*script, vec![value().boxed(), value().boxed(), life().boxed()]),
            Script::Renew => run(*script, vec![value().boxed(), life().boxed()]),
            Script::Mark => run(*script, vec![value().boxed(), value().boxed(), life().boxed()]),
            Script::Reserve => run(*script, vec![slots(), lit("10000000"), lit("25000000"), lead()]),
            Script::PushBack => {
                let waits = one_of(&["10000000", "40000000", "2000000000", "100000000000"]).boxed();
                run(*script, vec![waits, lit("10000000"), one_of(&["", "d"]).boxed()])
            }
            Script::TakeTurn => run(*script, vec![value().boxed(), life().boxed()]),
            Script::CountOfDay => run(*script, vec![one_of(&["0", "1", "2", "100"]).boxed(), lit("28800000")]),
            Script::UncountOfDay => run(*script, vec![one_of(&["1", "900000", "today"]).boxed()]),
            Script::BeginEpoch => run(*script, vec![value().boxed(), value().boxed()]),
            Script::SaveToken => run(*script, vec![value().boxed(), value().boxed()]),
            Script::SwitchOn => run(*script, vec![field().boxed(), value().boxed(), field().boxed(), value().boxed()]),
            Script::CountOutcome => {
                let outcomes = one_of(&["delivered", "dead_lettered:rejected", "dead_lettered:expired"]).boxed();
                let times = one_of(&["1", "24", "26", "60"]).boxed();
                let samples = one_of(&["", "{}"]).boxed();
                run(
                    *script,
                    vec![outcomes, field().boxed(), times, samples, one_of(&["0", "1"]).boxed(), life().boxed()],
                )
            }
            Script::EndHalt => {
                let token = one_of(&["", "t"]).boxed();
                let args = vec![field().boxed(), value().boxed(), field().boxed(), token, value().boxed()];
                run(*script, [args, vec![field().boxed(), value().boxed()]].concat())
            }
            Script::ReadOn => {
                let numbers = one_of(&["", "0", "7"]).boxed();
                let args = vec![field().boxed(), field().boxed(), field().boxed(), numbers, value().boxed()];
                run(*script, [args, vec![field().boxed(), value().boxed()]].concat())
            }
            Script::TakeOrder => run(*script, vec![field().boxed(), value().boxed()]),
            Script::ReplayMove => {
                let to = one_of(&["running", "cancelled"]).boxed();
                let from = one_of(&["|planned|", "|running|a|", "||"]).boxed();
                let args = vec![value().boxed(), to, from, lit("5"), life().boxed(), field().boxed(), value().boxed()];
                run(*script, [args, vec![field().boxed(), value().boxed()]].concat())
            }
            Script::ReplayRate => {
                let states = one_of(&["|running|", "|planned|"]).boxed();
                run(*script, vec![one_of(&["5", "7"]).boxed(), states, field().boxed(), value().boxed()])
            }
            Script::ReplayProgress => {
                let letter = || {
                    let bit = one_of(&["0", "1", "9"]).boxed();
                    vec![field().boxed(), one_of(&["", "g"]).boxed(), lit("4"), bit, one_of(&["0", "5"]).boxed()]
                };
                let ends = vec![one_of(&["", "[1]"]).boxed(), one_of(&["", "completed"]).boxed(), value().boxed()];
                let args = vec![value().boxed(), life().boxed(), value().boxed(), lit("5"), life().boxed()];
                run(*script, [args, ends, letter(), letter()].concat())
            }
        })
        .reduce(|a, b| prop_oneof![a, b].boxed())
        .unwrap()
}

fn command() -> impl Strategy<Value = Words> {
    let (k, v, f) = (|| key().boxed(), || value().boxed(), || field().boxed());
    let place = || one_of(&["-9", "-2", "-1", "0", "1", "2", "9", "x"]).boxed();
    let plain = prop_oneof![
        words(vec![lit("GET"), k()]),
        words(vec![lit("MGET"), k(), k()]),
        words(vec![lit("DEL"), k()]),
        words(vec![lit("EXISTS"), k(), k()]),
        words(vec![lit("PTTL"), k()]),
        words(vec![lit("HSET"), k(), f(), v()]),
        words(vec![lit("HSET"), k(), f(), v(), f(), v()]),
        words(vec![lit("HSET"), k(), f(), v(), f()]),
        words(vec![lit("HSETNX"), k(), f(), v()]),
        words(vec![lit("HGET"), k(), f()]),
        words(vec![lit("HDEL"), k(), f(), f()]),
        words(vec![lit("HGETALL"), k()]),
        words(vec![lit("HEXISTS"), k(), f()]),
        words(vec![lit("HINCRBY"), k(), f(), place()]),
        words(vec![lit("HSET"), k(), lit("state"), one_of(&["planned", "running"]).boxed()]),
        words(vec![lit("SETBIT"), k(), place(), one_of(&["0", "1", "2"]).boxed()]),
        words(vec![lit("PEXPIRE"), k(), one_of(&["-1", "10000", "100000", "x"]).boxed()]),
        words(vec![lit("ZADD"), k(), place(), v()]),
        words(vec![lit("ZREM"), k(), v(), v()]),
        words(vec![lit("ZREVRANGE"), k(), place(), place()]),
        words(vec![lit("SADD"), k(), v(), v()]),
        words(vec![lit("SREM"), k(), v()]),
        words(vec![lit("SMEMBERS"), k()]),
        words(vec![lit("LPUSH"), k(), v(), v()]),
        words(vec![lit("LTRIM"), k(), place(), place()]),
        words(vec![lit("LRANGE"), k(), place(), place()]),
        words(vec![lit("GET")]),
        words(vec![lit("PING")]),
        words(vec![lit("SELECT"), lit("0")]),
        words(vec![lit("MULTI")]),
        words(vec![lit("EXEC")]),
        words(vec![lit("DISCARD")]),
        words(vec![lit("NONESUCH"), k()]),
    ];
    prop_oneof![4 => plain, 3 => set(), 4 => script()]
}

/// One connection. Its transactions are its own.
async fn connect(url: &str) -> MultiplexedConnection {
    redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
}

fn cmd(words: &Words, prefix: &str) -> Cmd {
    let mut cmd = redis::cmd(&words.0[0]);
    for word in &words.0[1..] {
        let is_key = matches!(word.as_str(), "K0" | "K1" | "K2" | "K3");
        cmd.arg(if is_key { format!("{prefix}{word}") } else { word.clone() });
    }
    cmd
}

/// What can be compared: the code of an error, and the sorted content of what has no order.
async fn ask(connection: &mut MultiplexedConnection, words: &Words, prefix: &str) -> Value {
    match connection.send_packed_command(&cmd(words, prefix)).await {
        Ok(value) => plain(value, &words.0[0]),
        Err(error) => Value::SimpleString(format!("error {}", error.code().unwrap_or(error.category()))),
    }
}

fn plain(value: Value, command: &str) -> Value {
    match value {
        Value::ServerError(error) => Value::SimpleString(format!("error {}", error.code())),
        Value::Array(mut values) => {
            let strings = values.iter().all(|v| matches!(v, Value::BulkString(_)));
            match command {
                "SMEMBERS" if strings => values.sort_by_key(|v| format!("{v:?}")),
                "HGETALL" => {
                    let mut pairs: Vec<_> = values.chunks(2).map(|pair| format!("{pair:?}")).collect();
                    pairs.sort();
                    return Value::SimpleString(pairs.concat());
                }
                _ => {}
            }
            // It is not known here which command of a transaction a list of strings answers; it may be a set's.
            let within = if command == "EXEC" { "SMEMBERS" } else { "" };
            Value::Array(values.into_iter().map(|value| plain(value, within)).collect())
        }
        other => other,
    }
}

/// Whether the values are equal, except for the time that passed between the two.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) if *a > 3 || *b > 3 => {
            // Lifetimes are in ms, slots in µs.
            let near = if a.max(b) > &5_000_000 { NEAR_MS * 1_000 } else { NEAR_MS };
            (a - b).abs() < near
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        // The next free time of a bucket, epoch µs, possibly with its mark.
        (Value::BulkString(a), Value::BulkString(b)) if a.len() == b.len() && matches!(a.len(), 16 | 17) => {
            let (a, b) = match (a.strip_suffix(b"d"), b.strip_suffix(b"d")) {
                (Some(a), Some(b)) => (a, b),
                _ => (&a[..], &b[..]),
            };
            let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok().and_then(|t| t.parse::<i64>().ok());
            number(a).zip(number(b)).is_some_and(|(a, b)| (a - b).abs() < NEAR_MS * 1_000)
        }
        (a, b) => a == b,
    }
}

#[test]
fn whatever_is_asked_both_answer_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Store::start().unwrap();
    let mut runner = TestRunner::new(Config { cases: 400, ..Config::default() });
    runner
        .run(&proptest::collection::vec(command(), 1..40), |commands| {
            runtime.block_on(async {
                let prefix = format!("store-{}-{:x}-", std::process::id(), rand::random::<u64>());
                let (mut own, mut real) = (connect(&store.url()).await, connect(&real::url()).await);
                for (n, words) in commands.iter().enumerate() {
                    let (a, b) = (ask(&mut own, words, &prefix).await, ask(&mut real, words, &prefix).await);
                    prop_assert!(
                        same(&a, &b),
                        "{:?} after {:?}: the store said {a:?}, Redis {b:?}",
                        words,
                        &commands[..n]
                    );
                }
                for connection in [&mut own, &mut real] {
                    ask(connection, &Words(vec!["DISCARD".into()]), "").await;
                    for key in ["K0", "K1", "K2", "K3"] {
                        ask(connection, &Words(vec!["DEL".into(), key.into()]), &prefix).await;
                    }
                }
                Ok(())
            })
        })
        .unwrap();
}
