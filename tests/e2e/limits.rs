//! The shared rate, whatever the number of replicas.

use crate::support::ledger::Check;
use crate::support::platform::Platform;
use crate::support::world::{Setup, World};
use crate::support::{eventually, secs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

const RPS: usize = 60;

/// The most requests in any second.
fn busiest(times: &[SystemTime]) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (i, t) in times.iter().enumerate() {
        while t.duration_since(times[first]).unwrap_or_default() >= Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(i + 1 - first);
    }
    most
}

/// The longest time, in ms, for which the machine kept a thread waiting that was due, from now on.
fn stalls() -> Arc<AtomicU64> {
    const NAP: Duration = Duration::from_millis(2);
    let longest = Arc::new(AtomicU64::new(0));
    let watched = Arc::downgrade(&longest);
    std::thread::spawn(move || {
        while let Some(longest) = watched.upgrade() {
            let began = Instant::now();
            std::thread::sleep(NAP);
            longest.fetch_max(began.elapsed().saturating_sub(NAP).as_millis() as u64, Ordering::Relaxed);
        }
    });
    longest
}

#[test]
fn no_second_holds_more_than_105_percent_with_one_then_three_then_two_replicas() {
    let mut w = World::with("limits", Setup { partitions: 6, ..Setup::default() });
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.set("accounts.acme-ps.limits.rps", RPS as i64);
    let stalls = stalls();
    let first = w.started();
    let events = w.make.orders("acme-ps", RPS * 40);
    w.publish(events);
    let flowed = |n: usize| eventually(secs(40), "it flows", || account.request_count() >= n);
    flowed(RPS * 6);
    let second = w.started();
    let mut third = w.started();
    let group = w.group();
    eventually(secs(40), "three members are in the group", || w.admin.members(&group) == (3, "Stable".into()));
    let settled = account.request_count();
    flowed(settled + RPS * 6);
    third.stop();
    let settled = account.request_count();
    flowed(settled + RPS * 5);
    w.settle(secs(90));
    w.ledger(&Check { disturbed: true, exact: true, ..Check::default() });

    let mut times: Vec<SystemTime> = account.requests().iter().map(|r| r.arrived).collect();
    times.sort();
    let most = busiest(&times);
    // 105 % of the rate, and one request per replica. What a busy machine held up, at the worker and here, comes
    // together.
    let stall_ms = stalls.load(Ordering::Relaxed) as usize;
    let held_up = 2 * RPS * stall_ms / 1000;
    assert!(
        most <= RPS * 105 / 100 + 3 + held_up,
        "{most} requests in one second at a limit of {RPS}; {stall_ms} ms stall"
    );
    let alone = times[..RPS * 6].last().unwrap().duration_since(times[0]).unwrap();
    assert!(alone < secs(8), "one replica took {alone:?} for six seconds' worth");
    drop((first, second));
}

#[test]
fn a_burst_is_found() {
    let at = |ms: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
    let even: Vec<SystemTime> = (0..300).map(|i| at(i * 10)).collect();
    assert_eq!(busiest(&even), 100);
    let mut burst = even;
    burst.extend((0..20).map(|_| at(1500)));
    burst.sort();
    assert_eq!(busiest(&burst), 120);
}
