//! Gray release: a part of an account's events is sent, the rest waits in the remainder until the share grows.

use crate::support::event::Event;
use crate::support::ledger::Check;
use crate::support::platform::{Account, Platform};
use crate::support::records::Record;
use crate::support::world::World;
use crate::support::{eventually, millis, secs};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

const ACCOUNT: &str = "acme-ps";
const PERCENT: &str = "accounts.acme-ps.rollout.percent";

/// The place of an event among 10,000, worked out as the documentation says.
fn place(event: &Event) -> u32 {
    let digest = Sha256::digest(event.trans_id().as_bytes());
    u32::from_be_bytes(digest[..4].try_into().unwrap()) % 10_000
}

/// The events that a share takes, as the platform names them.
fn below(events: &[Event], percent: u32) -> BTreeSet<String> {
    events.iter().filter(|event| place(event) < percent * 100).map(|event| event.ident().clone()).collect()
}

fn taken(account: &Account) -> BTreeSet<String> {
    account.requests().into_iter().filter(|request| request.executed).filter_map(|request| request.ident).collect()
}

fn remainder(w: &World) -> Vec<Record> {
    w.records("parked").into_iter().filter(|record| record.topic.ends_with(".rollout")).collect()
}

#[test]
fn ten_percent_then_thirty_then_all_sends_each_event_once_whatever_is_killed_between() {
    let mut w = World::new("rollout");
    let account = w.account(ACCOUNT, Platform::Qihoo360);
    w.set(PERCENT, 10);
    let events = w.make.orders(ACCOUNT, 300);
    let waiting = 300 - below(&events, 10).len();
    let mut worker = w.started();
    w.publish(events.clone());
    eventually(secs(30), "a tenth is sent and the rest waits", || {
        taken(&account) == below(&events, 10) && remainder(&w).len() == waiting
    });
    for record in remainder(&w) {
        assert_eq!(
            (record.header("pb-parked-at"), record.header("pb-due")),
            (None, None),
            "it waits for the share alone"
        );
    }
    eventually(secs(20), "the metrics tell", || {
        let metrics = worker.metrics();
        metrics.total("rollout_waiting_events", &[("account", ACCOUNT)]) == waiting as f64
            && metrics.total("rollout_oldest_seconds", &[("account", ACCOUNT)]) > 0.0
            && metrics.total("events_open", &[("account", ACCOUNT)]) == 0.0
            && metrics.total("oldest_open_event_age_seconds", &[("account", ACCOUNT)]) == 0.0
            && metrics.total("unaccounted_events", &[]) == 0.0
    });
    worker.kill();
    worker.start();
    assert_eq!(taken(&account), below(&events, 10), "a restart releases nothing");
    worker.kill();

    w.set(PERCENT, 30);
    let mut worker = w.started();
    eventually(secs(40), "three tenths are sent", || taken(&account) == below(&events, 30));
    worker.kill();

    // Slow enough for a kill in the middle.
    w.set(PERCENT, 100);
    account.latency(millis(100));
    w.set("accounts.acme-ps.limits.concurrency", 2);
    let mut worker = w.started();
    let before = taken(&account).len();
    eventually(secs(40), "the rest begins to flow", || taken(&account).len() >= before + 20);
    worker.kill();
    account.latency(millis(0));
    worker.start();
    w.settle(secs(90));
    w.ledger(&Check::DISTURBED);
    assert_eq!(taken(&account).len(), 300);
    let written = remainder(&w);
    let origins: BTreeSet<_> = written.iter().filter_map(Record::origin).collect();
    assert_eq!(origins.len(), waiting);
    let topic = w.topic(&format!("parked.{ACCOUNT}.rollout"));
    let group = format!("{}.wait", w.group());
    eventually(secs(20), "the remainder is read to its end", || w.admin.at_end(&group, &topic));
    eventually(secs(20), "nothing waits any more", || {
        let metrics = worker.metrics();
        metrics.total("rollout_waiting_events", &[]) == 0.0 && metrics.total("rollout_oldest_seconds", &[]) == 0.0
    });
}

