//! A lane whose platform accepts nothing without a valid token. At the end of each test the ledger balances: the
//! platform has accepted each event once, and its receipt says one attempt and no second send.

use super::*;
use crate::account::WhenUnavailable;
use crate::claim::rules::Value;
use crate::clock::now_ms;
use crate::delivery::TopicKind;
use crate::delivery::progress::End;
use crate::error::{Class, Outcome, Reason};
use crate::stub::bench::{Bench, DEAD, Ended, PARKED, RECEIPTS, Setting, TIER_5S, eventually, run};
use crate::stub::tokens::{Issuer, State, Tokened};
use std::sync::Arc;
use tokio::task::spawn_local;

const DELIVERED: End = End::Finished(Outcome::Delivered);

/// A bench whose platform takes `items` events per request, and the issuer that knows its tokens.
async fn bench(
    items: usize,
    issuer: impl FnOnce(&mut State),
    edit: impl FnOnce(&mut Setting),
) -> (Bench, std::sync::Arc<Issuer>) {
    let issuer = Issuer::new(issuer);
    let setting = |setting: &mut Setting| {
        setting.account.sender = Some(Arc::new(Tokened { items }));
        setting.issuer = Some(issuer.clone());
        edit(setting);
    };
    (Bench::new(setting).await, issuer)
}

fn refuses_the_seed(state: &mut State) {
    state.refused.insert("access-0".to_owned());
}

async fn all_delivered(ends: &mut [Ended]) {
    for end in ends {
        assert_eq!(end.wait().await, DELIVERED);
    }
}

/// Checks that all events were accepted once, with one of these tokens, after one attempt each.
fn balances(bench: &Bench, issuer: &Issuer, ids: &[String], tokens: &[&str]) {
    let receipts = bench.published(RECEIPTS);
    for id in ids {
        let with: Vec<_> = issuer.state().taken.iter().filter(|(of, _)| of == id).map(|(_, t)| t.clone()).collect();
        assert!(with.len() == 1 && tokens.contains(&&*with[0]), "{id} was taken with {with:?}");
        let of: Vec<_> = receipts.iter().filter(|p| p.is_of(id)).collect();
        let [receipt] = &of[..] else { panic!("{id} has {} receipts", of.len()) };
        let receipt: serde_json::Value = serde_json::from_slice(&receipt.value).unwrap();
        let said = (&receipt["outcome"], &receipt["attempts"], &receipt["resends"]);
        assert_eq!(said, (&"delivered".into(), &1.into(), &0.into()), "{id}");
    }
    assert_eq!((bench.count(TIER_5S), bench.count(PARKED), bench.count(DEAD), bench.resends_counted()), (0, 0, 0, 0));
}

fn ids(beginning: &str, n: usize) -> Vec<String> {
    (0..n).map(|n| format!("{beginning}-{n}")).collect()
}

fn queued(bench: &Bench, ids: &[String]) -> Vec<Ended> {
    ids.iter().map(|id| bench.send(TopicKind::Input, id)).collect()
}

#[test]
fn several_records_whose_token_is_refused_wait_for_one_refresh_and_are_sent_once_more() {
    run(async {
        let all_at_once = |s: &mut State| {
            refuses_the_seed(s);
            (s.refuses_together, s.holds_tokens) = (8, true);
        };
        let (mut bench, issuer) = bench(1, all_at_once, |_| {}).await;
        let ids = ids("e", 8);
        let mut ends = queued(&bench, &ids);
        bench.start();
        eventually("they are refused", async || issuer.state().asked == 1).await;
        assert!(bench.value("e-0").await.is_some_and(|v| matches!(v, Value::Claimed { .. })), "it keeps its claim");
        issuer.state().holds_tokens = false;
        all_delivered(&mut ends).await;
        assert_eq!(issuer.state().asked, 1);
        assert_eq!(issuer.state().events, 2 * 8, "each is sent once more");
        balances(&bench, &issuer, &ids, &["access-1"]);
    });
}

