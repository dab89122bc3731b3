//! Tests each command and script with a clock of the test, and the endpoint with the client of the worker.

use super::commands;
use super::keys::Keys;
use super::wire::{Reply, bulk};
use super::*;
use crate::redis::facts::Facts;
use crate::redis::scripts::Script;

/// A store without a network. Its time stands still unless a test moves it.
#[derive(Default)]
struct Bench {
    keys: Keys,
    now_us: i64,
}

impl Bench {
    fn after(&mut self, ms: i64) -> &mut Self {
        self.now_us += ms * 1_000;
        self
    }

    /// Runs one command. Blanks separate its words, and `''` is an empty word.
    fn run(&mut self, words: &str) -> Reply {
        let request: Vec<Vec<u8>> = words.split(' ').map(|w| w.replace("''", "").into_bytes()).collect();
        self.keys.advance(self.now_us);
        commands::run(&mut self.keys, "keys={keys}", &request)
    }

    fn script(&mut self, script: Script, key_and_args: &str) -> Reply {
        self.run(&format!("EVALSHA {} 1 {key_and_args}", script.sha()))
    }

    fn error(&mut self, words: &str) -> String {
        match self.run(words) {
            Reply::Error(text) => text,
            other => panic!("{words}: {other:?}"),
        }
    }
}

fn text(value: &str) -> Reply {
    bulk(value.as_bytes())
}

fn list(values: &[&str]) -> Reply {
    Reply::Array(values.iter().map(|v| text(v)).collect())
}

fn number(n: i64) -> Reply {
    Reply::Integer(n)
}

fn done() -> Reply {
    wire::ok()
}

#[test]
fn set_obeys_its_conditions_and_tells_what_was_there() {
    let mut store = Bench::default();
    assert_eq!(store.run("SET k a NX GET"), Reply::Null);
    assert_eq!(store.run("SET k b NX GET"), text("a"));
    assert_eq!(store.run("set k b nx"), Reply::Null);
    assert_eq!(store.run("SET k c GET"), text("a"));
    assert_eq!(store.run("SET other d XX"), Reply::Null);
    assert_eq!(store.run("SET k d XX"), done());
    assert_eq!(store.run("MGET k other h"), Reply::Array(vec![text("d"), Reply::Null, Reply::Null]));
    assert_eq!(store.run("EXISTS k k other"), number(2));
    assert_eq!(store.run("DEL k other"), number(1));
    for bad in ["SET k a PX", "SET k a NX XX", "SET k a PX 1 EX 1", "SET k a KEEPTTL"] {
        assert!(store.error(bad).contains("syntax"), "{bad}");
    }
    for bad in ["SET k a PX 0", "SET k a EX -1"] {
        assert!(store.error(bad).contains("invalid expire"), "{bad}");
    }
    assert!(store.error("SET k a PX soon").contains("not an integer"));
}

#[test]
fn a_key_lives_to_the_millisecond_and_a_new_value_has_a_new_life() {
    let mut store = Bench::default();
    store.run("SET k a PX 100");
    assert_eq!(store.run("PTTL k"), number(100));
    assert_eq!(store.after(99).run("PTTL k"), number(1));
    assert_eq!(store.after(1).run("GET k"), text("a"));
    assert_eq!(store.after(1).run("GET k"), Reply::Null);
    assert_eq!(store.run("PTTL k"), number(-2));
    store.run("SET k a PX 100");
    store.run("SET k b");
    assert_eq!(store.after(1_000).run("PTTL k"), number(-1));
    store.run("SET k c EX 2");
    store.run("DEL k");
    store.run("SET k d PX 5000");
    assert_eq!(store.after(3_000).run("GET k"), text("d"));
    // The store removes an expired key even if nobody asks for it.
    let now = store.after(3_000).now_us;
    store.keys.advance(now);
    assert_eq!(store.keys.len(), 0);
}

