//! Slots of one bucket drawn by several replicas: never more than 105 % in any window of a second.
//!
//! On the embedded store and on a real Redis; every case uses a bucket of its own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

mod stores;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use postback::pipeline::limit::Limiter;
use postback::redis::batcher::Batcher;
use postback::redis::health::Health;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use stores::{on_both_stores, redis};

on_both_stores! {
    several_replicas_together_keep_the_rate_in_every_window_of_a_second
    whatever_the_rate_the_replicas_and_their_demand_no_window_of_a_second_holds_more_than_the_rate
    a_push_back_holds_every_replica_and_is_told
    a_slot_nobody_awaits_any_more_is_lost_and_holds_nobody_up
}

/// One replica's limiter on its own connection; tells of push-backs.
fn replica(bucket: &str, rps: f64, told: Rc<RefCell<Vec<Duration>>>) -> Rc<Limiter> {
    let health = Arc::new(Health::default());
    let (batcher, work) = Batcher::new(redis(), format!("{bucket}:epoch"), health.clone());
    spawn_local(work);
    let replicas = (Arc::new(AtomicUsize::new(1)), health);
    let limiter =
        Limiter::new(batcher, bucket.to_owned(), rps, false, replicas, move |wait| told.borrow_mut().push(wait));
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

/// When `replicas`, with `hungry` claims in each, got their slots within `span`. A claim that got one is followed by the
/// next after `pause`.
async fn sends(rps: f64, replicas: usize, hungry: usize, pause: Duration, span: Duration) -> Vec<Instant> {
    let bucket = bucket();
    let sent = Rc::new(RefCell::new(Vec::new()));
    let began = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..replicas {
        let limiter = replica(&bucket, rps, Rc::default());
        for _ in 0..hungry {
            let (limiter, sent) = (limiter.clone(), sent.clone());
            tasks.push(spawn_local(async move {
                while began.elapsed() < span {
                    limiter.slot().await;
                    sent.borrow_mut().push(Instant::now());
                    if !pause.is_zero() {
                        sleep(pause).await;
                    }
                }
            }));
        }
    }
    sleep(span).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let mut sent = sent.take();
    sent.sort();
    sent
}

/// The most sends in any window of a second.
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
        let sent = run(sends(rps, replicas, hungry, Duration::ZERO, Duration::from_millis(3500)));
        let (most, allowed) = (most_in_a_second(&sent), allowed(rps, replicas));
        assert!(most <= allowed, "{most} sends in a second at {rps}/s over {replicas} replicas, {allowed} are allowed");
        let total = sent.len() as f64 / 3.5;
        assert!(total >= rps * 0.6, "only {total:.0} of {rps} a second were sent over {replicas} replicas");
    }
}

/// Few cases, since each takes its time. A failure is shown as it was drawn: how the machine was loaded belongs to it.
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
        a.slot().await;
        let began = Instant::now();
        a.push_back(Duration::from_millis(1500)).await.unwrap();
        assert!(!a.kept_back().is_zero());
        b.slot().await;
        assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
        a.slot().await;
        let shown = told.borrow().iter().max().copied().unwrap_or_default();
        assert!((Duration::from_millis(1000)..Duration::from_millis(1600)).contains(&shown), "told {shown:?}");
    });
}

fn a_slot_nobody_awaits_any_more_is_lost_and_holds_nobody_up() {
    run(async {
        let limiter = replica(&bucket(), 50.0, Rc::default());
        for _ in 0..20 {
            // Gives up before the slot comes.
            let _ = tokio::time::timeout(Duration::from_micros(10), limiter.slot()).await;
        }
        tokio::time::timeout(Duration::from_secs(2), limiter.slot()).await.unwrap();
    });
}
