//! What closes a lane, what a closed or a full lane does with its events, and what it leaves to the others.

use crate::support::event::{Event, Expect};
use crate::support::ledger::{Books, Check};
use crate::support::platform::{Account, Action, Platform, Rule};
use crate::support::records::Record;
use crate::support::worker::Worker;
use crate::support::world::World;
use crate::support::{eventually, http, secs};
use std::collections::HashMap;
use std::sync::Arc;

#[test]
fn twenty_permanent_answers_in_a_row_halt_the_account_and_what_follows_waits_for_resume() {
    let mut w = World::new("permanent-run");
    let account = w.account("acme-ps", Platform::Qihoo360);
    // One at a time, so that "in a row" means the order of the events.
    w.set("accounts.acme-ps.limits.concurrency", 1);
    let worker = w.started();
    let mut events = w.make.orders("acme-ps", 55);
    // Nineteen are refused, one is accepted, twenty are refused: only the last twenty are twenty in a row.
    for (_, event) in events.iter_mut().enumerate().filter(|(i, _)| *i < 40 && *i != 19) {
        event.expect = Expect::Dead { reason: "rejected", field: "" };
    }
    let refused = |e: &&Event| e.expect != Expect::Delivered;
    account.rules(vec![Rule::all(Action::Errno(3)).about(events.iter().filter(refused).map(|e| e.ident()))]);
    w.publish_at(events, None, Some(0));
    eventually(secs(30), "the account is halted", || worker.lane_state("acme-ps") == "halted");
    eventually(secs(20), "what follows is parked", || w.records("parked").len() == 15);
    assert_eq!(account.request_count(), 40, "requests before the halt");
    let (group, input) = (w.group(), w.topic("conversions"));
    eventually(secs(10), "parked work does not hold the offsets back", || w.admin.at_end(&group, &input));
    assert!(worker.must(&["accounts", "list"]).contains("20 permanent answers in a row"));
    let parked = |name: &str| worker.metrics().total(name, &[("account", "acme-ps")]);
    eventually(secs(20), "the age of the oldest parked event grows", || {
        parked("oldest_parked_event_age_seconds") > 1.0
    });
    assert_eq!(parked("max_parked_seconds"), 259_200.0);

    worker.must(&["accounts", "resume", "acme-ps", "--reason", "the setting is corrected"]);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    assert_eq!((books.outcomes("delivered"), books.outcomes("dead_lettered")), (16, 39));
    eventually(secs(20), "nothing is parked", || parked("oldest_parked_event_age_seconds") == 0.0);
    assert_eq!(worker.lane_state("acme-ps"), "flowing");
}

#[test]
fn what_is_parked_for_too_long_expires_though_the_lane_stays_closed_and_a_copy_of_a_delivered_event_is_a_duplicate() {
    let mut w = World::new("max-parked");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("accounts.acme-ps.retry.max_parked", "3s");
    let worker = w.started();
    let delivered = w.make.order("acme-ps");
    w.publish(vec![delivered.clone()]);
    w.settle(secs(60));
    worker.must(&["accounts", "pause", "acme-ps", "--reason", "a test"]);
    eventually(secs(10), "the lane is paused", || worker.lane_state("acme-ps") == "paused");
    let mut events = w.make.orders("acme-ps", 20);
    for event in &mut events {
        event.expect = Expect::Dead { reason: "expired", field: "" };
    }
    events.push(delivered.copy());
    w.publish(events);
    eventually(secs(20), "everything is parked", || w.records("parked").len() == 21);
    w.settle(secs(60));
    assert_eq!(worker.lane_state("acme-ps"), "paused");
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    assert_eq!(account.request_count(), 1);
    assert_eq!((books.outcomes("duplicate"), books.outcomes("dead_lettered")), (1, 20));
    for letter in &books.dead {
        let parked = letter.number("pb-failed-at").unwrap() - letter.number("pb-first-seen").unwrap();
        assert!((3000..20_000).contains(&parked), "expired after {parked} ms");
        assert_eq!(letter.header("pb-attempts").as_deref(), Some("0"));
    }
}

/// The permits of a lane in these tests. The cap of its queue is a quarter of `max_in_flight`, at least 64.
const PERMITS: usize = 4;
const CAP: usize = 64;

/// Accounts whose requests are held until `release`, with lanes that are full at `CAP`.
fn small_lanes<const N: usize>(w: &mut World, names: [&str; N]) -> [Arc<Account>; N] {
    w.set("intake.max_in_flight", 4 * CAP as i64);
    w.set("limits.timeout", "5s");
    w.set("retry.inline.max_retries", 0);
    names.map(|name| {
        let account = w.account(name, Platform::Qihoo360);
        w.set(&format!("accounts.{name}.limits.concurrency"), PERMITS as i64);
        account
    })
}

fn hold(account: &Account) {
    account.rules(vec![Rule::all(Action::Hold)]);
}

