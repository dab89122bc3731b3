//! Several replicas draw the slots of one bucket: never more than 105 % of the rate in any second.
//!
//! The tests run on the embedded store and on a real Redis. Every case uses its own bucket.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

mod slow;
mod stores;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use postback::redis::batcher::Batcher;
use postback::redis::health::Health;
use postback::send::rate::{Alone, Limiter, Priority};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use slow::Slow;
use stores::{on_both_stores, redis};

on_both_stores! {
    several_replicas_together_keep_the_rate_in_every_window_of_a_second
    whatever_the_rate_the_replicas_and_their_demand_no_window_of_a_second_holds_more_than_the_rate
    a_push_back_holds_every_replica_and_is_told
    a_push_back_to_the_end_of_a_day_is_shown_to_a_replica_that_starts_later
    a_free_time_of_a_clock_that_was_set_back_holds_nobody_and_swallows_no_push_back
    a_slot_nobody_awaits_any_more_is_lost_and_holds_nobody_up
    a_step_in_latency_stops_no_lane_and_at_a_steady_one_the_rate_is_reached
    latency_that_jumps_up_and_down_lets_no_second_hold_more_than_the_rate
    a_bucket_that_holds_what_no_worker_wrote_stops_its_own_lanes_alone
}

/// The limiter of one replica, on its own connection. It records push-backs.
fn replica(bucket: &str, rps: f64, told: Rc<RefCell<Vec<Duration>>>) -> Rc<Limiter> {
    let alone = Alone { delivers: false, sharers: 0, replicas: Arc::new(AtomicUsize::new(1)) };
    replica_over(redis(), bucket, rps, alone, told)
}

