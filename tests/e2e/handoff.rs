//! What holds the position of a partition back is handed off, and what is handed off is written seldom and comes back
//! in order.

use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::records::{Origin, Record};
use crate::support::world::World;
use crate::support::{eventually, secs};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Records of one partition that may be read beyond its first unfinished one: ten times `max_in_flight`.
const WINDOW: usize = 2_560;

#[test]
fn one_account_that_hangs_holds_no_partition_back_from_another_and_a_kill_in_the_middle_loses_nothing() {
    let mut w = World::new("handoff");
    let slow = w.account("acme-slow", Platform::Qihoo360);
    let fast = w.account("acme-bz", Platform::Baizhu);
    w.set("intake.max_in_flight", WINDOW as i64 / 10);
    // Each of its requests hangs for this long, one at a time: its queue would take minutes.
    w.set("accounts.acme-slow.limits.timeout", "5s");
    w.set("accounts.acme-slow.limits.concurrency", 1);
    w.set("retry.inline.max_retries", 0);
    slow.rules(vec![Rule::all(Action::Hold)]);
    let mut worker = w.started();
    let (group, input) = (w.group(), w.topic("conversions"));
    let held = w.make.orders("acme-slow", 40);
    w.publish_at(held, None, Some(0));
    let live = |w: &mut World| {
        let events = (0..WINDOW + 500).map(|_| w.make.effective_user("acme-bz")).collect();
        w.publish_at(events, Some(800.0), Some(0));
    };
    live(&mut w);
    eventually(secs(60), "what holds the partition back is parked", || w.records("parked.acme-slow").len() >= 30);
    assert_eq!(worker.lane_state("acme-slow"), "flowing", "its lane did not close");
    assert!(worker.log().contains("hold the position of their partition back"), "{}", worker.log());

    worker.kill();
    worker.launch();
    worker.wait_until_ready();
    live(&mut w);
    eventually(secs(90), "the committed position reaches the end", || w.admin.at_end(&group, &input));
    let lag = || worker.metrics().total("consumer_lag_records", &[("topic", &input)]);
    eventually(secs(30), "the lag falls", || lag() == 0.0);
    eventually(secs(60), "the other account has everything", || fast.executed() >= 2 * (WINDOW + 500));

    slow.rules(Vec::new());
    slow.release(Action::Judge);
    w.settle(secs(150));
    w.ledger(&Check::DISTURBED);
}

/// How many copies there are of each origin.
fn copies(records: &[Record]) -> HashMap<Origin, usize> {
    let mut copies = HashMap::new();
    for origin in records.iter().filter_map(Record::origin) {
        *copies.entry(origin).or_default() += 1;
    }
    copies
}

#[test]
fn a_lane_that_stays_closed_costs_an_event_two_writes_at_most_and_flows_back_oldest_first_within_its_limit() {
    const RATE: usize = 20;
    let mut w = World::new("closed-long");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("accounts.acme-ps.limits.rps", RATE as i64);
    w.set("accounts.acme-ps.limits.concurrency", 1);
    w.set("retry.tiers", vec!["10s"]);
    w.set("retry.inline.max_retries", 0);
    let mut worker = w.started();
    // These fail once, so that they are in a tier as the lane closes. They are too few for the breaker.
    let failed = w.make.orders("acme-ps", 9);
    account.rules(vec![Rule::all(Action::Status(500, None)).about(failed.iter().map(|e| e.ident())).first(1)]);
    w.publish_at(failed, None, Some(0));
    eventually(secs(30), "they are in a tier", || w.records("retry").len() == 9);
    worker.must(&["accounts", "pause", "acme-ps", "--reason", "a test"]);
    eventually(secs(10), "the lane is paused", || worker.lane_state("acme-ps") == "paused");
    let mut fresh = w.make.orders("acme-ps", 71);
    w.publish_at(fresh.clone(), None, Some(0));
    eventually(secs(60), "everything is parked", || w.records("parked").len() == 80);

    // A restart, a member that comes and goes, and a kill.
    worker.stop();
    worker.launch();
    worker.wait_until_ready();
    let mut other = w.worker();
    other.start();
    eventually(secs(60), "it is paused there too", || other.lane_state("acme-ps") == "paused");
    let more = w.make.orders("acme-ps", 20);
    w.publish(more.clone());
    fresh.extend(more);
    eventually(secs(60), "these are parked too", || w.records("parked").len() == 100);
    other.stop();
    // A kill before that would rightly park some of them again.
    let (group, input) = (w.group(), w.topic("conversions"));
    eventually(secs(20), "the committed position is beyond what is parked", || w.admin.at_end(&group, &input));
    worker.kill();
    worker.launch();
    worker.wait_until_ready();
    let waiting = || worker.metrics().total("events_parked", &[("account", "acme-ps")]);
    eventually(secs(150), "the parked ones are read again and held", || waiting() == 100.0);
    std::thread::sleep(secs(3));

    let parked = w.records("parked");
    assert!(copies(&parked).values().all(|n| *n == 1) && parked.len() == 100, "{} copies", parked.len());
    assert!(copies(&w.records("retry")).values().all(|n| *n == 1), "a second copy in a tier without an attempt");

    worker.must(&["accounts", "resume", "acme-ps", "--reason", "a test"]);
    eventually(secs(30), "it flows back", || account.executed() > 0);
    let live = w.make.orders("acme-ps", 10);
    w.publish_at(live.clone(), None, Some(1));
    let executed = |idents: &HashSet<&String>| {
        let requests = account.requests();
        requests.iter().filter(|r| r.executed && r.ident.as_ref().is_some_and(|id| idents.contains(id))).count()
    };
    let live: HashSet<_> = live.iter().map(|e| e.ident()).collect();
    eventually(secs(30), "live events are delivered", || executed(&live) == 10);
    let backlog: HashSet<_> = fresh.iter().map(|e| e.ident()).collect();
    assert!(executed(&backlog) < backlog.len(), "live events waited for the whole backlog");
    w.settle(secs(120));
    assert_eq!(w.records("parked").len(), 100, "something was parked twice");

    // Oldest first: in the order in which they were parked.
    let order: HashMap<Origin, usize> =
        parked.iter().enumerate().filter_map(|(n, record)| Some((record.origin()?, n))).collect();
    let by_ident: HashMap<&String, &Origin> =
        w.events.iter().filter_map(|e| Some((e.ident.as_ref()?, e.at.as_ref()?))).collect();
    let mut sent: Vec<_> = account.requests().into_iter().filter(|r| r.executed).collect();
    sent.sort_by_key(|r| r.arrived);
    let places: Vec<_> = sent.iter().filter_map(|r| order.get(*by_ident.get(r.ident.as_ref()?)?)).collect();
    assert_eq!(places.len(), 100);
    assert!(places.is_sorted(), "{places:?}");
    for (n, first) in sent.iter().enumerate() {
        let within = sent[n..].iter().take_while(|r| r.arrived < first.arrived + Duration::from_secs(1)).count();
        assert!(within <= RATE * 105 / 100 + 3, "{within} in a second");
    }
    w.ledger(&Check::DISTURBED);
}