fn let_go(account: &Account) {
    account.rules(Vec::new());
    account.release(Action::Judge);
}

#[test]
fn a_full_lane_parks_its_new_arrivals_while_another_account_of_the_topic_flows() {
    let mut w = World::new("lane-full");
    let [slow, fast] = small_lanes(&mut w, ["acme-slow", "acme-fast"]);
    let worker = w.started();
    hold(&slow);
    let mut events = Vec::new();
    for _ in 0..CAP + PERMITS + 40 {
        events.extend(["acme-slow", "acme-fast"].map(|a| w.make.order(a)));
    }
    let n = events.len() / 2;
    w.publish(events);
    eventually(secs(15), "the other account has everything", || fast.executed() == n);
    eventually(secs(15), "what the full lane cannot take is parked", || !w.records("parked.acme-slow").is_empty());
    let_go(&slow);
    w.settle(secs(60));
    let books = w.ledger(&Check::default());
    w.counters(&worker, &books);
    // A lane that flows may also be full for a moment, and then its new events park by the same rule.
    let parked = w.records("parked.acme-slow").len();
    assert!(parked <= 40, "{parked} were parked though the lane had room");
}

#[test]
fn two_full_lanes_hold_the_topic_back_and_the_one_that_flows_again_does_not_wait_for_the_other() {
    let mut w = World::new("lanes-full");
    let [slow, fast] = small_lanes(&mut w, ["acme-slow", "acme-fast"]);
    let worker = w.started();
    hold(&slow);
    hold(&fast);
    let mut events = Vec::new();
    for _ in 0..3 * CAP {
        events.extend(["acme-slow", "acme-fast"].map(|a| w.make.order(a)));
    }
    w.publish_at(events, None, Some(0));
    eventually(secs(15), "both have all permits taken", || slow.held() >= PERMITS && fast.held() >= PERMITS);
    let_go(&fast);
    eventually(secs(15), "the one that flows has everything", || fast.executed() == 3 * CAP);
    assert!(slow.requests().iter().all(|r| r.answered.is_none()), "the other one was answered");
    let_go(&slow);
    w.settle(secs(60));
    let books = w.ledger(&Check::default());
    w.counters(&worker, &books);
}

#[test]
fn one_account_alone_holds_its_topic_back_and_is_not_rewritten() {
    let mut w = World::new("lane-alone");
    let [alone] = small_lanes(&mut w, ["acme-ps"]);
    let worker = w.started();
    hold(&alone);
    let events = w.make.orders("acme-ps", 600);
    w.publish(events);
    eventually(secs(15), "all permits are taken", || alone.held() >= PERMITS);
    // A held-back partition is asked for its end every 5 s.
    eventually(secs(15), "what is not read shows as lag", || {
        worker.metrics().total("consumer_lag_records", &[]) > 300.0
    });
    let read = worker.metrics().total("events_received_total", &[("topic", &w.topic("conversions"))]);
    assert!(read < 300.0, "{read} records were read, the lane has room for {CAP}");
    let_go(&alone);
    w.settle(secs(60));
    let books = w.ledger(&Check::default());
    w.counters(&worker, &books);
    assert!(w.records("parked").is_empty(), "one account alone was rewritten through Kafka");
}

