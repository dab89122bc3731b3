//! Tests the scripts and what is read back, against the store in this process. `tests/store.rs` compares the scripts
//! with those of a real Redis.

use std::collections::BTreeMap;

use super::progress::{Did, Done, Found, Step, advance, release_lock, running, take_lock};
use super::*;
use crate::embedded::store::Store;
use crate::operate::audit::{Change, waiting};
use crate::replay::replays::Replays;
use crate::replay::view::{DEFAULT_RATE, Waiting};

struct World {
    replays: Replays,
    c: MultiplexedConnection,
    keys: Keys,
    _store: Store,
}

impl World {
    async fn new() -> Self {
        let store = Store::start().unwrap();
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let c = crate::redis::connect(&client).await.unwrap();
        let keys = Keys::new("pb");
        Self { replays: Replays::new(client, keys.clone()), c, keys, _store: store }
    }

    /// A plan of ten dead letters, of which two are refused.
    async fn plan(&mut self, id: &str) {
        let plan = Plan {
            filter: serde_json::json!({"reason": "rejected"}),
            end_offsets: [(0, 100)].into(),
            selected: 10,
            refused: [("conflict".to_owned(), 2)].into(),
            accounts: vec!["acme".into()],
            made_at_ms: 5,
            ..Plan::default()
        };
        let by = by("li");
        let draft = Draft { id, plan: &plan, rate: DEFAULT_RATE, by: &by };
        begin_plan(&mut self.c, &self.keys, &draft).await.unwrap();
        keep_plan(&mut self.c, &self.keys, &draft, &[("0:0".into(), vec![1, 0, 7])]).await.unwrap();
    }

    async fn step(&mut self, id: &str, token: &str, done: &[Done], end: Option<State>) -> Found {
        let end = end.map(|state| (state, None));
        let step = Step { done, end, now_ms: 9, ..Step::default() };
        advance(&mut self.c, &self.keys, (id, token), &step).await.unwrap()
    }
}

fn by(who: &str) -> By {
    By::new(Via::Cli, who, "platform is back")
}

fn done(offset: i64, did: Did) -> Done {
    Done { partition: 0, offset, account: "acme".into(), did }
}

#[tokio::test]
async fn a_plan_is_run_once_and_one_replay_at_a_time() {
    let mut world = World::new().await;
    world.plan("a").await;
    world.plan("b").await;
    let view = world.replays.get("a").await.unwrap();
    assert_eq!((view.state, view.selected, view.left, view.skipped.len()), (State::Planned, 10, 8, 0));
    assert_eq!((view.eta_ms, view.by.as_str(), view.refused["conflict"]), (Some(160), "li", 2));
    let view = world.replays.run("a", &by("wang")).await.unwrap();
    assert_eq!((view.state, view.by.as_str(), view.skipped["conflict"], view.left), (State::Running, "wang", 2, 8));
    assert_eq!(running(&mut world.c, &world.keys).await.unwrap().as_deref(), Some("a"));
    let second = world.replays.run("a", &by("li")).await.unwrap_err();
    assert_eq!(second.to_string(), "replay a is running, and only one that is planned can be run");
    let other = world.replays.run("b", &by("li")).await.unwrap_err();
    assert!(other.to_string().starts_with("replay a runs now (started by wang): "), "{other}");
    assert_eq!(world.replays.run("c", &by("li")).await.unwrap_err().status(), 404);
    world.replays.cancel("a", &by("li")).await.unwrap();
    assert_eq!(world.replays.run("b", &by("li")).await.unwrap().state, State::Running);
    let another = world.replays.resume("a", &by("li")).await.unwrap_err();
    assert_eq!((another.code(), another.status()), ("another_runs", 409));
}

#[tokio::test]
async fn every_change_has_its_audit_entry_and_a_refused_one_has_none() {
    let mut world = World::new().await;
    world.plan("a").await;
    world.replays.run("a", &by("li")).await.unwrap();
    let _ = world.replays.run("a", &by("li")).await.unwrap_err();
    world.replays.rate("a", 7, &by("li")).await.unwrap();
    world.replays.cancel("a", &by("li")).await.unwrap();
    world.replays.resume("a", &by("li")).await.unwrap();
    let entries = waiting(&mut world.c, &world.keys).await.unwrap();
    let mut whats: Vec<&str> = entries.iter().map(|entry| entry.what.as_str()).collect();
    whats.sort_unstable();
    let mut wanted =
        [Change::ReplayRun, Change::ReplayRate, Change::ReplayCancel, Change::ReplayResume].map(Change::as_str);
    wanted.sort_unstable();
    assert_eq!(whats, wanted);
    let run = entries.iter().find(|entry| entry.what == "replay run").unwrap();
    assert_eq!((run.subject.as_deref(), run.counts["selected"], run.who.as_str()), (Some("a"), 10, "li"));
    assert_eq!(run.filter, Some(serde_json::json!({"reason": "rejected"})));
    assert_eq!(run.end_offsets, [(0, 100)].into());
}

