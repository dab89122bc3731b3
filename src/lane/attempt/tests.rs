//! One attempt at a time, with a store and a platform whose answers the events ask for.
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::sleep;

use super::*;
use crate::account::{OnAmbiguous, WhenUnavailable};
use crate::claim::ConfirmAttempt;
use crate::claim::rules::Value;
use crate::delivery::progress::End;
use crate::delivery::{Subject, TopicKind};
use crate::envelope::LastAttempt;
use crate::error::Answer;
use crate::stub::bench::{Alone, Bench, Setting, eventually, ready as ready_of, run};

const LONG_AGO_MS: i64 = 1_700_000_000_000;

/// The result of an attempt, and its claim.
async fn attempted(bench: &Bench, delivery: &mut Delivery) -> (Attempted, Option<ClaimGuard>) {
    let mut guard = None;
    let result = attempt(delivery, &bench.lane, &mut guard).await;
    (result, guard)
}

fn three_tries(setting: &mut Setting) {
    setting.account.retry.inline.max_retries = 2;
}

#[test]
fn time_is_judged_after_the_claim_so_that_an_old_copy_is_a_duplicate() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        let (mut first, _end) = bench.delivery(TopicKind::Input, "ok-1");
        let (result, guard) = attempted(&bench, &mut first).await;
        assert!(matches!(result, Ok(Progress::Accepted(_))));
        let mut attempt = ConfirmAttempt::default();
        let claim_request = &mut ready_of(&mut first).claim_request;
        bench.lane.dedupe.confirm(claim_request, &guard.unwrap().claim, 0, &mut attempt).await.unwrap();

        let (mut copy, _end) = bench.delivery_of(TopicKind::Input, "ok-1", LONG_AGO_MS);
        assert!(matches!(attempted(&bench, &mut copy).await.0, Ok(Progress::Duplicate { .. })));
        let (mut other, _end) = bench.delivery_of(TopicKind::Input, "ok-2", LONG_AGO_MS);
        let (result, guard) = attempted(&bench, &mut other).await;
        let Err(DeliveryError::Expired(fault)) = result else { panic!("an old event is sent") };
        assert_eq!(&*fault.field, "event_time_ms");
        assert!(guard.is_some(), "its claim is for settle to release");
        assert_eq!(bench.sent(), ["ok-1"]);
        [first, copy, other].into_iter().for_each(|d| d.ack.complete(End::Returned));
    });
}

/// A burst over many accounts holds thousands of both.
#[test]
fn a_record_and_its_attempt_take_little_memory() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        let (mut delivery, _end) = bench.delivery(TopicKind::Input, "ok-1");
        let mut guard = None;
        let bytes = size_of_val(&attempt(&mut delivery, &bench.lane, &mut guard));
        assert!(bytes <= 1_200 && size_of::<Delivery>() <= 768, "{bytes} and {}", size_of::<Delivery>());
        delivery.ack.complete(End::Returned);
    });
}

#[test]
fn an_answer_that_cannot_be_read_is_counted_each_time_and_logged_once_for_its_account() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        let sink = crate::telemetry::tests::Sink::default();
        let _guard = sink.listen();
        for n in 1..=3_u8 {
            let (mut delivery, _end) = bench.delivery(TopicKind::Tier, &format!("200-{n}"));
            let (result, _) = attempted(&bench, &mut delivery).await;
            let Err(DeliveryError::Ambiguous(answer)) = result else { panic!("an empty answer is none") };
            assert!(answer.detail.starts_with("an answer that cannot be read: "), "{}", answer.detail);
            assert_eq!(bench.lane.account_metrics().unclassified.get(), u64::from(n));
            delivery.ack.complete(End::Returned);
        }
        let text = sink.text();
        let warnings: Vec<_> = text.lines().filter(|line| line.contains("an answer that cannot be read")).collect();
        let [warning] = &warnings[..] else { panic!("{text}") };
        assert!(warning.contains("\"level\":\"warn\"") && warning.contains("\"account\":\"acme\""), "{warning}");
    });
}

