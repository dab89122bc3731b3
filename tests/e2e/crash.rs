//! Each row of the crash table: the program is killed at exactly that point and started again. Then nothing is missing,
//! and nothing was sent again without being declared.
//!
//! The tests reach these points from outside. The platform holds its answer until the program is at the point, and a
//! proxy in front of Redis, or a frozen broker, stops it there.

use crate::support::event::{Event, Expect};
use crate::support::ledger::{Books, Check};
use crate::support::platform::{Account, Action, Platform, Rule};
use crate::support::proxy::Mode;
use crate::support::redis::State;
use crate::support::worker::Worker;
use crate::support::world::{Setup, World, hold};
use crate::support::{eventually, millis, secs};
use std::sync::Arc;

const BROKER: Setup = Setup { brokers: 1, redis: false, proxy: false, partitions: 0 };
const PROXY: Setup = Setup { brokers: 0, redis: false, proxy: true, partitions: 0 };
/// Events per account and case.
const N: usize = 5;

/// Starts the worker again and checks the ledger.
fn restart(w: &World, worker: &mut Worker) -> Books {
    worker.launch();
    worker.wait_until_ready();
    w.settle(secs(120));
    w.ledger(&Check::DISTURBED)
}

/// Lets requests be held for longer than it takes to see that all of them have arrived.
fn patient(w: &mut World) {
    w.set("limits.timeout", "3s");
    w.set("retry.inline.max_retries", 0);
}

fn all_held(accounts: &[&Arc<Account>]) {
    eventually(secs(30), "the platform holds every request", || accounts.iter().all(|a| a.held() == N));
}

fn all_answered(account: &Account, events: &[Event], requests: usize) {
    eventually(secs(15), "every request was answered", || {
        events.iter().all(|e| account.requests_about(e.ident()).iter().filter(|r| r.status != 0).count() >= requests)
    });
}

fn copies(account: &Account, event: &Event) -> usize {
    account.requests_about(event.ident()).iter().filter(|r| r.executed).count()
}

#[test]
fn killed_while_the_platform_holds_the_answer_it_sends_again_and_declares_it() {
    let mut w = World::new("crash-held");
    patient(&mut w);
    let account = w.account("acme-ps", Platform::Qihoo360);
    let events = w.make.orders("acme-ps", N);
    account.rules(hold(&events));
    let mut worker = w.started();
    w.publish(events.clone());
    all_held(&[&account]);
    assert_eq!(w.redis().count(&w.id, State::Claimed), N);
    worker.kill();
    account.release(Action::Judge);
    let books = restart(&w, &mut worker);
    for event in &events {
        assert_eq!((copies(&account, event), books.receipt(event).resends), (2, 1));
    }
}

#[test]
fn killed_after_the_answer_and_before_the_confirm_or_the_mark_it_sends_again_and_declares_it() {
    let mut w = World::with("crash-answer", PROXY);
    patient(&mut w);
    let accepted = w.account("acme-yes", Platform::Qihoo360);
    let silent = w.account("acme-reset", Platform::Qihoo360);
    let (yes, reset) = (w.make.orders("acme-yes", N), w.make.orders("acme-reset", N));
    accepted.rules(hold(&yes));
    silent.rules(hold(&reset));
    let mut worker = w.started();
    w.publish(yes.iter().chain(&reset).cloned().collect());
    all_held(&[&accepted, &silent]);
    let proxy = w.proxy.as_ref().unwrap();
    proxy.set(Mode::Hold);
    accepted.release(Action::Judge);
    silent.release(Action::ResetAfter);
    all_answered(&accepted, &yes, 1);
    std::thread::sleep(millis(300));
    worker.kill();
    proxy.cut();
    proxy.set(Mode::Pass);
    assert_eq!(w.redis().count(&w.id, State::Claimed), 2 * N, "a confirm or a mark got through");
    let books = restart(&w, &mut worker);
    for event in yes.iter().chain(&reset) {
        let account = if event.account == "acme-yes" { &accepted } else { &silent };
        assert_eq!((copies(account, event), books.receipt(event).resends), (2, 1));
    }
}