#[tokio::test]
async fn a_letter_is_counted_once_and_only_by_the_owner_of_the_lock() {
    let mut world = World::new().await;
    world.plan("a").await;
    world.replays.run("a", &by("li")).await.unwrap();
    assert!(take_lock(&mut world.c, &world.keys, "one").await.unwrap());
    assert!(!take_lock(&mut world.c, &world.keys, "two").await.unwrap());
    let batch = [done(1, Did::Republished), done(65_537, Did::Republished), done(3, Did::Skipped("confirmed"))];
    assert_eq!(world.step("a", "two", &batch, None).await, Found::Lost);
    assert_eq!(world.replays.get("a").await.unwrap().republished, 0);
    for _ in 0..2 {
        assert_eq!(world.step("a", "one", &batch, None).await, Found::State(State::Running, DEFAULT_RATE));
        let view = world.replays.get("a").await.unwrap();
        assert_eq!((view.republished, view.skipped["confirmed"], view.left), (2, 1, 5));
    }
    let bit = |name: String| {
        let mut c = world.c.clone();
        async move { ::redis::cmd("GET").arg(name).query_async::<Vec<u8>>(&mut c).await.unwrap() }
    };
    assert_eq!(bit(world.keys.replayed(0, 1)).await, [0b0100_0000]);
    assert_eq!(bit(world.keys.replayed(0, 65_537)).await, [0b0100_0000]);
    assert_eq!(bit(world.keys.replay_done("a", 0, 1)).await, [0b0101_0000]);
    // A batch that was under way when the replay was cancelled was published, and is counted.
    world.replays.cancel("a", &by("li")).await.unwrap();
    let late = [done(5, Did::Republished)];
    assert_eq!(world.step("a", "one", &late, None).await, Found::State(State::Cancelled, DEFAULT_RATE));
    // The end of a run does not overwrite what an operator decided meanwhile.
    assert_eq!(world.step("a", "one", &[], Some(State::Completed)).await, Found::State(State::Cancelled, DEFAULT_RATE));
    assert_eq!(world.replays.get("a").await.unwrap().republished, 3);
    release_lock(&mut world.c, &world.keys, "two").await.unwrap();
    assert!(!take_lock(&mut world.c, &world.keys, "two").await.unwrap());
    release_lock(&mut world.c, &world.keys, "one").await.unwrap();
    assert!(take_lock(&mut world.c, &world.keys, "two").await.unwrap());
}

#[tokio::test]
async fn a_run_that_ends_lets_the_next_one_begin_and_cannot_be_resumed() {
    let mut world = World::new().await;
    world.plan("a").await;
    world.plan("b").await;
    world.replays.run("a", &by("li")).await.unwrap();
    take_lock(&mut world.c, &world.keys, "one").await.unwrap();
    let waits = [Waiting { account: "acme".into(), why: "its lane is paused".into() }];
    let step = Step { waiting: &waits, now_ms: 9, ..Step::default() };
    advance(&mut world.c, &world.keys, ("a", "one"), &step).await.unwrap();
    assert_eq!(world.replays.get("a").await.unwrap().waiting, waits);
    assert_eq!(world.step("a", "one", &[], Some(State::Completed)).await, Found::State(State::Completed, DEFAULT_RATE));
    let view = world.replays.get("a").await.unwrap();
    assert_eq!((view.state, view.ended_ms, view.waiting.len(), view.eta_ms), (State::Completed, Some(9), 0, None));
    for refused in [
        world.replays.resume("a", &by("li")).await,
        world.replays.cancel("a", &by("li")).await,
        world.replays.run("a", &by("li")).await,
        world.replays.rate("a", 5, &by("li")).await,
    ] {
        assert_eq!(refused.unwrap_err().code(), "wrong_state");
    }
    world.replays.run("b", &by("li")).await.unwrap();
    assert_eq!(world.replays.rate("b", 0, &by("li")).await.unwrap_err().field(), Some("rate"));
    assert_eq!(world.replays.rate("b", 9, &by("li")).await.unwrap().rate, 9);
    assert_eq!(world.step("b", "one", &[], None).await, Found::State(State::Running, 9));
    let ids: Vec<String> = world.replays.list().await.unwrap().into_iter().map(|view| view.id).collect();
    assert_eq!(ids, ["b", "a"]);
}