#[test]
fn a_refused_nonce_is_signed_anew_and_sent_once_more_in_the_same_claim_and_the_second_refusal_halts() {
    run(async {
        let bench = Bench::new(three_tries).await;
        let (mut first, _end) = bench.delivery(TopicKind::Input, "nonce-1");
        let (result, _) = attempted(&bench, &mut first).await;
        assert!(matches!(result, Ok(Progress::Accepted(_))));
        assert_eq!((first.envelope.attempts, bench.resends_counted()), (1, 0), "the refusal is no attempt");
        let (mut again, _end) = bench.delivery(TopicKind::Input, "clock-2");
        let (result, _) = attempted(&bench, &mut again).await;
        let Err(DeliveryError::Halt(answer)) = result else { panic!("no halt") };
        assert!(answer.detail.starts_with("a request that was signed anew is refused again"), "{}", answer.detail);
        assert_eq!(bench.sent(), ["nonce-1", "nonce-1", "clock-2", "clock-2"]);
        [first, again].into_iter().for_each(|d| d.ack.complete(End::Returned));
    });
}

#[test]
fn quick_retries_are_for_the_first_visit_and_not_where_the_platform_names_a_wait() {
    run(async {
        let bench = Bench::new(three_tries).await;
        let rows = [
            ("500-first", TopicKind::Input, 0, 3),
            ("500-tier", TopicKind::Tier, 0, 1),
            ("500-parked", TopicKind::Parked, 0, 1),
            ("503after-first", TopicKind::Input, 0, 1),
            ("429-first", TopicKind::Input, 0, 1),
            ("silent-first", TopicKind::Input, 0, 1),
            // The limit of attempts also holds for inline tries.
            ("500-nineteenth", TopicKind::Input, 18, 2),
        ];
        for (id, topic_kind, before, tries) in rows {
            let (mut delivery, _end) = bench.delivery(topic_kind, id);
            delivery.envelope.attempts = before;
            let (result, guard) = attempted(&bench, &mut delivery).await;
            assert!(result.is_err() && guard.is_some(), "{id}");
            let sent = bench.sent().iter().filter(|sent| *sent == id).count();
            assert_eq!(sent, tries, "{id}");
            let counted = if id.starts_with("429") { 0 } else { tries as u32 };
            assert_eq!(delivery.envelope.attempts, before + counted, "{id}");
            assert_eq!(delivery.attempted, counted > 0, "{id}");
            delivery.ack.complete(End::Returned);
        }
        assert_eq!(bench.resends_counted(), 0, "what failed clearly is sent again without a declaration");
    });
}

#[test]
fn a_lane_that_closes_ends_an_inline_delay_with_the_failure_before_it() {
    run(async {
        let edit = |s: &mut Setting| {
            three_tries(s);
            s.account.retry.inline.initial = Duration::from_secs(1_000_000);
            s.account.retry.inline.max = Duration::from_secs(1_000_000);
        };
        let bench = Bench::new(edit).await;
        let (mut delivery, _end) = bench.delivery(TopicKind::Input, "500-1");
        let open = delivery.ack.open().clone();
        let close = async {
            let waits = async || !bench.sent().is_empty() && open.stage() == Stage::Waiting;
            eventually("it waits for its second try", waits).await;
            bench.handle.halt("why");
        };
        let ((result, _), ()) = tokio::join!(attempted(&bench, &mut delivery), close);
        assert!(matches!(result, Err(DeliveryError::Retry(_))), "it goes to its tier, and is not parked");
        assert_eq!(bench.sent().len(), 1);
        delivery.ack.complete(End::Returned);
    });
}

