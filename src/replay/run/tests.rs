use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::batch::Reading;
use super::*;
use crate::claim::value::origin_tag;
use crate::clock::now_ms;
use crate::inspect::dead_letters::{Filter, State as LetterState};
use crate::operate::audit::{AuditRecord, Change, push};
use crate::operate::lanes as switches;
use crate::quiet::QuietKinds;
use crate::replay::bench::{Bench, by};
use crate::replay::judge::Rules;
use crate::replay::places::Place;
use crate::replay::store::progress::Did;
use crate::replay::view::{ReplayView, Request, State, Waiting};

const LONG: Duration = Duration::from_secs(60);
/// How long a busy machine may take for what an idle one does at once.
const PATIENCE: Duration = Duration::from_secs(300);

fn everything(rate: u32) -> Request {
    let filter = Filter { everything: true, ..Filter::default() };
    Request { filter, rate: Some(rate), ..Request::default() }
}

/// Lets a runner go on until the condition holds, and then stops it as a process that shuts down does.
async fn until(bench: &Bench, id: &str, mut is_so: impl FnMut(&ReplayView) -> bool) -> ReplayView {
    let (stop, stopped) = watch::channel(false);
    let runner = bench.runner();
    let look = async {
        let until = Instant::now() + PATIENCE;
        loop {
            // A machine that is busy may let an answer come too late.
            let view = bench.replays.get(id).await;
            if let Ok(view) = &view
                && is_so(view)
            {
                return view.clone();
            }
            assert!(Instant::now() < until, "it never came: {view:?}");
            sleep(Duration::from_millis(25)).await;
        }
    };
    let ended = async {
        let view = look.await;
        stop.send(true).unwrap();
        view
    };
    tokio::join!(runner.keep(stopped), ended).1
}

fn letters(account: &'static str, n: usize) -> Vec<(&'static str, &'static str, String)> {
    (0..n).map(|i| (account, "rejected", format!("{account}-{i:04}"))).collect()
}

fn balanced(view: &ReplayView) {
    let skipped: u64 = view.skipped.values().sum();
    let failed: u64 = view.failed.values().sum();
    assert_eq!(view.selected, view.republished + skipped + failed, "{view:?}");
}