#[test]
fn hashes_sets_and_lists_behave_and_vanish_when_empty() {
    let mut store = Bench::default();
    assert_eq!(store.run("HSET h a 1 b 2"), number(2));
    assert_eq!(store.run("HSET h a 3 c 4"), number(1));
    assert_eq!(store.run("HSETNX h a 9"), number(0));
    assert_eq!(store.run("HSETNX h d 5"), number(1));
    assert_eq!(store.run("HGET h a"), text("3"));
    assert_eq!(store.run("HGETALL h"), list(&["a", "3", "b", "2", "c", "4", "d", "5"]));
    assert_eq!(store.run("HDEL h a b c d e"), number(4));
    assert_eq!(store.run("EXISTS h"), number(0));
    assert_eq!(store.run("SADD s x y x"), number(2));
    assert_eq!(store.run("SMEMBERS s"), list(&["x", "y"]));
    assert_eq!(store.run("SREM s x y z"), number(2));
    assert_eq!(store.run("EXISTS s"), number(0));
    assert_eq!(store.run("LPUSH l a b c"), number(3));
    assert_eq!(store.run("LRANGE l 0 -1"), list(&["c", "b", "a"]));
    assert_eq!(store.run("LRANGE l -2 9"), list(&["b", "a"]));
    assert_eq!(store.run("LRANGE l 2 1"), list(&[]));
    assert_eq!(store.run("LTRIM l 0 1"), done());
    assert_eq!(store.run("LRANGE l 0 -1"), list(&["c", "b"]));
    assert_eq!(store.run("LTRIM l 5 9"), done());
    assert_eq!(store.run("EXISTS l"), number(0));
    assert_eq!(store.run("HGETALL none"), list(&[]));
}

#[test]
fn a_value_of_another_kind_is_refused_and_kept() {
    let mut store = Bench::default();
    store.run("SET t 1");
    store.run("HSET h a 1");
    for wrong in [
        "GET h",
        "SET h x GET",
        "HSET t a 1",
        "HGETALL t",
        "HDEL t a",
        "SADD t x",
        "SMEMBERS h",
        "LPUSH h x",
        "LTRIM t 0 1",
    ] {
        assert!(store.error(wrong).starts_with("WRONGTYPE "), "{wrong}");
    }
    assert_eq!(store.run("GET t"), text("1"));
    assert_eq!(store.run("HGET h a"), text("1"));
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let mut store = Bench::default();
    assert!(store.error("FLUSHALL").contains("unknown command 'FLUSHALL'"));
    assert!(store.error("CLIENT KILL").contains("'CLIENT KILL'"));
    assert!(store.error("GET").contains("wrong number of arguments for 'get'"));
    assert!(store.error("HSET h a 1 b").contains("'hset'"));
    assert!(store.error("EVAL return-1 1 k").contains("unknown script 'return-1'"));
    assert!(store.error("EVALSHA 00 1 k").starts_with("NOSCRIPT "));
    let sha = Script::BeginEpoch.sha();
    assert!(store.error(&format!("EVALSHA {sha} 2 a b")).contains("exactly 1 key"));
    let sha = Script::ReplayMove.sha();
    assert!(store.error(&format!("EVALSHA {sha} 3 a b c")).contains("at least 4 key"));
    assert!(store.error(&format!("EVALSHA {sha} 9 a b c")).contains("greater than number of args"));
    assert!(store.error(&format!("EVALSHA {sha} 1 a")).starts_with("ERR "));
}

#[test]
fn every_script_that_is_used_is_answered_by_text_and_by_hash() {
    for script in Script::ALL {
        let mut store = Bench::default();
        let keys = vec!["k"; script.least_keys()].join(" ");
        let reply = store.run(&format!("EVALSHA {} {} {keys} 1 2 3 4 5 6", script.sha(), script.least_keys()));
        assert!(!matches!(reply, Reply::Error(_)), "{script:?}: {reply:?}");
        let number = script.least_keys().to_string().into_bytes();
        let words = [b"EVAL".to_vec(), script.text().into(), number].into_iter();
        let words = words.chain(vec![b"j".to_vec(); script.least_keys()]);
        let request: Vec<Vec<u8>> = words.chain(["1", "2", "3", "4", "5", "6"].map(|word| word.into())).collect();
        assert_eq!(commands::run(&mut store.keys, "", &request), reply, "{script:?}");
    }
}