#[test]
fn a_smaller_share_keeps_new_events_back_and_a_larger_one_releases_exactly_its_own_in_one_write() {
    let mut w = World::new("rollout-less");
    let account = w.account(ACCOUNT, Platform::Qihoo360);
    w.set(PERCENT, 50);
    let first = w.make.orders(ACCOUNT, 100);
    let mut worker = w.started();
    w.publish(first.clone());
    let sent = below(&first, 50);
    eventually(secs(30), "half is sent", || taken(&account) == sent && remainder(&w).len() == 100 - sent.len());
    worker.stop();

    w.set(PERCENT, 10);
    let second = w.make.orders(ACCOUNT, 100);
    let mut worker = w.started();
    w.publish(second.clone());
    let sent: BTreeSet<_> = sent.union(&below(&second, 10)).cloned().collect();
    eventually(secs(30), "of the new ones a tenth is sent", || {
        taken(&account) == sent && remainder(&w).len() == 200 - sent.len()
    });
    worker.stop();

    w.set(PERCENT, 30);
    let mut worker = w.started();
    let sent: BTreeSet<_> = sent.union(&below(&second, 30)).cloned().collect();
    eventually(secs(30), "what the larger share takes is released", || taken(&account) == sent);
    worker.stop();
    let written = remainder(&w).len();

    w.set(PERCENT, 100);
    let worker = w.started();
    w.settle(secs(60));
    w.ledger(&Check::EXACT);
    assert_eq!(remainder(&w).len(), written, "a change of the share writes nothing");
    assert_eq!(w.records("parked").len() + w.records("retry").len(), written, "and nothing was written elsewhere");
    assert_eq!(account.request_count(), 200, "each event was sent once");
    drop(worker);
}

#[test]
fn what_was_parked_is_judged_by_the_share_when_its_lane_opens_again_and_a_share_of_none_sends_nothing() {
    let mut w = World::new("rollout-park");
    let account = w.account(ACCOUNT, Platform::Qihoo360);
    w.set(PERCENT, 0);
    let mut worker = w.started();
    let first = w.make.orders(ACCOUNT, 40);
    w.publish(first.clone());
    eventually(secs(30), "everything is kept back", || remainder(&w).len() == 40);
    assert_eq!(account.request_count(), 0);
    worker.stop();

    w.set(PERCENT, 20);
    let mut worker = w.started();
    eventually(secs(30), "a fifth is sent", || taken(&account) == below(&first, 20));
    worker.must(&["accounts", "pause", ACCOUNT, "--reason", "a test"]);
    eventually(secs(10), "the lane is paused", || worker.lane_state(ACCOUNT) == "paused");
    let second = w.make.orders(ACCOUNT, 60);
    w.publish(second.clone());
    let parked = |w: &World| w.records("parked").len() - remainder(w).len();
    eventually(secs(30), "a closed lane parks all of them", || parked(&w) == 60);
    worker.must(&["accounts", "resume", ACCOUNT, "--reason", "the test goes on"]);
    let sent: BTreeSet<_> = below(&first, 20).union(&below(&second, 20)).cloned().collect();
    eventually(secs(30), "the share decides", || {
        taken(&account) == sent && remainder(&w).len() == 40 + 60 - below(&second, 20).len()
    });
    let kept: Vec<_> = remainder(&w).into_iter().filter(|record| record.header("pb-parked-at").is_some()).collect();
    assert_eq!(kept.len(), 0, "it does not count as parked any more");

    // The remainder outlasts a lane that closes.
    worker.must(&["accounts", "pause", ACCOUNT, "--reason", "a test"]);
    eventually(secs(10), "the lane is paused", || worker.lane_state(ACCOUNT) == "paused");
    worker.stop();
    w.set(PERCENT, 100);
    let worker = w.started();
    eventually(secs(20), "it is read and held", || {
        worker.metrics().total("events_open", &[("account", ACCOUNT)]) >= 40.0
    });
    assert_eq!(taken(&account), sent);
    worker.must(&["accounts", "resume", ACCOUNT, "--reason", "the test goes on"]);
    w.settle(secs(60));
    w.ledger(&Check::EXACT);
    assert_eq!(account.request_count(), 100, "each event was sent once");
    assert_eq!(w.records("parked").len(), 40 + 60 + 60 - below(&second, 20).len(), "at most two writes of an event");
}

#[test]
fn a_reload_changes_the_share_of_a_running_worker_in_both_directions() {
    let mut w = World::new("rollout-live");
    let account = w.account(ACCOUNT, Platform::Qihoo360);
    let mut worker = w.started();
    let mut all = Vec::new();
    let mut sent = BTreeSet::new();
    for percent in [100_u32, 10, 30, 20] {
        w.set(PERCENT, percent);
        w.rewrite(&worker);
        let before = worker.metrics().total("config_reloads_total", &[("result", "ok")]);
        worker.hang_up();
        eventually(secs(30), "the file is taken", || {
            worker.metrics().total("config_reloads_total", &[("result", "ok")]) > before
        });
        // A larger share takes what waits. What was sent under a larger one stays sent.
        sent.extend(below(&all, percent));
        let events = w.make.orders(ACCOUNT, 60);
        w.publish(events.clone());
        sent.extend(below(&events, percent));
        all.extend(events);
        eventually(secs(40), &format!("{percent} percent are sent"), || taken(&account) == sent);
        eventually(secs(20), "the rest waits", || {
            let waiting = (all.len() - sent.len()) as f64;
            worker.metrics().total("rollout_waiting_events", &[("account", ACCOUNT)]) == waiting
        });
    }
    w.set(PERCENT, 100);
    w.rewrite(&worker);
    worker.hang_up();
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    assert_eq!(account.request_count(), 240, "each event was sent once");
}