#[test]
fn an_answer_counts_although_the_lane_closes_while_the_next_try_waits_for_its_slot() {
    run(async {
        let bench = Bench::new(three_tries).await;
        bench.lane.permanents.set(5);
        let (mut delivery, _end) = bench.delivery(TopicKind::Input, "hang500-1");
        let open = delivery.ack.open().clone();
        let close = async {
            eventually("its first try is under way", async || open.stage() == Stage::Sending).await;
            // From here on there is no slot. The first try has its own.
            bench.lane.limiter.push_back(Duration::from_secs(600)).await.unwrap();
            bench.let_go();
            eventually("it waits for its second try", async || open.stage() == Stage::Waiting).await;
            // An inline delay takes a millisecond at most here.
            sleep(Duration::from_millis(300)).await;
            bench.handle.halt("why");
        };
        let ((result, _), ()) = tokio::join!(attempted(&bench, &mut delivery), close);
        assert!(matches!(result, Err(DeliveryError::Closed)), "it is parked");
        assert_eq!(
            (bench.sent().len(), bench.lane.permanents.get()),
            (1, 0),
            "its answer ends the run of permanent ones"
        );
        delivery.ack.complete(End::Returned);
    });
}

#[test]
fn without_enough_of_its_lease_a_claim_is_given_up_and_made_anew() {
    run(async {
        let edit = |s: &mut Setting| {
            s.account.limits.timeout = Duration::from_secs(2);
            s.lease = Duration::from_millis(3_400);
        };
        let bench = Bench::new(edit).await;
        // Longer than the rest of the lease that a send leaves.
        bench.lane.limiter.push_back(Duration::from_millis(700)).await.unwrap();
        let (mut delivery, _end) = bench.delivery(TopicKind::Input, "ok-1");
        let mut tokens = Vec::new();
        let watch = async {
            while bench.sent().is_empty() {
                if let Some(Value::Claimed { token, resends, .. }) = bench.value("ok-1").await {
                    assert_eq!(resends, 0, "nothing was sent under the claim before");
                    if tokens.last() != Some(&token) {
                        tokens.push(token);
                    }
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        let ((result, guard), ()) = tokio::join!(attempted(&bench, &mut delivery), watch);
        assert!(matches!(result, Ok(Progress::Accepted(_))));
        let claim = guard.unwrap().claim;
        assert!(tokens.len() > 1, "sent under its first claim");
        assert!(!claim.resend && !claim.taken_over());
        assert_ne!(claim.token.to_string(), tokens[0]);
        assert_eq!(bench.sent().len(), 1);
        delivery.ack.complete(End::Returned);
    });
}

#[test]
fn a_send_that_may_be_a_second_one_is_declared_or_refused_as_the_account_says() {
    run(async {
        for (refuses, sends) in [(false, true), (true, false)] {
            let edit = |s: &mut Setting| {
                s.account.on_ambiguous = if refuses { OnAmbiguous::DeadLetter } else { OnAmbiguous::Retry };
            };
            let bench = Bench::new(edit).await;
            // A mark of its own lineage; a record in doubt that Redis forgot; with the operator's `--force` it is sent
            // anyway.
            for (id, marked, in_doubt, force) in
                [("ok-marked", true, false, false), ("ok-doubt", false, true, false), ("ok-forced", true, false, true)]
            {
                let (mut delivery, _end) = bench.delivery(TopicKind::Input, id);
                let ready = ready_of(&mut delivery);
                (ready.claim_request.in_doubt, ready.claim_request.force) = (in_doubt, force);
                if marked {
                    bench.put(id, &ready.claim_request.unknown()).await;
                }
                let before = bench.resends_counted();
                let (result, guard) = attempted(&bench, &mut delivery).await;
                let sent = bench.sent().contains(&id.to_owned());
                assert_eq!(sent, sends || force, "{id}");
                assert_eq!(result.is_ok(), sent, "{id}");
                assert_eq!(bench.resends_counted() - before, u64::from(sent), "{id}");
                assert_eq!(ready_of(&mut delivery).claim_request.own, u32::from(sent), "{id}");
                assert!(guard.is_some_and(|h| h.claim.resend && h.claim.declared == sent), "{id}");
                assert!(sent || matches!(result, Err(DeliveryError::Ambiguous(_))), "{id}");
                delivery.ack.complete(End::Returned);
            }
        }
    });
}

#[test]
fn a_try_whose_first_byte_did_not_go_out_leaves_the_doubt_of_the_one_before() {
    run(async {
        let bench = Bench::new(|s| s.no_platform = true).await;
        for (before, after) in [("ambiguous", "ambiguous"), ("retry", "retry"), ("permanent", "retry")] {
            let (mut delivery, _end) = bench.delivery(TopicKind::Tier, before);
            delivery.envelope.last = Some(LastAttempt { class: before.into(), ..LastAttempt::default() });
            let (result, _held) = attempted(&bench, &mut delivery).await;
            assert!(matches!(result, Err(DeliveryError::Retry(Answer { sent: false, .. }))));
            assert_eq!((delivery.envelope.attempts, &*delivery.envelope.last.as_ref().unwrap().class), (1, after));
            delivery.ack.complete(End::Returned);
        }
    });
}

#[tokio::test]
async fn while_redis_is_away_a_walk_waits_and_a_partition_that_leaves_ends_it() {
    let alone = Alone::new(|_| {});
    let (mut delivery, _end) = alone.delivery(TopicKind::Input, "ok-1");
    let assignment = delivery.ack.assignment().clone();
    let mut guard = None;
    let mut attempt = Box::pin(attempt(&mut delivery, &alone.lane, &mut guard));
    let some_tries = Duration::from_millis(400);
    assert!(tokio::time::timeout(some_tries, &mut attempt).await.is_err(), "it neither fails nor sends");
    assignment.set_leaving();
    alone.handle.changes.touch();
    assert!(matches!(attempt.await, Err(DeliveryError::Returned)));
    delivery.ack.complete(End::Returned);
}

/// Its clock is an hour behind, so an event of now would lie in the future. An account that delivers without Redis is
/// judged the same.
#[test]
fn while_the_clock_cannot_be_believed_no_event_is_judged_or_sent() {
    run(async {
        for when_unavailable in [WhenUnavailable::Hold, WhenUnavailable::Deliver] {
            let bench = Bench::new(|s| s.account.when_unavailable = when_unavailable).await;
            let clock = &bench.lane.context.health.clock;
            let now = now_ms();
            clock.saw((now / 1000, 0), std::time::Instant::now());
            let (mut delivery, _end) = bench.delivery(TopicKind::Input, "ok-1");
            crate::clock::set_by(-3_600_000);
            assert!((clock.now_ms() - now).abs() < 60_000, "the shared clock goes on");
            let mut guard = None;
            {
                let mut attempt = Box::pin(attempt(&mut delivery, &bench.lane, &mut guard));
                let waits = tokio::time::timeout(Duration::from_millis(300), &mut attempt).await.is_err();
                crate::clock::set_by(0);
                assert!(waits && bench.sent().is_empty(), "{when_unavailable:?}");
                assert!(matches!(attempt.await, Ok(Progress::Accepted(_))), "{when_unavailable:?}");
            }
            assert_eq!((bench.sent().len(), bench.resends_counted()), (1, 0));
            delivery.ack.complete(End::Returned);
        }
    });
}

/// The clock is set back while the claim is on its way to Redis: the event would lie in the future.
#[test]
fn an_event_is_not_judged_by_a_clock_that_was_set_during_its_claim() {
    run(async {
        for unavailable in [WhenUnavailable::Hold, WhenUnavailable::Deliver] {
            let bench = Bench::new(|s| s.account.when_unavailable = unavailable).await;
            bench.lane.context.health.clock.saw((now_ms() / 1000, 0), std::time::Instant::now());
            let (mut delivery, _end) = bench.delivery(TopicKind::Input, "ok-1");
            let step = async {
                crate::clock::set_by(-3_600_000);
                sleep(Duration::from_millis(300)).await;
                assert!(bench.sent().is_empty());
                crate::clock::set_by(0);
            };
            // The claim's command is sent before the step.
            let ((result, guard), ()) = tokio::join!(biased; attempted(&bench, &mut delivery), step);
            assert!(matches!(result, Ok(Progress::Accepted(_))), "it was judged by the wrong clock");
            assert!(!guard.unwrap().claim.resend, "the first claim was released");
            assert_eq!((bench.sent().len(), bench.resends_counted()), (1, 0));
            delivery.ack.complete(End::Returned);
        }
    });
}

/// Two platforms said that the clock is an hour behind, and none has been heard since. The worker sends to find out,
/// and refuses no event by its own clock alone.
#[test]
fn after_a_hold_by_dates_that_fell_silent_an_event_is_sent_whose_time_is_right_by_either_clock() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        let clock = &bench.lane.context.health.clock;
        let (mut delivery, _end) = bench.delivery(TopicKind::Input, "ok-1");
        crate::clock::set_by(-3_600_000);
        for host in ["a.example", "b.example"] {
            clock.saw_date(&host.into(), host, now_ms() + 3_600_000, std::time::Instant::now());
        }
        {
            let mut attempt = Box::pin(attempted(&bench, &mut delivery));
            let waits = tokio::time::timeout(Duration::from_millis(300), &mut attempt).await.is_err();
            assert!(waits && bench.sent().is_empty());
            crate::clock::pass(Duration::from_secs(600));
            let (result, _held) = attempt.await;
            assert!(matches!(result, Ok(Progress::Accepted(_))), "{:?}", result.err());
        }
        delivery.ack.complete(End::Returned);
        // Once a platform has said that the clock is right, it alone judges.
        clock.saw_date(&"a.example".into(), "a.example", now_ms(), std::time::Instant::now());
        let (mut delivery, _end) = bench.delivery(TopicKind::Input, "ok-2");
        let Subject::Ready(ready) = &mut delivery.subject else { panic!("not ready") };
        ready.event_time_ms = now_ms() + 3_600_000;
        let (result, _held) = attempted(&bench, &mut delivery).await;
        assert!(matches!(&result, Err(DeliveryError::Invalid(f)) if f.field == "event_time_ms"), "{:?}", result.err());
        crate::clock::set_by(0);
        delivery.ack.complete(End::Returned);
    });
}

