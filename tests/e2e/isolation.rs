//! A platform that hangs takes nothing away from the others.

use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::world::World;
use crate::support::{eventually, millis, secs};

#[test]
fn while_one_platform_hangs_the_other_goes_on_and_what_hung_is_delivered_later() {
    let mut w = World::new("isolation");
    let dead = w.account("acme-dead", Platform::Qihoo360);
    let live = w.account("acme-bz", Platform::Baizhu);
    w.set("accounts.acme-dead.limits.concurrency", 8);
    let worker = w.started();
    dead.rules(vec![Rule::all(Action::Hang)]);
    let mut events = Vec::new();
    for _ in 0..60 {
        events.push(w.make.order("acme-dead"));
        events.extend((0..9).map(|_| w.make.effective_user("acme-bz")));
    }
    let began = std::time::Instant::now();
    w.publish(events);
    eventually(secs(15), "the live platform has everything while the other hangs", || live.executed() == 540);
    let waited = began.elapsed();
    assert!(dead.requests().iter().all(|r| r.answered.is_none()), "the dead platform is not dead");
    assert!(worker.ready(), "not ready because of one platform");
    dead.rules(Vec::new());
    w.settle(secs(90));
    let books = w.ledger(&Check::default());
    w.counters(&worker, &books);
    assert_eq!(live.request_count(), 540);
    assert!(waited < secs(15));
}

#[test]
fn many_platforms_that_hang_together_take_nothing_away_from_one_that_answers() {
    let mut w = World::new("many-hang");
    let hung: Vec<String> = (0..12).map(|n| format!("acme-{n}")).collect();
    let dead: Vec<_> = hung.iter().map(|name| w.account(name, Platform::Qihoo360)).collect();
    let live = w.account("acme-bz", Platform::Baizhu);
    // No lane is at its cap of 64 when all places of the process are taken.
    w.set("intake.max_in_flight", 200);
    w.set("limits.timeout", "4s");
    w.set("dedupe.lease", "30s");
    w.property("session.timeout.ms", "30000");
    w.set("retry.inline.max_retries", 0);
    hung.iter().for_each(|name| w.set(&format!("accounts.{name}.limits.concurrency"), 1));
    // The lane may hold one second of its work and still counts as one that keeps up. That is more than all events that
    // come for it at once.
    w.set("accounts.acme-bz.limits.rps", 200);
    let worker = w.started();
    // A lane that sends is recognised by what it has sent.
    w.publish((0..10).map(|_| w.make.effective_user("acme-bz")).collect());
    eventually(secs(15), "the live platform is reached", || live.executed() == 10);

    dead.iter().for_each(|account| account.rules(vec![Rule::all(Action::Hang)]));
    w.publish_at((0..40).flat_map(|_| hung.iter().map(|name| w.make.order(name))).collect(), None, Some(0));
    // They arrive at once as soon as there are free places, and fit into its cap of 64.
    w.publish_at((0..60).map(|_| w.make.effective_user("acme-bz")).collect(), None, Some(0));
    // Without free places, 280 of the 480 would have to end first, at three a second: a minute and a half.
    eventually(secs(20), "the live platform has everything that stands behind", || live.executed() == 70);
    assert!(dead.iter().all(|a| a.requests().iter().all(|r| r.answered.is_none())), "a dead platform is not dead");
    let parked = w.records("parked.acme-bz");
    assert!(parked.is_empty(), "{} of one that keeps up were parked, first: {:?}", parked.len(), parked.first());
    assert!(!w.records("parked").is_empty());
    dead.iter().for_each(|account| account.rules(Vec::new()));
    w.settle(secs(60));
    let books = w.ledger(&Check::default());
    w.counters(&worker, &books);
    assert_eq!(live.request_count(), 70);
}

#[test]
fn an_account_that_receives_seldom_does_not_wait_behind_one_that_hangs_also_after_a_restart() {
    let mut w = World::new("seldom");
    let dead = w.account("acme-dead", Platform::Qihoo360);
    let rare = w.account("acme-rare", Platform::Baizhu);
    w.set("intake.max_in_flight", 200);
    w.set("limits.timeout", "4s");
    w.set("dedupe.lease", "30s");
    w.property("session.timeout.ms", "30000");
    w.set("retry.inline.max_retries", 0);
    w.set("accounts.acme-dead.limits.concurrency", 1);
    let mut worker = w.started();
    w.publish_at(vec![w.make.effective_user("acme-rare")], None, Some(0));
    w.settle(secs(20));
    let key = format!("{}:arrived:{}:acme-rare", w.id, w.topic("conversions"));
    eventually(secs(10), "redis knows of it", || w.redis().run(&["EXISTS", &key]) == redis::Value::Int(1));
    worker.stop();

    dead.rules(vec![Rule::all(Action::Hang)]);
    // Its cap is 64. Alone on its topic it would hold back the rest.
    let mut events = w.make.orders("acme-dead", 120);
    events.push(w.make.effective_user("acme-rare"));
    w.publish_at(events, None, Some(0));
    worker.start();
    eventually(secs(15), "the other account is not kept waiting", || rare.executed() == 2);
    assert!(dead.requests().iter().all(|r| r.answered.is_none()), "the dead platform is not dead");
    dead.rules(Vec::new());
    w.settle(secs(60));
    w.ledger(&Check::default());
}

#[test]
fn ninety_nine_quiet_accounts_do_not_wait_behind_the_backlog_of_a_noisy_one() {
    let mut w = World::new("fair");
    let noisy = w.account("acme-noisy", Platform::Qihoo360);
    noisy.latency(millis(100));
    w.set("accounts.acme-noisy.limits.concurrency", 2);
    let quiet: Vec<String> = (0..99).map(|n| format!("acme-{n}")).collect();
    let quiet_accounts: Vec<_> = quiet.iter().map(|name| w.account(name, Platform::Baizhu)).collect();
    let worker = w.started();
    // All of the noisy account's events stand before those of the others, in one partition.
    let backlog = w.make.orders("acme-noisy", 600);
    w.publish_at(backlog, None, Some(0));
    let events = (0..3).flat_map(|_| quiet.iter().map(|name| w.make.effective_user(name))).collect();
    w.publish_at(events, None, Some(0));
    eventually(secs(60), "every quiet account has everything", || {
        quiet_accounts.iter().all(|account| account.executed() == 3)
    });
    let sent = noisy.executed();
    assert!(sent < 600, "the noisy account has no backlog any more");
    assert!(quiet_accounts.iter().all(|account| account.request_count() == 3), "each event was sent once");
    noisy.latency(millis(0));
    w.settle(secs(90));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    for account in std::iter::once(&noisy).chain(&quiet_accounts) {
        assert_eq!(account.executed(), account.request_count());
    }
}
