//! The values that alarms use: lag, and the age of the oldest event and of the last commit, while something stands
//! still and afterwards.

use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::world::{Setup, World};
use crate::support::{eventually, millis, secs, within};

#[test]
fn a_platform_that_stands_still_shows_in_lag_and_ages_which_go_back_when_it_answers() {
    let mut w = World::new("gauges");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("limits.timeout", "5s");
    w.set("retry.inline.max_retries", 0);
    w.set("accounts.acme-ps.limits.concurrency", 2);
    let worker = w.started();
    let events = w.make.orders("acme-ps", 10);
    w.publish(events);
    w.settle(secs(60));
    account.rules(vec![Rule::all(Action::Hold)]);
    let events = w.make.orders("acme-ps", 100);
    w.publish(events);
    eventually(secs(20), "the platform holds what it got", || account.held() >= 2);
    let topic = w.topic("conversions");
    let of_input = |name: &str| worker.metrics().total(name, &[("topic", &topic)]);
    let oldest = || worker.metrics().total("oldest_open_event_age_seconds", &[("account", "acme-ps")]);
    // Two every five seconds give up meanwhile and wait in a tier.
    let about_100 = |n: f64| (80.0..=100.0).contains(&n);
    eventually(secs(15), "lag and ages grow", || {
        about_100(of_input("consumer_lag_records")) && of_input("consumer_lag_seconds") > 1.0 && oldest() > 1.0
    });
    // No position waits for a commit, because commits are not what stands still.
    assert!(of_input("commit_age_seconds") < 8.0, "commits are {} s old", of_input("commit_age_seconds"));
    assert!(of_input("consumer_lag_seconds") < 4.0 * 30.0, "{} s behind", of_input("consumer_lag_seconds"));
    assert!(oldest() < 30.0, "the oldest event is {} s old", oldest());
    // Of each partition, how long the topic still keeps the oldest of its unfinished records.
    eventually(secs(15), "the retention is known", || of_input("retention_seconds") > 0.0);
    let partitions = w.admin.partitions(&topic);
    let retention = of_input("retention_seconds") / partitions as f64;
    assert_eq!(w.admin.topic_setting(&topic, "retention.ms"), Some(format!("{}", retention * 1000.0)));
    eventually(secs(15), "the headroom shrinks with the age of what waits", || {
        let used = of_input("retention_seconds") - of_input("retention_headroom_seconds");
        used > 1.0 && used < 4.0 * 60.0
    });
    let metrics = worker.metrics();
    assert!(about_100(metrics.total("events_open", &[("account", "acme-ps")])));
    assert!(about_100(metrics.total("in_flight_events", &[])));
    assert!(metrics.total("in_flight_bytes", &[]) > 80.0 * 200.0);

    account.rules(Vec::new());
    account.release(Action::Judge);
    w.settle(secs(60));
    eventually(secs(15), "lag and ages are back at nothing", || {
        let names = ["consumer_lag_records", "consumer_lag_seconds", "commit_age_seconds"];
        names.iter().all(|name| of_input(name) == 0.0)
            && oldest() == 0.0
            && of_input("retention_headroom_seconds") == of_input("retention_seconds")
            && ["events_open", "in_flight_events", "in_flight_bytes"]
                .iter()
                .all(|name| worker.metrics().total(name, &[]) == 0.0)
    });
    let books = w.ledger(&Check::default());
    w.counters(&worker, &books);
}

#[test]
fn a_broker_that_stands_still_shows_in_the_age_of_the_commit() {
    let mut w = World::with("gauges-broker", Setup { brokers: 1, partitions: 1, ..Setup::default() });
    let account = w.account("acme-ps", Platform::Qihoo360);
    account.latency(millis(20));
    w.set("accounts.acme-ps.limits.rps", 100);
    let worker = w.started();
    let events = w.make.orders("acme-ps", 1500);
    w.publish(events);
    let topic = w.topic("conversions");
    let age = || worker.metrics().total("commit_age_seconds", &[("topic", &topic)]);
    // Each time for less than the broker's session timeout. The value shows whether a position was stored since the
    // last commit.
    let mut shown = false;
    for _ in 0..8 {
        let goal = account.executed() + 60;
        eventually(secs(30), "it flows", || account.executed() >= goal);
        w.cluster.as_mut().unwrap().freeze();
        shown = within(millis(3500), || age() > 2.0);
        w.cluster.as_mut().unwrap().thaw();
        if shown {
            break;
        }
    }
    assert!(shown, "commits do not arrive and their age does not grow");
    w.settle(secs(120));
    eventually(secs(20), "nothing waits for its commit", || age() == 0.0);
    w.ledger(&Check::DISTURBED);
}