/// Trap K25: if the broker does not confirm commits, another member may own the partition and send the same records.
#[test]
fn while_no_commit_is_confirmed_nothing_is_claimed_or_sent_and_then_it_goes_on() {
    run(async {
        for account_delivers in [false, true] {
            let bench = Bench::new(|setting| {
                if account_delivers {
                    setting.account.when_unavailable = WhenUnavailable::Deliver;
                }
            })
            .await;
            let (mut delivery, _end) = bench.delivery(TopicKind::Input, "ok-1");
            let ack = delivery.ack.assignment().clone();
            ack.set_unconfirmed(true);
            {
                let attempt = attempted(&bench, &mut delivery);
                let mut attempt = std::pin::pin!(attempt);
                let early = tokio::time::timeout(Duration::from_millis(700), &mut attempt).await;
                assert!(early.is_err() && bench.sent().is_empty());
                assert_eq!(bench.value("ok-1").await, None, "not even claimed");
                ack.set_unconfirmed(false);
                let (result, _held) = attempt.await;
                assert!(matches!(result, Ok(Progress::Accepted(_))));
            }
            assert_eq!(bench.sent(), ["ok-1"]);
            delivery.ack.complete(End::Returned);
        }
    });
}

/// Runs as many attempts at once as the account has permits, until all events are delivered.
async fn all_delivered(bench: &Bench, ids: &[String]) {
    let attempts = ids.iter().map(async |id| {
        let (mut delivery, _end) = bench.delivery(TopicKind::Input, id);
        let (result, _held) = attempted(bench, &mut delivery).await;
        assert!(matches!(result, Ok(Progress::Accepted(_))), "{:?}", result.err());
        delivery.ack.complete(End::Returned);
    });
    let permits = bench.lane.account.limits.concurrency;
    futures_util::stream::iter(attempts).buffer_unordered(permits).collect::<Vec<()>>().await;
}