#[test]
fn killed_after_the_confirm_or_the_mark_and_before_kafka_knows_it_sends_again_only_what_was_in_doubt() {
    let mut w = World::with("crash-confirmed", BROKER);
    patient(&mut w);
    let accepted = w.account("acme-yes", Platform::Qihoo360);
    let silent = w.account("acme-reset", Platform::Qihoo360);
    let (yes, reset) = (w.make.orders("acme-yes", N), w.make.orders("acme-reset", N));
    accepted.rules(hold(&yes));
    silent.rules(hold(&reset));
    let mut worker = w.started();
    w.publish(yes.iter().chain(&reset).cloned().collect());
    all_held(&[&accepted, &silent]);
    w.cluster.as_mut().unwrap().freeze();
    accepted.release(Action::Judge);
    silent.release(Action::ResetAfter);
    eventually(secs(10), "Redis knows every outcome", || {
        let mut redis = w.redis();
        redis.count(&w.id, State::Done) == N && redis.count(&w.id, State::Unknown) == N
    });
    worker.kill();
    w.cluster.as_mut().unwrap().thaw();
    let books = restart(&w, &mut worker);
    for event in &yes {
        assert_eq!((copies(&accepted, event), books.receipt(event).resends), (1, 0), "a confirmed event");
    }
    for event in &reset {
        assert!(copies(&silent, event) <= 2);
        assert_eq!(books.receipt(event).resends, 1, "an event in doubt");
    }
}

/// Three accounts. When their requests are released, their events go to a tier, to parking and to the dead letters.
struct HandOffs {
    retried: (Arc<Account>, Vec<Event>),
    parked: (Arc<Account>, Vec<Event>),
    dead: (Arc<Account>, Vec<Event>),
}

impl HandOffs {
    fn new(w: &mut World) -> Self {
        // One try per visit, so that the first answer decides.
        patient(w);
        let mut make = |name: &str| {
            let account = w.account(name, Platform::Qihoo360);
            let events = w.make.orders(name, N);
            account.rules(hold(&events));
            (account, events)
        };
        let mut made = Self { retried: make("acme-500"), parked: make("acme-halt"), dead: make("acme-no") };
        for event in &mut made.dead.1 {
            event.expect = Expect::Dead { reason: "rejected", field: "" };
        }
        // The platform refuses it each time it is sent.
        let held = hold(&made.dead.1);
        made.dead.0.rules(held.into_iter().chain([Rule::all(Action::Errno(3))]).collect());
        made
    }

    fn publish(&self, w: &mut World) {
        w.publish([&self.retried, &self.parked, &self.dead].into_iter().flat_map(|(_, e)| e.clone()).collect());
        all_held(&[&self.retried.0, &self.parked.0, &self.dead.0]);
    }

    fn release(&self) {
        self.retried.0.release(Action::Status(500, None));
        self.parked.0.release(Action::Errno(2));
        self.dead.0.release(Action::Errno(3));
        for (account, events) in [&self.retried, &self.parked, &self.dead] {
            all_answered(account, events, 1);
        }
    }

    fn handed_off(&self, w: &World) -> bool {
        w.records("retry").len() >= N && w.records("parked").len() >= N && w.dead_letters().len() >= N
    }

    /// Starts the worker again, resumes the halted account, and checks the ledger.
    fn restart(&self, w: &World, worker: &mut Worker) {
        worker.launch();
        worker.wait_until_ready();
        worker.must(&["accounts", "resume", "acme-halt", "--reason", "a test"]);
        w.settle(secs(120));
        w.ledger(&Check::DISTURBED);
        for (account, events) in [&self.retried, &self.parked] {
            for event in events {
                assert_eq!(copies(account, event), 1, "{} {}", account.name, event.ident());
            }
        }
    }
}

#[test]
fn killed_before_a_hand_off_is_acknowledged_it_loses_nothing() {
    let mut w = World::with("crash-publish", BROKER);
    let made = HandOffs::new(&mut w);
    let mut worker = w.started();
    made.publish(&mut w);
    w.cluster.as_mut().unwrap().freeze();
    made.release();
    std::thread::sleep(millis(500));
    worker.kill();
    w.cluster.as_mut().unwrap().thaw();
    made.restart(&w, &mut worker);
}