#[test]
fn a_claim_is_taken_over_when_its_lease_is_over_and_not_before() {
    let mut store = Bench::default();
    store.run("SET k old PX 1000");
    assert_eq!(store.script(Script::TakeOver, "k other new 1000 -1"), text("old"));
    assert_eq!(store.script(Script::TakeOver, "none old new 1000 -1"), Reply::Null);
    assert_eq!(store.after(59).script(Script::TakeOver, "k old new 1000 60"), number(0));
    assert_eq!(store.after(1).script(Script::TakeOver, "k old new 1000 60"), number(1));
    assert_eq!(store.run("GET k"), text("new"));
    assert_eq!(store.run("PTTL k"), number(1_000));
    assert_eq!(store.script(Script::TakeOver, "k new newer 500 -1"), number(1));
    assert_eq!(store.run("PTTL k"), number(500));
}

#[test]
fn tokens_replace_the_generation_that_they_name_and_never_expire() {
    let mut store = Bench::default();
    assert_eq!(store.script(Script::SaveToken, "k t1|4| t1|5|a"), number(1));
    assert_eq!(store.script(Script::SaveToken, "k t1|5| t1|6|b"), number(1));
    assert_eq!(store.script(Script::SaveToken, "k t1|5| t1|6|b"), number(1));
    assert_eq!(store.script(Script::SaveToken, "k t1|5| t1|6|c"), text("t1|6|b"));
    assert_eq!(store.script(Script::SaveToken, "k '' t1|1|d"), text("t1|6|b"));
    assert_eq!((store.run("GET k"), store.run("PTTL k")), (text("t1|6|b"), number(-1)));
}

#[test]
fn a_release_and_a_mark_touch_only_their_own_claim() {
    let mut store = Bench::default();
    store.run("SET k c|token|rest PX 1000");
    assert_eq!(store.script(Script::Release, "k c|other| '' 0"), number(0));
    assert_eq!(store.script(Script::Release, "k c|token| u|before 700"), number(1));
    assert_eq!((store.run("GET k"), store.run("PTTL k")), (text("u|before"), number(700)));
    assert_eq!(store.script(Script::Release, "k u| '' 0"), number(1));
    assert_eq!(store.run("EXISTS k"), number(0));
    assert_eq!(store.script(Script::Release, "k u| '' 0"), number(0));
    assert_eq!(store.script(Script::Mark, "k c|token| mark 800"), number(1));
    assert_eq!((store.run("GET k"), store.run("PTTL k")), (text("mark"), number(800)));
    assert_eq!(store.after(100).script(Script::Mark, "k '' mark 800"), number(1));
    assert_eq!(store.run("PTTL k"), number(700));
    assert_eq!(store.script(Script::Mark, "k '' other 800"), number(0));
    assert_eq!(store.script(Script::Mark, "k c|token| other 800"), number(0));
    assert_eq!(store.script(Script::Mark, "k ma other 800"), number(1));
    assert_eq!(store.run("GET k"), text("other"));
}

#[test]
fn slots_are_reserved_one_after_the_other_and_pushed_back() {
    const NOW_US: i64 = 1_700_000_000_000_000;
    let mut store = Bench { now_us: NOW_US, ..Bench::default() };
    let numbers = |slots, first, ahead, passed_ms: i64| {
        Reply::Array([slots, first, ahead, NOW_US + passed_ms * 1_000].map(Reply::Integer).to_vec())
    };
    let one = |store: &mut Bench| store.script(Script::Reserve, "b 1 50000 100000 0");
    assert_eq!(store.script(Script::Reserve, "b 2 50000 100000 0"), numbers(2, 0, 0, 0));
    assert_eq!(one(&mut store), numbers(1, 100_000, 100_000, 0));
    assert_eq!(one(&mut store), numbers(0, 0, 150_000, 0));
    assert_eq!(one(store.after(60)), numbers(1, 90_000, 90_000, 60));
    assert_eq!(store.script(Script::PushBack, "b 20000 20000 d"), number(140_000));
    assert_eq!(store.script(Script::PushBack, "b 2000000 20000 d"), number(2_000_000));
    assert_eq!(store.run("PTTL b"), number(62_000));
    assert_eq!(store.run("GET b"), text(&format!("{}d", NOW_US + 2_060_000)));
    assert_eq!(one(store.after(2_500)), numbers(1, 0, 0, 2_560));
    // The reservation is made ahead by the time that the reply takes. So the slot is never too early, and no later than
    // the bucket says.
    assert_eq!(store.script(Script::Reserve, "b 1 50000 180000 80000"), numbers(1, 80_000, 50_000, 2_560));
    assert_eq!(store.script(Script::Reserve, "b 1 50000 180000 80000"), numbers(1, 130_000, 130_000, 2_560));
    assert_eq!(store.script(Script::Reserve, "b 1 50000 180000 80000"), numbers(1, 180_000, 180_000, 2_560));
    assert_eq!(store.script(Script::Reserve, "b 1 50000 180000 80000"), numbers(0, 0, 230_000, 2_560));
    store.run("SET b soon");
    assert!(matches!(store.script(Script::Reserve, "b 1 1 1 1"), Reply::Error(_)));
}