#[test]
fn connections_that_take_long_never_make_requests_bunch_above_the_rate() {
    const EVERY: Duration = Duration::from_millis(100);
    run(async {
        let bench = Bench::new(|s| {
            s.account.limits.rps = 10.0;
            s.account.limits.connect_timeout = Duration::from_secs(20);
            s.before_handshake = Some(Box::new(|| std::thread::sleep(Duration::from_millis(400))));
        })
        .await;
        let ids: Vec<_> = (0..20).map(|n| format!("ok-{n}")).collect();
        all_delivered(&bench, &ids).await;
        let mut arrivals = bench.server.arrivals();
        arrivals.sort();
        assert_eq!(arrivals.len(), ids.len());
        // A slot may be used up to 50 ms after its time, and on a busy machine a request may be late.
        for five in arrivals.windows(5) {
            let took = five[4].duration_since(five[0]);
            assert!(took >= 4 * EVERY - Duration::from_millis(130), "five requests in {took:?}: {arrivals:?}");
        }
    });
}

#[test]
fn only_those_whose_slot_is_near_keep_a_connection_waiting() {
    run(async {
        let bench = Bench::new(|s| (s.account.limits.rps, s.account.limits.concurrency) = (2.0, 10)).await;
        let ids: Vec<_> = (0..10).map(|n| format!("ok-{n}")).collect();
        all_delivered(&bench, &ids).await;
        // Five requests may wait for one connection each, and the earlier one may still be in flight.
        let made = bench.server.connections();
        assert!(made <= 6, "{made} connections for two requests a second");
    });
}