#[tokio::test]
async fn what_stopped_a_run_is_shown_and_forgotten_when_it_goes_on() {
    let mut world = World::new().await;
    world.plan("a").await;
    world.replays.run("a", &by("li")).await.unwrap();
    take_lock(&mut world.c, &world.keys, "one").await.unwrap();
    let stopped = Stopped { reason: "26 of the last 50 were rejected".into(), sample: None };
    let end = Some((State::StoppedItself, Some(stopped.clone())));
    advance(&mut world.c, &world.keys, ("a", "one"), &Step { end, now_ms: 9, ..Step::default() }).await.unwrap();
    let mut pipe = ::redis::pipe();
    pipe.cmd("HSET").arg(world.keys.replay_outcomes("a")).arg(&[("brake", "{}"), ("delivered", "3")]).ignore();
    pipe.cmd("HSET").arg(world.keys.replay_outcomes("a")).arg("dead_lettered:rejected").arg(4).ignore();
    pipe.cmd("HSET").arg(world.keys.replay_outcomes("a")).arg("recent").arg("dead_lettered:rejected ").ignore();
    let () = pipe.query_async(&mut world.c).await.unwrap();
    let view = world.replays.get("a").await.unwrap();
    assert_eq!((view.state, view.stopped), (State::StoppedItself, Some(stopped)));
    world.plan("b").await;
    assert!(newest_has_stopped(&mut world.c, &world.keys).await.unwrap(), "a plan that was only made is no newer run");
    assert_eq!(
        (view.outcomes.delivered, view.outcomes.dead_lettered["rejected"], view.outcomes.at_least),
        (3, 4, true)
    );
    assert!(!view.outcomes.taken_over, "more ends than records tell of no kill");
    let view = world.replays.resume("a", &by("wang")).await.unwrap();
    assert_eq!((view.state, view.stopped, view.by.as_str()), (State::Running, None, "wang"));
    assert!(!newest_has_stopped(&mut world.c, &world.keys).await.unwrap(), "it goes on");
    let left: BTreeMap<String, String> =
        ::redis::cmd("HGETALL").arg(world.keys.replay_outcomes("a")).query_async(&mut world.c).await.unwrap();
    assert!(left.contains_key("delivered"), "{left:?}");
    assert!(!left.contains_key("brake") && !left.contains_key("recent"), "{left:?}");
}

#[tokio::test]
async fn a_plan_that_is_being_made_cannot_be_run_and_one_that_failed_says_why() {
    let mut world = World::new().await;
    let (plan, by) = (Plan { made_at_ms: 5, ..Plan::default() }, by("li"));
    let draft = Draft { id: "a", plan: &plan, rate: 1, by: &by };
    begin_plan(&mut world.c, &world.keys, &draft).await.unwrap();
    plan_goes_on(&mut world.c, &world.keys, "a", &Progress { scanned: 3, total: 9 }).await.unwrap();
    let view = world.replays.get("a").await.unwrap();
    assert_eq!((view.state, view.progress), (State::Planned, Some(Progress { scanned: 3, total: 9 })));
    assert_eq!(world.replays.run("a", &by).await.unwrap_err().code(), "still_planned");
    plan_failed(&mut world.c, &world.keys, "a", "kafka: no broker answers").await.unwrap();
    let view = world.replays.get("a").await.unwrap();
    assert_eq!((view.state, view.progress), (State::Failed, None));
    assert!(view.stopped.unwrap().reason.contains("no broker answers"));
    assert_eq!(world.replays.resume("a", &by).await.unwrap_err().status(), 400);
}

#[tokio::test]
async fn a_replay_that_no_worker_wrote_hides_no_other_one_and_is_named() {
    let mut world = World::new().await;
    world.plan("good").await;
    for words in [
        &["ZADD", "pb:replays", "9", "list"][..],
        &["ZADD", "pb:replays", "9", "garbage"],
        &["ZADD", "pb:replays", "9", "gone"],
        &["LPUSH", "pb:replay:list", "x"],
        &["LPUSH", "pb:replay:garbage:outcomes", "x"],
        &["HSET", "pb:replay:garbage", "state", "planned"],
    ] {
        let () = ::redis::cmd(words[0]).arg(&words[1..]).query_async(&mut world.c).await.unwrap();
    }
    let shown = world.replays.list().await.unwrap();
    assert_eq!(shown.iter().map(|view| view.id.as_str()).collect::<Vec<_>>(), ["good"]);
    let ids: Vec<String> =
        ::redis::cmd("ZREVRANGE").arg("pb:replays").arg(0).arg(-1).query_async(&mut world.c).await.unwrap();
    assert_eq!(ids.len(), 3, "one that has expired is forgotten: {ids:?}");
    let error = world.replays.get("list").await.unwrap_err();
    assert!(error.to_string().contains("\"pb:replay:list\"") && error.status() == 503, "{error}");
    assert!(!newest_has_stopped(&mut world.c, &world.keys).await.unwrap());
    let () = ::redis::cmd("LPUSH").arg("pb:audit:out").arg("x").query_async(&mut world.c).await.unwrap();
    let error = world.replays.run("good", &by("li")).await.unwrap_err();
    assert!(error.to_string().contains("\"pb:audit:out\"") && error.to_string().contains("(DEL)"), "{error}");
}