fn replica_over(
    redis: redis::Client,
    bucket: &str,
    rps: f64,
    alone: Alone,
    told: Rc<RefCell<Vec<Duration>>>,
) -> Rc<Limiter> {
    let health = Arc::new(Health::default());
    let (batcher, work) = Batcher::new(redis, format!("{bucket}:epoch"), health.clone());
    spawn_local(work);
    let limiter =
        Limiter::new(batcher, bucket.to_owned(), rps, alone, health, move |wait| told.borrow_mut().push(wait));
    spawn_local(limiter.clone().run());
    limiter
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

fn bucket() -> String {
    format!("slots-{}-{}", std::process::id(), rand::random::<u64>())
}

/// The times when `replicas`, with `hungry` claims in each, got their slots within `span`. After a claim got a slot,
/// the next one comes after `pause`.
async fn sends(rps: f64, replicas: usize, hungry: usize, pause: Duration, span: Duration) -> Vec<Instant> {
    let bucket = bucket();
    let limiters = (0..replicas).map(|_| replica(&bucket, rps, Rc::default())).collect();
    let sent = Rc::new(RefCell::new(Vec::new()));
    let began = Instant::now();
    let tasks = feed(limiters, hungry, pause, &sent);
    sleep(span.saturating_sub(began.elapsed())).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let mut sent = sent.take();
    sent.sort();
    sent
}

/// Claims that want slots for as long as their tasks live.
fn feed(
    limiters: Vec<Rc<Limiter>>,
    hungry: usize,
    pause: Duration,
    sent: &Rc<RefCell<Vec<Instant>>>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let claims = limiters.into_iter().flat_map(|limiter| std::iter::repeat_n(limiter, hungry));
    let tasks = claims.map(|limiter| {
        let sent = sent.clone();
        spawn_local(async move {
            loop {
                limiter.slot(Priority::Usual).await;
                sent.borrow_mut().push(Instant::now());
                if !pause.is_zero() {
                    sleep(pause).await;
                }
            }
        })
    });
    tasks.collect()
}

/// The most sends in any second.
fn most_in_a_second(sent: &[Instant]) -> usize {
    (0..sent.len())
        .map(|i| sent[i..].iter().take_while(|at| at.duration_since(sent[i]) < Duration::from_secs(1)).count())
        .max()
        .unwrap_or(0)
}

/// 105 % of the rate, and one request per replica.
fn allowed(rps: f64, replicas: usize) -> usize {
    (rps * 1.05) as usize + replicas
}

fn several_replicas_together_keep_the_rate_in_every_window_of_a_second() {
    for (rps, replicas, hungry) in [(20.0, 1, 8), (20.0, 3, 8), (50.0, 2, 40), (400.0, 3, 64)] {
        // On a busy machine fewer are sent, so the best of a few runs counts. All runs keep the rate.
        let mut best = 0.0_f64;
        for _ in 0..4 {
            let sent = run(sends(rps, replicas, hungry, Duration::ZERO, Duration::from_millis(3500)));
            let (most, allowed) = (most_in_a_second(&sent), allowed(rps, replicas));
            assert!(
                most <= allowed,
                "{most} sends in a second at {rps}/s over {replicas} replicas, {allowed} are allowed"
            );
            best = best.max(sent.len() as f64 / 3.5);
            if best >= rps * 0.6 {
                break;
            }
        }
        assert!(best >= rps * 0.6, "only {best:.0} of {rps} a second were sent over {replicas} replicas");
    }
}

/// Few cases, because each takes its time. A failure is shown as it was drawn, because the load of the machine is a
/// part of it.
fn whatever_the_rate_the_replicas_and_their_demand_no_window_of_a_second_holds_more_than_the_rate() {
    let mut runner = TestRunner::new(Config { cases: 6, max_shrink_iters: 0, ..Config::default() });
    // In steps of a half: from a slot every two seconds to 500 a second.
    let rps = prop_oneof![1..40_u32, 40..1000_u32].prop_map(|halves| f64::from(halves) / 2.0);
    // From claims that wait all the time to bursts with silence between them.
    let pause = prop_oneof![Just(0_u64), 1..20_u64, 150..700_u64].prop_map(Duration::from_millis);
    runner
        .run(&(rps, 1..6_usize, 1..80_usize, pause), |(rps, replicas, hungry, pause)| {
            let sent = run(sends(rps, replicas, hungry, pause, Duration::from_millis(2500)));
            prop_assert!(!sent.is_empty(), "nothing was sent");
            let (most, allowed) = (most_in_a_second(&sent), allowed(rps, replicas));
            prop_assert!(most <= allowed, "{most} sends in a second, {allowed} are allowed");
            Ok(())
        })
        .unwrap();
}

fn a_push_back_holds_every_replica_and_is_told() {
    run(async {
        let (bucket, told) = (bucket(), Rc::new(RefCell::new(Vec::new())));
        let (a, b) = (replica(&bucket, 100.0, Rc::default()), replica(&bucket, 100.0, told.clone()));
        a.slot(Priority::Usual).await;
        let began = Instant::now();
        a.push_back(Duration::from_millis(1500)).await.unwrap();
        assert!(!a.kept_back().is_zero() || began.elapsed() >= Duration::from_millis(1500));
        let late = began.elapsed();
        b.slot(Priority::Usual).await;
        assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
        a.slot(Priority::Usual).await;
        let shown = told.borrow().iter().max().copied().unwrap_or_default();
        let least = Duration::from_millis(1000).saturating_sub(late);
        assert!((least..Duration::from_millis(1600)).contains(&shown), "told {shown:?} after {late:?}");
    });
}

fn a_push_back_to_the_end_of_a_day_is_shown_to_a_replica_that_starts_later() {
    run(async {
        let (bucket, told) = (bucket(), Rc::new(RefCell::new(Vec::new())));
        let first = replica(&bucket, 100.0, Rc::default());
        first.slot(Priority::Usual).await;
        first.push_back(Duration::from_secs(10 * 3600)).await.unwrap();
        // A shorter push-back that another replica got does not end it.
        replica(&bucket, 100.0, Rc::default()).push_back(Duration::from_secs(2)).await.unwrap();
        let later = replica(&bucket, 100.0, told.clone());
        assert!(tokio::time::timeout(Duration::from_secs(2), later.slot(Priority::Usual)).await.is_err());
        let shown = told.borrow().first().copied().unwrap_or_default();
        assert!((Duration::from_secs(35_900)..Duration::from_secs(36_001)).contains(&shown), "told {shown:?}");
    });
}

fn a_free_time_of_a_clock_that_was_set_back_holds_nobody_and_swallows_no_push_back() {
    const HOUR_US: i64 = 3_600_000_000;
    const PUSHED: Duration = Duration::from_secs(2);
    /// Leaves what a lane would have reserved just before Redis's clock was set back by an hour.
    async fn set_back(bucket: &str) {
        let mut connection = redis().get_multiplexed_async_connection().await.unwrap();
        let (seconds, micros): (i64, i64) = ::redis::cmd("TIME").query_async(&mut connection).await.unwrap();
        let free = seconds * 1_000_000 + micros + HOUR_US;
        ::redis::cmd("SET").arg(bucket).arg(free).exec_async(&mut connection).await.unwrap();
    }
    run(async {
        let bucket = bucket();
        set_back(&bucket).await;
        let told = Rc::new(RefCell::new(Vec::new()));
        let (one, other) = (replica(&bucket, 50.0, told.clone()), replica(&bucket, 50.0, told.clone()));
        tokio::time::timeout(Duration::from_secs(30), one.slot(Priority::Usual)).await.expect("not an hour later");
        assert!(told.borrow().is_empty(), "nobody was pushed back: {told:?}");
        // The first to see it may be the lane that is pushed back.
        set_back(&bucket).await;
        let pushed = Instant::now();
        one.push_back(PUSHED).await.unwrap();
        tokio::time::timeout(Duration::from_secs(30), other.slot(Priority::Usual)).await.expect("not an hour later");
        assert!(pushed.elapsed() >= PUSHED, "{:?} after it", pushed.elapsed());
    });
}

fn a_slot_nobody_awaits_any_more_is_lost_and_holds_nobody_up() {
    run(async {
        let limiter = replica(&bucket(), 50.0, Rc::default());
        for _ in 0..20 {
            // It gives up before the slot comes.
            let _ = tokio::time::timeout(Duration::from_micros(10), limiter.slot(Priority::Usual)).await;
        }
        tokio::time::timeout(Duration::from_secs(30), limiter.slot(Priority::Usual)).await.unwrap();
    });
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The times when claims that always outnumber the slots got theirs, while the replies to the first of `replicas` took
/// this long, each latency for its time.
fn sends_with_latency(rps: f64, replicas: usize, latencies: &[(Duration, Duration)]) -> Vec<Instant> {
    run(async {
        let sent = Rc::new(RefCell::new(Vec::new()));
        let slow = Slow::before(&redis());
        let alone = Alone { delivers: false, sharers: 0, replicas: Arc::new(AtomicUsize::new(1)) };
        let bucket = bucket();
        let mut limiters = vec![replica_over(slow.redis(), &bucket, rps, alone, Rc::default())];
        limiters.extend((1..replicas).map(|_| replica(&bucket, rps, Rc::default())));
        let tasks = feed(limiters, 40, Duration::ZERO, &sent);
        for (latency, span) in latencies {
            slow.set(*latency);
            sleep(*span).await;
        }
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        sent.take()
    })
}

fn a_step_in_latency_stops_no_lane_and_at_a_steady_one_the_rate_is_reached() {
    for rps in [20.0, 200.0] {
        let (fast, slow, settles) = (millis(1500), millis(4000), millis(1000));
        // On a busy machine a slot may be missed now and then, so the best of a few runs counts. All runs keep the
        // rate.
        let mut best = 0.0_f64;
        for _ in 0..4 {
            let began = Instant::now();
            let sent =
                sends_with_latency(rps, 1, &[(Duration::ZERO, fast), (millis(80), slow), (Duration::ZERO, fast)]);
            let most = most_in_a_second(&sent);
            assert!(most <= allowed(rps, 1), "{most} sends in a second at {rps}/s");
            let steady = (began + fast + settles)..(began + fast + slow);
            let within = sent.iter().filter(|at| steady.contains(at)).count() as f64;
            best = best.max(within / (rps * (slow - settles).as_secs_f64()));
            if best >= 0.95 {
                break;
            }
        }
        assert!(best >= 0.95, "{best:.2} of {rps}/s at a steady latency");
    }
}

fn latency_that_jumps_up_and_down_lets_no_second_hold_more_than_the_rate() {
    let jumps: Vec<_> =
        (0..20).map(|n| (millis([0, 80, 0, 300, 40][n % 5]), millis(130 + 70 * (n as u64 % 4)))).collect();
    for replicas in [1, 2] {
        let mut sent = sends_with_latency(200.0, replicas, &jumps);
        sent.sort();
        let (most, allowed) = (most_in_a_second(&sent), allowed(200.0, replicas));
        assert!(most <= allowed, "{most} sends in a second over {replicas} replicas, {allowed} are allowed");
        assert!(sent.len() > 200, "{} in five seconds", sent.len());
    }
}

#[test]
fn without_redis_accounts_of_one_bucket_and_all_replicas_share_one_rate() {
    run(async {
        let nobody = redis::Client::open("redis://127.0.0.1:1").unwrap();
        let sent = Rc::new(RefCell::new(Vec::new()));
        // Three accounts in each of two replicas.
        let limiters = (0..6).map(|_| {
            let alone = Alone { delivers: true, sharers: 3, replicas: Arc::new(AtomicUsize::new(2)) };
            replica_over(nobody.clone(), "b", 20.0, alone, Rc::default())
        });
        let tasks = feed(limiters.collect(), 4, Duration::ZERO, &sent);
        sleep(millis(3500)).await;
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        // One at once for each of the six, then one for each in 300 ms.
        let most = most_in_a_second(&sent.borrow());
        assert!(most <= allowed(20.0, 6), "{most} sends in a second at 20/s");
        assert!(sent.borrow().len() >= 40, "only {} in 3.5 s", sent.borrow().len());
    });
}

fn a_bucket_that_holds_what_no_worker_wrote_stops_its_own_lanes_alone() {
    run(async {
        let health = Arc::new(Health::default());
        let (batcher, work) = Batcher::new(redis(), "slots:epoch".into(), health.clone());
        spawn_local(work);
        let lane = |bucket: &str| {
            let alone = Alone { delivers: false, sharers: 0, replicas: Arc::new(AtomicUsize::new(1)) };
            let limiter = Limiter::new(batcher.clone(), bucket.to_owned(), 50.0, alone, health.clone(), |_| {});
            spawn_local(limiter.clone().run());
            limiter
        };
        let (spoiled, other) = (bucket(), bucket());
        let mut c = redis().get_multiplexed_async_connection().await.unwrap();
        let () = redis::cmd("LPUSH").arg(&spoiled).arg("x").query_async(&mut c).await.unwrap();
        let (waiting, flowing) = (lane(&spoiled), lane(&other));
        let waiting = spawn_local(async move { _ = waiting.slot(Priority::Usual).await });
        for _ in 0..30 {
            _ = flowing.slot(Priority::Usual).await;
            assert!(health.is_up(), "{:?}", health.trouble());
        }
        assert!(!waiting.is_finished());
        assert_eq!(health.foreign.names(), std::slice::from_ref(&spoiled));
        let () = redis::cmd("DEL").arg(&spoiled).query_async(&mut c).await.unwrap();
        waiting.await.unwrap();
    });
}