#[test]
fn a_connection_that_closes_while_its_slot_is_waited_for_is_made_anew() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        all_delivered(&bench, &["brief-1".into()]).await;
        bench.lane.limiter.push_back(Duration::from_millis(1500)).await.unwrap();
        let (mut delivery, _end) = bench.delivery(TopicKind::Input, "ok-2");
        let (result, _held) = attempted(&bench, &mut delivery).await;
        assert!(matches!(result, Ok(Progress::Accepted(_))), "{:?}", result.err());
        assert_eq!(delivery.envelope.attempts, 1, "what the wait has cost is no attempt");
        assert_eq!((bench.sent().len(), bench.server.connections()), (2, 2));
        delivery.ack.complete(End::Returned);
    });
}

/// The thread stands still, as the whole process does after SIGSTOP, while the platform's TLS handshake is slow.
#[test]
fn a_process_that_stood_still_while_it_connected_sends_nothing_under_its_old_claim() {
    run(async {
        let (let_go, barrier) = std::sync::mpsc::channel::<()>();
        let barrier = std::sync::Mutex::new(barrier);
        let bench = Bench::new(|s| {
            s.account.limits.timeout = Duration::from_secs(2);
            s.account.limits.connect_timeout = Duration::from_secs(2);
            s.lease = Duration::from_millis(6_000);
            s.before_handshake = Some(Box::new(move || {
                let _ = barrier.lock().unwrap().recv();
            }));
        })
        .await;
        let (mut delivery, _end) = bench.delivery(TopicKind::Input, "ok-1");
        let mut before = None;
        let stop = async {
            eventually("it connects", async || bench.server.connections() > 0).await;
            before = bench.value("ok-1").await;
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(3));
                drop(let_go);
            });
            std::thread::sleep(Duration::from_secs(7));
            assert!(bench.sent().is_empty());
        };
        let ((result, guard), ()) = tokio::join!(attempted(&bench, &mut delivery), stop);
        assert!(matches!(result, Ok(Progress::Accepted(_))), "{:?}", result.err());
        let Some(Value::Claimed { token, .. }) = before else { panic!("it was not claimed: {before:?}") };
        let claim = guard.unwrap().claim;
        assert_ne!(claim.token.to_string(), token, "sent under the claim that another may have taken over");
        assert_eq!((bench.sent().len(), bench.resends_counted()), (1, 0));
        delivery.ack.complete(End::Returned);
    });
}