#[test]
fn a_turn_is_taken_by_one_at_a_time_and_anew_by_who_has_it() {
    let mut store = Bench::default();
    assert_eq!(store.script(Script::TakeTurn, "t a 1000"), number(0));
    assert_eq!(store.after(400).script(Script::TakeTurn, "t b 1000"), number(600));
    assert_eq!(store.script(Script::TakeTurn, "t a 1000"), number(0));
    assert_eq!(store.after(999).script(Script::TakeTurn, "t b 1000"), number(1));
    assert_eq!(store.after(2).script(Script::TakeTurn, "t b 1000"), number(0));
    assert_eq!(store.script(Script::TakeTurn, "t a 1000"), number(1_000));
}

#[test]
fn a_day_counts_to_its_limit_and_ends_at_the_midnight_of_its_zone() {
    const HOUR_MS: i64 = 3_600_000;
    /// 2025-01-15 08:00:01 in Shanghai, day 20103 there.
    const NOW_US: i64 = 1_736_899_201_000_000;
    let mut store = Bench { now_us: NOW_US, ..Bench::default() };
    let numbers = |day, left| Reply::Array([day, left].map(Reply::Integer).to_vec());
    let count = |store: &mut Bench| store.script(Script::CountOfDay, "d 2 28800000");
    assert_eq!((count(&mut store), count(&mut store)), (numbers(20_103, 0), numbers(20_103, 0)));
    let left = 16 * HOUR_MS - 1_000;
    assert_eq!(count(&mut store), numbers(20_103, left));
    assert_eq!(store.script(Script::UncountOfDay, "d 20102"), number(0));
    assert_eq!(store.script(Script::UncountOfDay, "d 20103"), number(1));
    assert_eq!((count(&mut store), count(&mut store)), (numbers(20_103, 0), numbers(20_103, left)));
    assert_eq!(count(store.after(left - 1)), numbers(20_103, 1));
    assert_eq!(count(store.after(1)), numbers(20_104, 0));
    assert_eq!(store.script(Script::UncountOfDay, "d 20103"), number(0), "that day is over");
    // A server whose clock lags behind goes on with the day that has begun.
    assert_eq!(count(store.after(-10)), numbers(20_104, 0));
    assert_eq!(count(&mut store), numbers(20_104, 10));
    assert_eq!(store.script(Script::UncountOfDay, "none 20104"), number(0));
}

#[test]
fn an_epoch_and_an_order_are_replaced_only_as_they_were_read() {
    let mut store = Bench::default();
    store.run("SET e starting PX 1000");
    assert_eq!(store.script(Script::BeginEpoch, "e another id"), number(1));
    assert_eq!(store.run("GET e"), text("starting"));
    assert_eq!(store.script(Script::BeginEpoch, "e starting id"), number(1));
    assert_eq!((store.run("GET e"), store.run("PTTL e")), (text("id"), number(-1)));
    store.run("HSET o t/0 new");
    assert_eq!(store.script(Script::TakeOrder, "o t/0 old"), number(0));
    assert_eq!(store.script(Script::TakeOrder, "o t/0 new"), number(1));
    assert_eq!(store.script(Script::TakeOrder, "o t/0 new"), number(0));
    assert_eq!(store.run("EXISTS o"), number(0));
}