#[test]
fn a_token_is_refreshed_ahead_of_its_end_while_events_flow() {
    run(async {
        let life = |s: &mut State| {
            refuses_the_seed(s);
            s.life = Duration::from_secs(6);
        };
        let (mut bench, issuer) = bench(1, life, |_| {}).await;
        bench.start();
        let mut sent = ids("e", 1);
        all_delivered(&mut queued(&bench, &sent)).await;
        // The next refresh takes long, and the token in force is used meanwhile.
        issuer.state().holds_tokens = true;
        eventually("it is refreshed", async || issuer.state().asked == 2).await;
        let meanwhile = ids("meanwhile", 3);
        all_delivered(&mut queued(&bench, &meanwhile)).await;
        assert!(issuer.state().taken.iter().all(|(_, token)| token == "access-1"));
        issuer.state().holds_tokens = false;
        let mut n = 0;
        eventually("the new one is in force", async || {
            n += 1;
            let next = ids(&format!("later{n}"), 1);
            all_delivered(&mut queued(&bench, &next)).await;
            sent.extend(next);
            issuer.state().taken.iter().any(|(_, token)| token == "access-2")
        })
        .await;
        sent.extend(meanwhile);
        assert_eq!(bench.server.requests().len(), sent.len() + 3, "one refusal, and two token requests");
        balances(&bench, &issuer, &sent, &["access-1", "access-2"]);
    });
}

#[test]
fn a_batch_whose_token_is_refused_is_sent_once_more_as_a_whole_or_only_those_that_were_refused() {
    run(async {
        let all = ["stale-1", "ok-2", "stale-3", "ok-4"].map(str::to_owned);
        for (by_item, again) in [(false, all.join("\n")), (true, "stale-1\nstale-3".to_owned())] {
            let edit = |s: &mut Setting| s.account.limits.concurrency = 1;
            let state = |s: &mut State| (refuses_the_seed(s), s.by_item = by_item).1;
            let (mut bench, issuer) = bench(5, state, edit).await;
            let mut ends = queued(&bench, &all);
            bench.start();
            all_delivered(&mut ends).await;
            assert_eq!(bench.sent(), [all.join("\n"), "refresh-0".to_owned(), again], "by item: {by_item}");
            balances(&bench, &issuer, &all, &["access-0", "access-1"]);
        }
    });
}

#[test]
fn an_answer_counts_although_the_lane_closes_while_the_next_try_waits_for_a_token() {
    run(async {
        for items in [1, 5] {
            let issuer = |s: &mut State| {
                (s.holds_events, s.fails_events, s.holds_tokens) = (true, true, true);
            };
            let retries = |s: &mut Setting| s.account.retry.inline.max_retries = 2;
            let (mut bench, issuer) = bench(items, issuer, retries).await;
            bench.lane.permanents.set(5);
            let mut end = bench.send(TopicKind::Input, "e-1");
            bench.start();
            eventually("its first try is under way", async || issuer.state().events == 1).await;
            let tokens = bench.lane.tokens.clone().unwrap();
            let token = tokens.in_force().unwrap();
            spawn_local(async move { tokens.refused(&mut Turn::default(), &token, &Answer::default()).await });
            eventually("a newer one is asked for", async || issuer.state().asked == 1).await;
            issuer.state().holds_events = false;
            let metrics = bench.lane.account_metrics();
            eventually("its failure is known", async || metrics.attempts_so_far(Class::Retry) == 1).await;
            // An inline delay takes a millisecond at most here.
            sleep(Duration::from_millis(300)).await;
            assert_eq!(end.now(), None, "it waits for its token");
            bench.handle.halt("why");
            assert_eq!(end.wait().await, End::Parked, "{items} per request");
            let sent_and_run = (issuer.state().events, bench.lane.permanents.get());
            assert_eq!(sent_and_run, (1, 0), "its answer ends the run of permanent ones");
            issuer.state().holds_tokens = false;
        }
    });
}

#[test]
fn a_fresh_token_that_is_refused_too_halts_the_account_and_says_what_to_do() {
    run(async {
        for items in [1, 5] {
            let (mut bench, issuer) = bench(items, |s| s.refuses_all = true, |_| {}).await;
            let mut end = bench.send(TopicKind::Input, "e-1");
            bench.start();
            assert_eq!(end.wait().await, End::Parked);
            let reason = bench.alone().halts.try_recv().unwrap().reason;
            assert!(reason.starts_with("re-authorise account acme: "), "{reason}");
            assert_eq!(bench.sent(), ["e-1", "refresh-0", "e-1"]);
            assert_eq!(issuer.state().asked, 1);
            assert!(issuer.state().taken.is_empty());
            let parked = bench.published(PARKED);
            assert!(parked.len() == 1 && matches!(parked[0].text("pb-attempts"), "" | "0"), "{parked:?}");
            assert_eq!(bench.value("e-1").await, None, "its claim is released");
        }
    });
}