#[test]
fn a_parking_topic_that_vanished_is_made_again_and_one_that_may_not_be_made_is_named_and_its_events_wait_in_tiers() {
    let mut w = World::new("parking-gone");
    let closed = w.account("acme-ps", Platform::Qihoo360);
    let open = w.account("acme-zs", Platform::Qihoo360);
    let parking = w.topic("parked.acme-ps");
    let publish = |w: &mut World, paused: usize| {
        let mut events = w.make.orders("acme-ps", paused);
        events.extend(w.make.orders("acme-zs", 40));
        w.publish(events);
    };
    let switch = |worker: &Worker, order: &str, state: &str| {
        worker.must(&["accounts", order, "acme-ps", "--reason", "a test"]);
        eventually(secs(10), state, || worker.lane_state("acme-ps") == state);
    };
    let mut worker = w.started();
    switch(&worker, "pause", "paused");
    w.admin.delete_topic(&parking);
    publish(&mut w, 30);
    eventually(secs(30), "it is made again, and what waited for it is there", || w.records("parked").len() == 30);
    assert_eq!(w.admin.topic_setting(&parking, "cleanup.policy").as_deref(), Some("delete"));
    assert!(worker.log().contains("had vanished and was made again"), "{}", worker.log());
    assert_eq!(open.executed(), 40);
    switch(&worker, "resume", "flowing");
    w.settle(secs(60));
    worker.stop();

    // The topic cannot be made again: it is named, its events are put off, and no other account waits for it.
    w.set("kafka.create_topics", false);
    worker = w.started();
    switch(&worker, "pause", "paused");
    w.admin.delete_topic(&parking);
    publish(&mut w, 30);
    eventually(secs(30), "the others flow", || open.executed() == 80);
    let readiness = || {
        let (status, body) = http::get(worker.admin_port, "/ready").unwrap_or_default();
        (status, serde_json::from_str::<serde_json::Value>(&body).unwrap_or_default())
    };
    let put_off = |body: &serde_json::Value| {
        let why = body["why"].as_str().unwrap_or("");
        why.contains("(0 are held for it)") && why.contains("waits in the retry tiers")
    };
    eventually(secs(40), "it is named", || put_off(&readiness().1));
    let (status, body) = readiness();
    assert_eq!((status, &body["refused_topics"]), (200, &serde_json::json!([parking])), "{body}");
    assert_eq!(worker.metrics().total("refused_topics", &[]), 1.0);
    let told = format!("topic {parking} takes no records of ");
    eventually(secs(20), "blocked names it", || worker.must(&["blocked"]).contains(&told));
    assert!(worker.log().contains("a topic takes no records"), "{}", worker.log());

    w.admin.create_topic(&parking, 1, 1, &[]);
    eventually(secs(30), "it takes records again", || w.records("parked").len() >= 30);
    eventually(secs(10), "nothing is named", || readiness().1["refused_topics"] == serde_json::json!([]));
    switch(&worker, "resume", "flowing");
    w.settle(secs(60));
    let books = w.ledger(&Check { disturbed: true, ..Check::EXACT });
    assert_eq!((books.outcomes("delivered"), closed.executed()), (140, 60));
    read_at_most_twice(&w, &books, "acme-ps");
}

/// A parking topic that was made again is read from its beginning once the worker knows its new id. What it has read
/// until then, as of the old topic, is read a second time. A write that was in flight when the topic vanished may stand
/// there twice. So each copy there ends at most twice, all but one time as a duplicate, and nothing else is read again.
#[track_caller]
fn read_at_most_twice(w: &World, books: &Books, account: &str) {
    let mut copies: HashMap<_, usize> = HashMap::new();
    for origin in w.records("parked").iter().filter_map(Record::origin) {
        *copies.entry(origin).or_default() += 1;
    }
    for (origin, ends) in books.ends() {
        let was_parked = ends.0.iter().all(|receipt| receipt.account.as_deref() == Some(account));
        let most = if was_parked { 2 * copies.get(&origin).copied().unwrap_or(1) } else { 1 };
        let (delivered, others): (Vec<_>, Vec<_>) = ends.0.iter().partition(|receipt| receipt.outcome == "delivered");
        let are_repeats = others.iter().all(|receipt| receipt.outcome == "duplicate");
        assert!(delivered.len() == 1 && are_repeats && ends.0.len() <= most, "{origin}, at most {most}: {ends:?}");
    }
}

#[test]
fn a_parking_topic_that_takes_nothing_keeps_no_other_account_waiting() {
    let mut w = World::new("parking-refuses");
    w.set("intake.max_in_flight", 400);
    w.set("retry.tiers", vec!["1s", "5s"]);
    let closed = w.account("acme-ps", Platform::Qihoo360);
    let open = w.account("acme-zs", Platform::Qihoo360);
    let parking = w.topic("parked.acme-ps");
    w.started().stop();
    // The topic cannot be made again.
    w.set("kafka.create_topics", false);
    let worker = w.started();
    let switch = |order: &str, state: &str| {
        worker.must(&["accounts", order, "acme-ps", "--reason", "a test"]);
        eventually(secs(10), state, || worker.lane_state("acme-ps") == state);
    };
    switch("pause", "paused");
    w.admin.delete_topic(&parking);
    let mut events = Vec::new();
    for _ in 0..100 {
        events.extend(w.make.orders("acme-ps", 15));
        events.push(w.make.order("acme-zs"));
    }
    w.publish(events);
    eventually(secs(30), "the other account has everything", || open.executed() == 100);
    let refused = || {
        let (_, body) = http::get(worker.admin_port, "/ready").unwrap_or_default();
        serde_json::from_str::<serde_json::Value>(&body).unwrap_or_default()["refused_topics"].clone()
    };
    let (group, input) = (w.group(), w.topic("conversions"));
    eventually(secs(20), "all that was read has its copy", || w.admin.at_end(&group, &input));
    assert_eq!((closed.executed(), refused()), (0, serde_json::json!([parking])));

    w.admin.create_topic(&parking, 1, 1, &[]);
    eventually(secs(30), "it takes records again", || refused() == serde_json::json!([]));
    switch("resume", "flowing");
    w.settle(secs(60));
    let books = w.ledger(&Check { disturbed: true, ..Check::EXACT });
    assert_eq!((books.outcomes("delivered"), closed.executed()), (1600, 1500));
    read_at_most_twice(&w, &books, "acme-ps");
}