#[test]
fn the_endpoint_is_a_redis_to_its_client_and_says_that_it_keeps_nothing() {
    let store = Store::start().unwrap();
    let client = ::redis::Client::open(store.url()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut c = crate::redis::connect(&client).await.unwrap();
        let info: String = ::redis::cmd("INFO").query_async(&mut c).await.unwrap();
        let facts = Facts::read(&info);
        assert!(facts.version.ends_with("-embedded") && facts.replication_id.len() == 40, "{facts:?}");
        assert!(!facts.append_only && facts.refusals().is_empty() && facts.warnings().is_empty(), "{facts:?}");
        assert_eq!(facts.hold(), None);
        let mut pipe = ::redis::pipe();
        pipe.atomic().cmd("SET").arg("k").arg(1).ignore().cmd("LPUSH").arg("k").arg(2).cmd("GET").arg("k");
        let error = pipe.query_async::<Vec<::redis::Value>>(&mut c).await.unwrap_err();
        assert!(error.to_string().contains("WRONGTYPE") || error.code() == Some("WRONGTYPE"), "{error}");
        let mut spoiled = ::redis::pipe();
        spoiled.atomic().cmd("SET").arg("k").arg(2).ignore().cmd("FLUSHALL").ignore();
        assert!(spoiled.query_async::<()>(&mut c).await.is_err());
        let kept: i64 = ::redis::cmd("GET").arg("k").query_async(&mut c).await.unwrap();
        assert_eq!(kept, 1, "a transaction that was refused has run in part");
        let mut large = ::redis::pipe();
        let value = vec![b'x'; 100_000];
        (0..200).for_each(|n| _ = large.cmd("SET").arg(format!("k{n}")).arg(&value).cmd("GET").arg(format!("k{n}")));
        let replies: Vec<::redis::Value> = large.query_async(&mut c).await.unwrap();
        assert_eq!(replies.len(), 400);
        assert_eq!(replies[399], ::redis::Value::BulkString(value));
    });
    let address = store.address;
    drop(store);
    assert!(std::net::TcpStream::connect(address).is_err(), "it listens after its end");
}

#[test]
fn what_is_no_redis_is_told_so_and_left() {
    use std::io::{Read as _, Write as _};
    let store = Store::start().unwrap();
    let mut stream = std::net::TcpStream::connect(store.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("-ERR Protocol error: "), "{answer}");
}

#[test]
fn bits_counters_and_sorted_sets_behave() {
    let mut store = Bench::default();
    assert_eq!(store.run("SETBIT b 9 1"), number(0));
    assert_eq!((store.run("SETBIT b 9 1"), store.run("SETBIT b 9 0")), (number(1), number(1)));
    assert_eq!(store.run("SETBIT b 0 1"), number(0));
    assert_eq!(store.run("GET b"), bulk(&[0x80, 0]));
    for bad in ["SETBIT b -1 1", "SETBIT b 1 2", "SETBIT b 4294967296 1"] {
        assert!(store.error(bad).contains("out of range"), "{bad}");
    }
    assert_eq!((store.run("PEXPIRE b 100"), store.run("PEXPIRE none 100")), (number(1), number(0)));
    store.run("SETBIT b 1 1");
    assert_eq!(store.run("PTTL b"), number(100), "a change keeps the life");
    assert_eq!(store.run("PEXPIRE b 500"), number(1));
    assert_eq!((store.after(499).run("PTTL b"), store.after(2).run("EXISTS b")), (number(1), number(0)));
    assert_eq!((store.run("HINCRBY h n 5"), store.run("HINCRBY h n -7")), (number(5), number(-2)));
    store.run("HSET h t x");
    assert!(store.error("HINCRBY h t 1").contains("not an integer"));
    assert_eq!((store.run("HEXISTS h n"), store.run("HEXISTS none n")), (number(1), number(0)));
    assert_eq!(
        (store.run("ZADD z 2 b"), store.run("ZADD z 1 a"), store.run("ZADD z 3 a")),
        (number(1), number(1), number(0))
    );
    assert_eq!(store.run("ZREVRANGE z 0 -1"), list(&["a", "b"]));
    assert_eq!((store.run("ZREVRANGE z 1 1"), store.run("ZREM z a c")), (list(&["b"]), number(1)));
}