/// Nothing is sent for the event, so there is no attempt to count (core.md section 4). Its age ends that.
#[test]
fn a_token_endpoint_that_fails_sends_events_to_a_tier_without_an_attempt_until_they_are_too_old() {
    run(async {
        for items in [1, 5] {
            let expired = |s: &mut State| (refuses_the_seed(s), s.fails_tokens = true).1;
            let (mut bench, issuer) = bench(items, expired, |_| {}).await;
            bench.start();
            assert_eq!(bench.send(TopicKind::Input, "e-1").wait().await, End::Retried);
            let copy = bench.published(TIER_5S).remove(0);
            assert_eq!((copy.text("pb-attempts"), copy.text("pb-pass"), copy.text("pb-last-error")), ("0", "0", ""));
            assert_eq!(bench.value("e-1").await, None, "its claim is released");

            let (mut delivery, mut end) = bench.delivery(TopicKind::Tier, "e-1");
            let max_age = bench.handle.account().retry.max_age.as_millis() as i64;
            delivery.envelope.retry_since_ms = Some(now_ms() - max_age);
            bench.queue(delivery);
            assert_eq!(end.wait().await, End::Finished(Outcome::DeadLettered));
            let dead = bench.published(DEAD).remove(0);
            assert_eq!((dead.reason(), dead.text("pb-attempts")), (Some(Reason::Expired), "0"));
            assert!(issuer.state().taken.is_empty());
        }
    });
}

#[test]
fn a_pair_that_redis_does_not_take_is_not_sent_with_and_holds_the_lane_until_it_is_stored() {
    run(async {
        for items in [1, 5] {
            let (mut bench, issuer) = bench(items, |s| (refuses_the_seed(s), s.holds_tokens = true).1, |_| {}).await;
            let ids = ids("e", 1);
            let mut ends = queued(&bench, &ids);
            bench.start();
            eventually("it is refreshed", async || issuer.state().asked == 1).await;
            // The key holds a value of another kind now, so every write to it is refused.
            let () = bench.redis(&["DEL", "pb:token:acme"]).await;
            let () = bench.redis(&["HSET", "pb:token:acme", "f", "v"]).await;
            issuer.state().holds_tokens = false;
            eventually("it is issued", async || issuer.state().issued == 1).await;
            sleep(Duration::from_millis(700)).await;
            assert_eq!((bench.sent(), ends[0].now()), (vec!["e-0".to_owned(), "refresh-0".to_owned()], None));
            let () = bench.redis(&["DEL", "pb:token:acme"]).await;
            all_delivered(&mut ends).await;
            assert_eq!(issuer.state().asked, 1, "it is stored later, and not asked for again");
            balances(&bench, &issuer, &ids, &["access-1"]);
        }
    });
}

#[test]
fn with_redis_away_the_token_in_memory_goes_on_and_a_refused_one_holds() {
    run(async {
        let delivers = |s: &mut Setting| s.account.when_unavailable = WhenUnavailable::Deliver;
        let (mut bench, issuer) = bench(1, refuses_the_seed, delivers).await;
        bench.start();
        all_delivered(&mut queued(&bench, &ids("before", 1))).await;
        bench.stop_redis();
        eventually("it is noticed", async || {
            let _ = bench.lane.limiter.push_back(Duration::from_millis(1)).await;
            bench.lane.context.health.store_trouble().is_some()
        })
        .await;
        let mut away = bench.send(TopicKind::Input, "away-1");
        eventually("it is sent", async || issuer.state().taken.iter().any(|(id, _)| id == "away-1")).await;
        assert!(issuer.state().taken.iter().all(|(_, token)| token == "access-1"));
        assert_eq!(away.wait().await, DELIVERED);
        issuer.state().refused.insert("access-1".to_owned());
        let mut refused = bench.send(TopicKind::Input, "refused-2");
        eventually("it is refused", async || bench.sent().iter().any(|sent| sent == "refused-2")).await;
        sleep(Duration::from_millis(700)).await;
        let sent = bench.sent().iter().filter(|sent| *sent == "refused-2").count();
        assert_eq!((sent, refused.now(), issuer.state().asked), (1, None, 1));
    });
}