/// The metric of republished, skipped and failed dead letters.
fn counted(bench: &Bench) -> [f64; 3] {
    let text = bench.metrics.render();
    ["republished", "skipped", "failed"].map(|result| {
        let line = format!("postback_replay_records_total{{result=\"{result}\"}} ");
        text.lines().find_map(|one| one.strip_prefix(&line)).unwrap().parse().unwrap()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_publishes_each_once_and_counts_what_it_skips() {
    let mut bench = Bench::new(1_000.0).await;
    bench.dead_letters(&[letters("a", 30), letters("b", 5), vec![("a", "conflict", "c-1".into())]].concat());
    let plan = bench.replays.plan(&everything(1_000), &by(), LONG).await.unwrap();
    // One is delivered between plan and run.
    let key = crate::claim::rules::Key::new(crate::stub::PLATFORM, "a", "ORDER", "a-0003");
    let judged = { bench.setup.previewer.foresee(&bench.dead_letter("a-0003"), &bench.envelope("a-0003"), now_ms()) };
    let done = (judged.claim.unwrap().1 << 23).to_string();
    let () = ::redis::cmd("SET").arg(key.name("pb")).arg(done).query_async(&mut bench.c).await.unwrap();
    bench.replays.run(&plan.id, &by()).await.unwrap();
    let view = until(&bench, &plan.id, |view| view.state == State::Completed).await;
    balanced(&view);
    assert_eq!((view.selected, view.republished, view.left), (36, 34, 0));
    assert_eq!((view.skipped["conflict"], view.skipped["confirmed"], view.outcomes.open), (1, 1, 34));
    assert_eq!(counted(&bench), [34.0, 2.0, 0.0], "the skip that the plan knew counts as well");
    let published = bench.published();
    let keys: std::collections::BTreeSet<&str> = published.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!((published.len(), keys.len(), keys.contains("a-0003")), (34, 34, false));
    let (_, envelope) = &published[0];
    assert_eq!(envelope.replay.as_ref().map(|r| (r.id.as_str(), r.replays)), Some((plan.id.as_str(), 1)));
    // A second plan finds nothing that is open but what was skipped.
    let again = bench.replays.plan(&everything(50), &by(), LONG).await.unwrap();
    assert_eq!((again.selected, again.left), (2, 0));
    // The ones that were replayed can be meant.
    let filter = Filter { everything: true, state: Some(LetterState::Replayed), ..Filter::default() };
    let request = Request { filter, ..Request::default() };
    assert_eq!(bench.replays.plan(&request, &by(), LONG).await.unwrap().left, 34);
}

/// A busy machine publishes later than this, but not earlier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kafka_refuses_is_counted_one_by_one_and_logged_once_a_minute() {
    let mut bench = Bench::new(1_000.0).await;
    bench.dead_letters(&letters("a", 30));
    let plan = bench.replays.plan(&everything(1_000), &by(), LONG).await.unwrap();
    bench.replays.run(&plan.id, &by()).await.unwrap();
    bench.forbid_input();
    let sink = crate::telemetry::tests::Sink::default();
    let guard = sink.listen();
    let view = until(&bench, &plan.id, |view| view.state == State::Completed).await;
    drop(guard);
    balanced(&view);
    assert_eq!((view.republished, view.failed["refused"]), (0, 30));
    let text = sink.text();
    let lines = text.lines().filter(|line| line.contains("kafka refuses a replayed record"));
    assert_eq!(lines.count(), 1, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_published_one_after_the_other_and_not_in_bursts() {
    let mut bench = Bench::new(1_000.0).await;
    bench.dead_letters(&letters("a", 20));
    let rules = Rules { force: false, window: bench.setup.window, forgotten_ms: None, now_ms: now_ms() };
    let taken: Vec<(Arc<str>, Place)> = (0..20).map(|n| ("a".into(), (n % 2, i64::from(n / 2)))).collect();
    let judged = Reading::default().judge(&bench.setup, rules, &taken).await.unwrap();
    let (began, until) = (now_ms(), Instant::now() + Duration::from_millis(1_000));
    let published = batch::publish((&bench.producer, &QuietKinds::default()), ("r", false), judged, until).await;
    assert_eq!(published.done.iter().filter(|done| done.did == Did::Republished).count(), 20);
    let at = bench.published_at();
    let early = at.iter().zip(0..).find(|(at, n)| **at - began < n * 50 - 5);
    assert_eq!((at.len(), early), (20, None), "50 ms apart: {at:?} from {began} on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_not_faster_than_its_rate() {
    let mut bench = Bench::new(1_000.0).await;
    bench.dead_letters(&letters("a", 60));
    let plan = bench.replays.plan(&everything(50), &by(), LONG).await.unwrap();
    let began = now_ms();
    bench.replays.run(&plan.id, &by()).await.unwrap();
    until(&bench, &plan.id, |view| view.state == State::Completed).await;
    let at = bench.published_at();
    // One to begin with, and then at most 20 in one go, however late a tick is: the other 39 take 780 ms.
    assert_eq!(at.len(), 60);
    assert!(at[59] - began >= 780, "{began}: {at:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_plans_of_one_letter_publish_it_once() {
    let mut bench = Bench::new(1_000.0).await;
    bench.dead_letters(&letters("a", 3));
    let first = bench.replays.plan(&everything(100), &by(), LONG).await.unwrap();
    let second = bench.replays.plan(&everything(100), &by(), LONG).await.unwrap();
    for (id, republished, skipped) in [(&first.id, 3, 0), (&second.id, 0, 3)] {
        bench.replays.run(id, &by()).await.unwrap();
        let view = until(&bench, id, |view| view.state == State::Completed).await;
        let counted = view.skipped.get("replayed").copied().unwrap_or(0);
        assert_eq!((view.republished, counted), (republished, skipped));
        balanced(&view);
    }
    assert_eq!(bench.published().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_resume_and_another_rate_are_obeyed_while_it_runs() {
    let mut bench = Bench::new(1_000.0).await;
    bench.dead_letters(&[letters("a", 200), vec![("a", "conflict", "c-1".into())]].concat());
    let plan = bench.replays.plan(&everything(4), &by(), LONG).await.unwrap();
    bench.replays.run(&plan.id, &by()).await.unwrap();
    until(&bench, &plan.id, |view| view.republished >= 3).await;
    bench.replays.cancel(&plan.id, &by()).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let view = bench.replays.get(&plan.id).await.unwrap();
    assert_eq!((view.state, view.republished as usize), (State::Cancelled, bench.published().len()));
    assert!(view.republished < 100, "{}", view.republished);
    bench.replays.resume(&plan.id, &by()).await.unwrap();
    bench.replays.rate(&plan.id, 5_000, &by()).await.unwrap();
    let view = until(&bench, &plan.id, |view| view.state == State::Completed).await;
    balanced(&view);
    assert_eq!((view.republished, bench.published().len()), (200, 200));
    assert_eq!(counted(&bench), [200.0, 1.0, 0.0], "what the plan left out counts once, whoever goes on");
    assert!(!view.outcomes.at_least && !view.outcomes.taken_over, "a runner that stopped in order is no kill");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_lane_waits_and_says_why_while_another_account_goes_on() {
    let mut bench = Bench::new(1_000.0).await;
    bench.dead_letters(&[letters("a", 10), letters("b", 10)].concat());
    switches::pause(&mut bench.c, &bench.setup.keys, "a", &by(), 1).await.unwrap();
    let plan = bench.replays.plan(&everything(1_000), &by(), LONG).await.unwrap();
    bench.replays.run(&plan.id, &by()).await.unwrap();
    let view = until(&bench, &plan.id, |view| view.republished == 10 && !view.waiting.is_empty()).await;
    assert_eq!(view.waiting, [Waiting { account: "a".into(), why: "its lane is paused: platform is back".into() }]);
    assert!(bench.published().iter().all(|(key, _)| key.starts_with("b-")));
    switches::resume(&mut bench.c, &bench.setup.keys, "a", &by(), 2).await.unwrap();
    balanced(&until(&bench, &plan.id, |view| view.state == State::Completed).await);
    assert_eq!(bench.published().len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_one_second_of_an_account_is_under_way() {
    let mut bench = Bench::new(5.0).await;
    bench.dead_letters(&letters("a", 12));
    let plan = bench.replays.plan(&everything(1_000), &by(), LONG).await.unwrap();
    bench.replays.run(&plan.id, &by()).await.unwrap();
    let view = until(&bench, &plan.id, |view| view.republished >= 5).await;
    assert_eq!(view.republished, 5);
    bench.ended(&plan.id, "a", 5).await;
    let view = until(&bench, &plan.id, |view| view.republished >= 10).await;
    assert_eq!((view.republished, view.outcomes.delivered, view.outcomes.open), (10, 5, 5));
    bench.ended(&plan.id, "a", 5).await;
    balanced(&until(&bench, &plan.id, |view| view.state == State::Completed).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_brake_stops_a_run_and_resume_goes_on() {
    let mut bench = Bench::new(5.0).await;
    bench.dead_letters(&letters("a", 8));
    let plan = bench.replays.plan(&everything(1_000), &by(), LONG).await.unwrap();
    bench.replays.run(&plan.id, &by()).await.unwrap();
    until(&bench, &plan.id, |view| view.republished == 5).await;
    let brake = r#"{"reason":"rejected","sample":{"trans_id":"a-…","code":"3"}}"#;
    let key = bench.setup.keys.replay_outcomes(&plan.id);
    let () = ::redis::cmd("HSET").arg(&key).arg("brake").arg(brake).query_async(&mut bench.c).await.unwrap();
    let view = until(&bench, &plan.id, |view| view.state == State::StoppedItself).await;
    let stopped = view.stopped.unwrap();
    assert_eq!((stopped.reason.as_str(), stopped.sample.unwrap().code.as_str()), ("rejected", "3"));
    bench.ended(&plan.id, "a", 5).await;
    bench.replays.resume(&plan.id, &by()).await.unwrap();
    balanced(&until(&bench, &plan.id, |view| view.state == State::Completed).await);

    // Without a brake it goes on whatever comes back.
    let request = Request { no_brake: true, ..everything(1_000) };
    bench.dead_letters(&letters("b", 3));
    let plan = bench.replays.plan(&request, &by(), LONG).await.unwrap();
    let key = bench.setup.keys.replay_outcomes(&plan.id);
    bench.replays.run(&plan.id, &by()).await.unwrap();
    let () = ::redis::cmd("HSET").arg(&key).arg("brake").arg(brake).query_async(&mut bench.c).await.unwrap();
    until(&bench, &plan.id, |view| view.state == State::Completed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_dies_is_followed_by_another_one_and_nothing_is_counted_twice() {
    let mut bench = Bench::new(1_000.0).await;
    bench.dead_letters(&letters("a", 120));
    let plan = bench.replays.plan(&everything(100), &by(), LONG).await.unwrap();
    bench.replays.run(&plan.id, &by()).await.unwrap();
    for killed in 1..=4_u64 {
        let (_stop, stopped) = watch::channel(false);
        let runner = bench.runner();
        // Dropped wherever it is: between publishing and counting, too.
        let _ = tokio::time::timeout(Duration::from_millis(700 + killed * 37), runner.keep(stopped)).await;
        // The lock would expire after 30 s.
        let () = ::redis::cmd("DEL").arg(bench.setup.keys.replay_lock()).query_async(&mut bench.c).await.unwrap();
    }
    let view = until(&bench, &plan.id, |view| view.state == State::Completed).await;
    balanced(&view);
    assert_eq!(view.republished, 120);
    assert!(view.outcomes.at_least && view.outcomes.taken_over, "outcomes may be counted twice");
    let keys: std::collections::BTreeSet<String> = bench.published().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 120);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_runner_published_and_did_not_count_is_counted_by_the_next_one() {
    let mut bench = Bench::new(1_000.0).await;
    bench.dead_letters(&letters("a", 30));
    let plan = bench.replays.plan(&everything(1_000), &by(), LONG).await.unwrap();
    // Both were delivered meanwhile: the first as what it is, the second as a copy of it from elsewhere.
    let elsewhere =
        (0..).map(|n| format!("conversions:9:{n}")).find(|o| origin_tag(o) != origin_tag("conversions:0:4")).unwrap();
    for (trans_id, origin) in [("a-0003", "conversions:0:3"), ("a-0004", &elsewhere)] {
        let key = crate::claim::rules::Key::new(crate::stub::PLATFORM, "a", "ORDER", trans_id);
        let letter = bench.dead_letter(trans_id);
        let fingerprint = bench.setup.previewer.foresee(&letter, &bench.envelope(trans_id), now_ms()).claim.unwrap().1;
        let done = (fingerprint << 23 | origin_tag(origin)).to_string();
        let () = ::redis::cmd("SET").arg(key.name("pb")).arg(done).query_async(&mut bench.c).await.unwrap();
    }
    let runner = bench.setup.keys.replay(&plan.id);
    let () = ::redis::cmd("HSET").arg(runner).arg("runner").arg("killed").query_async(&mut bench.c).await.unwrap();
    bench.replays.run(&plan.id, &by()).await.unwrap();
    let view = until(&bench, &plan.id, |view| view.state == State::Completed).await;
    balanced(&view);
    assert_eq!((view.republished, view.skipped["confirmed"], bench.published().len()), (29, 1, 28), "{view:?}");
    // It is no open dead letter any more.
    let again = bench.replays.plan(&everything(50), &by(), LONG).await.unwrap();
    assert_eq!((again.selected, again.refused["confirmed"]), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_and_its_places_are_kept_as_long_as_it_lasts_and_after_a_cancel() {
    let mut bench = Bench::new(1_000.0).await;
    bench.dead_letters(&letters("a", 9));
    let plan = bench.replays.plan(&everything(2), &by(), LONG).await.unwrap();
    bench.replays.run(&plan.id, &by()).await.unwrap();
    let keys = [bench.setup.keys.replay(&plan.id), bench.setup.keys.replay_places(&plan.id)];
    let mut c = bench.c.clone();
    let mut is_kept = async |life: Option<i64>| {
        let mut left = Vec::new();
        for key in &keys {
            if let Some(life) = life {
                let () = ::redis::cmd("PEXPIRE").arg(key).arg(life).query_async(&mut c).await.unwrap();
            }
            left.push(::redis::cmd("PTTL").arg(key).query_async::<i64>(&mut c).await.unwrap());
        }
        left.into_iter().all(|left| left > 60_000)
    };
    assert!(!is_kept(Some(60_000)).await);
    until(&bench, &plan.id, |view| view.republished > 1).await;
    assert!(is_kept(None).await, "it runs");
    assert!(!is_kept(Some(60_000)).await);
    bench.replays.cancel(&plan.id, &by()).await.unwrap();
    assert!(is_kept(None).await, "it can be resumed for as long as it is shown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_discarded_between_plan_and_run_is_skipped() {
    let mut bench = Bench::new(1_000.0).await;
    bench.dead_letters(&letters("a", 6));
    let discard = |items: &[&str]| {
        // By the clock of the operator's machine, the plan is not made yet.
        let entry = AuditRecord::new(Change::Discard, &by(), now_ms() - 60_000);
        AuditRecord { items: items.iter().map(|item| (*item).to_owned()).collect(), ..entry }
    };
    let of = |items: &[&str]| Request { items: items.iter().map(|i| (*i).to_owned()).collect(), ..Request::default() };
    let plan = bench.replays.plan(&everything(1_000), &by(), LONG).await.unwrap();
    let mut pipe = ::redis::pipe();
    push(&mut pipe, &bench.setup.keys, &discard(&["0:1", "1:2"]));
    let () = pipe.query_async(&mut bench.c).await.unwrap();
    // Named one by one, a discarded letter is refused as well.
    let named = bench.replays.plan(&of(&["0:1", "0:2"]), &by(), LONG).await.unwrap();
    assert_eq!((named.refused["discarded"], named.left), (1, 1));
    bench.replays.run(&plan.id, &by()).await.unwrap();
    let view = until(&bench, &plan.id, |view| view.state == State::Completed).await;
    balanced(&view);
    assert_eq!((view.republished, view.skipped["discarded"]), (4, 2));
    assert!(["0:1", "1:2"].contains(&view.samples["discarded"].as_str()));
    // A plan of discarded ones has judged by this discard.
    let filter = Filter { everything: true, state: Some(LetterState::Discarded), ..Filter::default() };
    let meant = bench.replays.plan(&Request { filter, ..Request::default() }, &by(), LONG).await.unwrap();
    bench.replays.run(&meant.id, &by()).await.unwrap();
    let view = until(&bench, &meant.id, |view| view.state == State::Completed).await;
    assert_eq!((view.selected, view.republished), (2, 2), "{view:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_no_worker_wrote_is_named_and_the_run_begins_once_it_is_gone() {
    let mut bench = Bench::new(1_000.0).await;
    bench.dead_letters(&letters("a", 3));
    let plan = bench.replays.plan(&everything(1_000), &by(), LONG).await.unwrap();
    let lock = bench.setup.keys.replay_lock();
    let mut c = bench.c.clone();
    let () = ::redis::cmd("LPUSH").arg(&lock).arg("x").query_async(&mut c).await.unwrap();
    bench.replays.run(&plan.id, &by()).await.unwrap();
    until(&bench, &plan.id, |_| bench.foreign.names() == std::slice::from_ref(&lock)).await;
    let () = ::redis::cmd("DEL").arg(&lock).query_async(&mut c).await.unwrap();
    balanced(&until(&bench, &plan.id, |view| view.state == State::Completed).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_marks_have_expired_fails_and_publishes_nothing_twice() {
    let mut bench = Bench::new(5.0).await;
    bench.dead_letters(&[letters("a", 12), vec![("a", "conflict", "c-1".into())]].concat());
    let plan = bench.replays.plan(&everything(1_000), &by(), LONG).await.unwrap();
    bench.replays.run(&plan.id, &by()).await.unwrap();
    until(&bench, &plan.id, |view| view.republished == 5).await;
    let keys = bench.setup.keys.clone();
    // A runner that finds all of its marks goes on.
    let view = until(&bench, &plan.id, |view| view.republished == 5 && view.state == State::Running).await;
    assert_eq!(view.skipped["conflict"], 1);
    let () = ::redis::cmd("DEL").arg(keys.replay_done(&plan.id, 0, 0)).query_async(&mut bench.c).await.unwrap();
    bench.ended(&plan.id, "a", 5).await;
    let view = until(&bench, &plan.id, |view| view.state == State::Failed).await;
    assert!(view.stopped.unwrap().reason.contains("make a new plan"));
    assert_eq!(bench.published().len(), 5);
    bench.replays.resume(&plan.id, &by()).await.unwrap();
    until(&bench, &plan.id, |view| view.state == State::Failed).await;
    assert_eq!(bench.published().len(), 5);
}