#[test]
fn killed_after_a_hand_off_and_before_the_claim_is_released_it_loses_nothing() {
    let mut w = World::with("crash-release", PROXY);
    let made = HandOffs::new(&mut w);
    let mut worker = w.started();
    made.publish(&mut w);
    w.proxy.as_ref().unwrap().set(Mode::Hold);
    made.release();
    eventually(secs(15), "every hand-off is in its topic", || made.handed_off(&w));
    worker.kill();
    let proxy = w.proxy.as_ref().unwrap();
    proxy.cut();
    proxy.set(Mode::Pass);
    assert_eq!(w.redis().count(&w.id, State::Claimed), 3 * N, "a release got through");
    made.restart(&w, &mut worker);
}

#[test]
fn killed_after_the_release_and_before_the_commit_it_loses_nothing() {
    let mut w = World::new("crash-finish");
    let made = HandOffs::new(&mut w);
    let mut worker = w.started();
    made.publish(&mut w);
    made.release();
    // The commit comes up to a second after the release.
    let mut redis = w.redis();
    let id = w.id.clone();
    eventually(secs(15), "every claim is released", || redis.count(&id, State::Claimed) == 0);
    worker.kill();
    made.restart(&w, &mut worker);
}

/// Three groups with ten kills each, at the same time, because most of the time of a kill is spent waiting until a
/// session ends.
#[test]
fn thirty_kills_at_random_moments_lose_nothing_and_send_nothing_undeclared() {
    std::thread::scope(|scope| {
        let groups: Vec<_> = (0..3).map(|i| scope.spawn(move || ten_kills(i))).collect();
        for group in groups {
            if let Err(panic) = group.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

fn ten_kills(group: usize) {
    const LEASE: u64 = 11;
    let mut w = World::new(&format!("kills-{group}"));
    w.quick_lease(LEASE);
    let search = w.account("acme-ps", Platform::Qihoo360);
    let games = w.account("acme-bz", Platform::Baizhu);
    for account in [&search, &games] {
        account.latency(millis(40));
        w.set(&format!("accounts.{}.limits.rps", account.name), 25);
        w.set(&format!("accounts.{}.limits.concurrency", account.name), 8);
    }
    search.rules(vec![Rule::all(Action::Status(500, None)).one_in(9).first(2)]);
    let mut events = w.make.orders("acme-ps", 400);
    events.extend((0..300).map(|_| w.make.effective_user("acme-bz")));
    events.extend(
        (0..20).map(|_| w.make.order("acme-ps").spoiled("invalid", "trans_id", |e| e["trans_id"] = "a b".into())),
    );
    let mut worker = w.worker();
    worker.launch();
    w.publish(events);
    let mut kills = Vec::new();
    for _ in 0..10 {
        let goal = search.request_count() + games.request_count() + rand::random_range(4..60);
        crate::support::within(secs(30), || search.request_count() + games.request_count() >= goal);
        std::thread::sleep(millis(rand::random_range(0..60)));
        kills.push(std::time::SystemTime::now());
        worker.kill();
        std::thread::sleep(millis(rand::random_range(0..300)));
        worker.launch();
    }
    worker.wait_until_ready();
    w.settle(secs(180));
    w.ledger(&Check::DISTURBED);
    // A re-send comes only after the lease, and only for events that were in flight at a kill.
    for account in [&search, &games] {
        let mut taken: std::collections::HashMap<String, Vec<std::time::SystemTime>> = Default::default();
        for request in account.requests().into_iter().filter(|r| r.executed) {
            taken.entry(request.ident.unwrap()).or_default().push(request.arrived);
        }
        for (ident, times) in taken.iter().filter(|(_, t)| t.len() > 1) {
            for pair in times.windows(2) {
                let gap = pair[1].duration_since(pair[0]).unwrap();
                assert!(gap >= millis(LEASE * 1000 - 1500), "{ident}: sent again after {gap:?}, within the lease");
                // The platform may read bytes a little after the kill that were written to the socket before it.
                let near = |kill: &std::time::SystemTime| *kill + millis(300) > pair[0] && *kill < pair[0] + secs(3);
                assert!(
                    kills.iter().any(near),
                    "{ident}: sent again after {gap:?}, in flight at no kill: {pair:?} {kills:?}"
                );
            }
        }
    }
}
