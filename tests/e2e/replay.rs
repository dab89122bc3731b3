//! Dead letters are replayed by the workers: what each event comes to, what stops a replay, and what a kill leaves.

use crate::support::event::Event;
use crate::support::ledger::Books;
use crate::support::platform::{Account, Action, Platform, Rule};
use crate::support::worker::Worker;
use crate::support::world::World;
use crate::support::{eventually, http, millis, now_ms, secs, within};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A worker whose dead letters would be delivered today.
struct Scene {
    w: World,
    account: Arc<Account>,
    worker: Worker,
    events: Vec<Event>,
}

/// So many dead letters of events that were too old for the worker of then. They were never sent.
fn scene(name: &str, count: usize, edit: impl FnOnce(&mut World)) -> Scene {
    let mut w = World::new(name);
    let account = w.account("acme-ps", Platform::Qihoo360);
    edit(&mut w);
    w.set("accounts.acme-ps.validate.max_event_age", "30s");
    let mut events = w.make.orders("acme-ps", count);
    events.iter_mut().for_each(|event| event.json["event_time_ms"] = (now_ms() - 120_000).into());
    let mut worker = w.started();
    w.publish(events.clone());
    eventually(secs(120), "all are dead letters", || w.dead_letters().len() >= count);
    worker.stop();
    w.set("accounts.acme-ps.validate.max_event_age", "1d");
    let worker = w.started();
    Scene { w, account, worker, events }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// One request to the API of a worker.
fn ask(worker: &Worker, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let answer = http::request(worker.admin_port, method, &format!("/api/v1{path}"), &[], &text);
    let (status, text) = answer.unwrap_or_else(|| panic!("{method} {path}: no answer"));
    (status, json(&text))
}

/// Plans a replay of all dead letters. Returns the plan.
fn plan(worker: &Worker, rate: u32, no_brake: bool) -> Value {
    let rate = rate.to_string();
    let mut args = vec!["replay", "--everything", "--why", "mended", "--rate", &rate, "--json"];
    if no_brake {
        args.push("--no-brake");
    }
    json(&worker.must(&args))
}

fn act(worker: &Worker, id: &str, what: &str) -> (u16, Value) {
    ask(worker, "POST", &format!("/replays/{id}/{what}"), &json!({"who": "li", "why": "as agreed"}))
}

#[track_caller]
fn must(worker: &Worker, id: &str, what: &str) {
    let (status, view) = act(worker, id, what);
    assert_eq!(status, 200, "{what}: {view}");
}

fn set_rate(worker: &Worker, id: &str, rate: u32) {
    let (status, view) = ask(worker, "PATCH", &format!("/replays/{id}"), &json!({"rate": rate, "why": "quicker"}));
    assert_eq!(status, 200, "{view}");
}

/// Plans a replay of all dead letters and runs it. Returns its id.
fn execute(worker: &Worker, rate: u32, no_brake: bool) -> String {
    let view = plan(worker, rate, no_brake);
    let id = view["id"].as_str().unwrap().to_owned();
    must(worker, &id, "run");
    id
}

fn status(worker: &Worker, id: &str) -> Value {
    ask(worker, "GET", &format!("/replays/{id}"), &Value::Null).1
}

/// Waits until a replay has this state and nothing of it is open.
fn ended(worker: &Worker, id: &str, state: &str, patience: Duration) -> Value {
    let mut last = Value::Null;
    eventually(patience, &format!("replay {id} is {state}"), || {
        last = status(worker, id);
        last["state"] == state && last["outcomes"]["open"] == 0
    });
    last
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().map_or(0, |counts| counts.values().filter_map(Value::as_u64).sum())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// Each dead letter has its end.
#[track_caller]
fn assert_balanced(view: &Value) {
    let ended = number(&view["republished"]) + sum(&view["skipped"]) + sum(&view["failed"]);
    assert_eq!(number(&view["selected"]), ended, "{view}");
}

fn open_letters(worker: &Worker) -> usize {
    let listed = json(&worker.must(&["dead-letters", "list", "--state", "open", "--limit", "100000", "--json"]));
    listed.as_array().unwrap_or_else(|| panic!("no list: {listed}")).len()
}

#[test]
fn a_replay_whose_events_die_again_stops_itself_and_without_its_brake_tries_each_once() {
    const N: usize = 1_000;
    let mut s = scene("replay-brake", N, |_| {});
    let refused = s.events[7].trans_id().to_owned();
    s.account.rules(vec![Rule::all(Action::Errno(3))]);
    let id = execute(&s.worker, 100, false);
    let view = ended(&s.worker, &id, "stopped_itself", secs(60));
    let dead = number(&view["outcomes"]["dead_lettered"]["rejected"]);
    assert!((50..=250).contains(&dead), "what was under way as it stopped ends too: {view}");
    assert_eq!((number(&view["republished"]), s.account.request_count() as u64), (dead, dead), "{view}");
    let stopped = &view["stopped"];
    assert!(stopped["reason"].as_str().is_some_and(|why| why.contains("rejected")), "{view}");
    assert_eq!((&stopped["sample"]["account"], &stopped["sample"]["code"]), (&"acme-ps".into(), &"3".into()), "{view}");
    assert_eq!(s.worker.lane_state("acme-ps"), "flowing", "refused replays halt nothing");

    let stopped = || s.worker.metrics().total("replay_stopped", &[]);
    eventually(secs(20), "the metric says that it stopped itself", || stopped() == 1.0);

    // It goes on where an operator says so, and is judged anew.
    must(&s.worker, &id, "resume");
    let again = ended(&s.worker, &id, "stopped_itself", secs(60));
    let more = number(&again["outcomes"]["dead_lettered"]["rejected"]) - dead;
    assert!((50..=250).contains(&more), "{again}");

    // Without the brake each is tried once more, and then there is an end: what died again is new.
    let before = s.account.request_count();
    let id = execute(&s.worker, 1000, true);
    let view = ended(&s.worker, &id, "completed", secs(120));
    eventually(secs(20), "the newest replay did not stop itself", || stopped() == 0.0);
    assert_balanced(&view);
    assert_eq!((number(&view["selected"]), number(&view["republished"])), (N as u64, N as u64), "{view}");
    assert_eq!(number(&view["outcomes"]["dead_lettered"]["rejected"]), N as u64, "{view}");
    std::thread::sleep(secs(2));
    assert_eq!(s.account.request_count() - before, N, "each once");
    assert_eq!(open_letters(&s.worker), N);
    let letters = s.w.dead_letters();
    assert_eq!(letters.len(), N + (dead + more) as usize + N);
    let of_one = letters.iter().filter(|l| l.header("pb-trans-id").as_deref() == Some(&*refused));
    let replays: BTreeSet<_> = of_one.map(|l| l.number("pb-replays").unwrap_or(0)).collect();
    assert!(replays.len() > 1 && replays.iter().enumerate().all(|(n, count)| *count == n as i64), "{replays:?}");
    assert_eq!(s.worker.lane_state("acme-ps"), "flowing");
    s.worker.stop();
}

#[test]
fn a_plan_of_a_topic_that_was_made_anew_publishes_nothing_and_its_replays_hide_nothing() {
    const N: usize = 20;
    let mut s = scene("replay-remade", N, |_| {});
    let old = plan(&s.worker, 1000, true);
    let id = execute(&s.worker, 1000, true);
    ended(&s.worker, &id, "completed", secs(60));
    s.worker.stop();
    s.w.admin.delete_topic(&s.w.topic("dlt"));
    s.w.set("accounts.acme-ps.validate.max_event_age", "30s");
    let mut worker = s.w.started();
    let mut events = s.w.make.orders("acme-ps", N);
    events.iter_mut().for_each(|event| event.json["event_time_ms"] = (now_ms() - 120_000).into());
    s.w.publish(events);
    eventually(secs(120), "all are open dead letters", || open_letters(&worker) == N);
    worker.stop();
    s.w.set("accounts.acme-ps.validate.max_event_age", "1d");
    worker = s.w.started();

    let id = old["id"].as_str().unwrap();
    must(&worker, id, "run");
    let view = ended(&worker, id, "failed", secs(30));
    assert_eq!(number(&view["republished"]), 0, "{view}");
    assert!(view["stopped"]["reason"].as_str().is_some_and(|why| why.contains("made anew")), "{view}");
    let id = execute(&worker, 1000, true);
    let view = ended(&worker, &id, "completed", secs(60));
    assert_eq!((number(&view["selected"]), number(&view["republished"])), (N as u64, N as u64), "{view}");
    eventually(secs(30), "each was delivered", || s.account.executed() == 2 * N);
    assert_eq!(open_letters(&worker), 0);
    worker.stop();
}

#[test]
fn a_replay_delivers_each_once_stops_within_a_second_when_cancelled_and_skips_what_was_confirmed_meanwhile() {
    const N: usize = 300;
    let mut s = scene("replay-cancel", N, |_| {});
    let plan = plan(&s.worker, 30, false);
    let id = plan["id"].as_str().unwrap();
    assert_eq!(
        (&plan["state"], &plan["selected"], &plan["predicted"]["sent"]),
        (&"planned".into(), &N.into(), &N.into())
    );
    assert_eq!(s.account.request_count(), 0, "a plan sends nothing");
    // Ten of them are delivered meanwhile, as events of their own.
    let copies: Vec<Event> = s.events[..10].iter().map(Event::copy).collect();
    s.w.publish(copies);
    eventually(secs(30), "they are delivered", || s.account.executed() == 10);
    s.w.settle(secs(30));

    must(&s.worker, id, "run");
    eventually(secs(30), "it runs", || number(&status(&s.worker, id)["republished"]) > 20);
    let (code, refusal) = act(&s.worker, id, "run");
    assert_eq!(code, 409, "a plan is run once: {refusal}");
    let other = self::plan(&s.worker, 30, false);
    let (code, refusal) = act(&s.worker, other["id"].as_str().unwrap(), "run");
    assert!(code == 409 && refusal.to_string().contains(id), "who holds it is named: {refusal}");

    must(&s.worker, id, "cancel");
    let cancelled = Instant::now();
    std::thread::sleep(secs(1));
    let after = number(&status(&s.worker, id)["republished"]);
    std::thread::sleep(secs(2));
    let view = status(&s.worker, id);
    assert_eq!((&view["state"], number(&view["republished"])), (&"cancelled".into(), after), "{view}");
    assert!(after < N as u64 - 30, "{after} after {:?}", cancelled.elapsed());
    eventually(secs(20), "what was under way ends", || s.account.executed() as u64 == 10 + after);

    set_rate(&s.worker, id, 500);
    must(&s.worker, id, "resume");
    let view = ended(&s.worker, id, "completed", secs(60));
    assert_balanced(&view);
    assert_eq!(
        (&view["skipped"]["confirmed"], &view["outcomes"]["delivered"]),
        (&10.into(), &(N - 10).into()),
        "{view}"
    );
    assert_eq!((s.account.executed(), s.account.request_count()), (N, N), "each once");
    assert_eq!(open_letters(&s.worker), 10, "what was skipped is not replayed");
    let metrics = s.worker.metrics();
    assert_eq!(metrics.total("replay_records_total", &[("result", "republished")]), (N - 10) as f64);
    assert_eq!(metrics.total("replay_outcomes_total", &[("outcome", "delivered")]), (N - 10) as f64);
    assert_eq!(metrics.total("replay_running", &[]), 0.0);
    let aged = metrics.total("event_age_at_delivery_seconds_count", &[]);
    assert_eq!(aged, 10.0, "what is replayed is late by intent and uses up no share of late events");
    s.worker.stop();
}

#[test]
fn a_replay_whose_runner_is_killed_goes_on_elsewhere_and_loses_and_doubles_nothing() {
    const N: usize = 3_000;
    let s = scene("replay-killed", N, |w| w.quick_lease(12));
    let Scene { w, account, worker, .. } = s;
    let mut workers = [worker, w.started()];
    let id = execute(&workers[0], 60, true);
    for n in 0..3_u64 {
        let mut runner = None;
        eventually(secs(60), "one of both runs it", || {
            runner = (0..2).find(|n| workers[*n].metrics().total("replay_running", &[]) == 1.0);
            runner.is_some()
        });
        let at = number(&status(&workers[0], &id)["republished"]);
        eventually(secs(60), "it goes on", || number(&status(&workers[0], &id)["republished"]) > at + 40 + 37 * n);
        std::thread::sleep(millis(7 * n + 3));
        let killed = &mut workers[runner.unwrap()];
        killed.kill();
        killed.start();
    }
    set_rate(&workers[0], &id, 2000);
    let view = ended(&workers[0], &id, "completed", secs(180));
    assert_balanced(&view);
    assert_eq!(number(&view["selected"]), N as u64, "{view}");
    assert_eq!((sum(&view["failed"]), sum(&view["skipped"])), (0, 0), "what a killed runner published counts: {view}");
    assert_eq!(open_letters(&workers[0]), 0);

    // Some were being sent by the worker that was killed last, and wait for its lease. A kill between confirm and
    // receipt leaves `duplicate` alone.
    let arrived = |books: &Books| {
        let has_arrived = |outcome: &str| matches!(outcome, "delivered" | "duplicate");
        books.ends().values().filter(|ends| ends.0.iter().any(|end| has_arrived(&end.outcome))).count()
    };
    eventually(secs(60), "each has arrived", || arrived(&w.books()) >= N);
    let books = w.books();
    let ends = books.ends();
    assert_eq!(arrived(&books), N);
    for event in &books.events {
        let ends = &ends[event.at.as_ref().unwrap()];
        let copies = account.requests_about(event.ident()).iter().filter(|r| r.executed).count() as u64;
        let declared = ends.resends();
        assert!((1..=1 + declared).contains(&copies), "{}: {copies} copies, {declared} declared", event.trans_id());
    }
    let reconciled: Value =
        serde_json::from_str(&workers[0].command(&["reconcile", "--json", "--from", "1h"]).stdout).unwrap();
    assert_eq!(number(&reconciled["dead_lettered"]), 0, "each has a newer end than its dead letter: {reconciled}");
    assert_eq!(number(&reconciled["delivered"]) + number(&reconciled["duplicate"]), N as u64, "{reconciled}");

    // What was counted twice hides as many that are still open, so nothing tells when the last one is counted. A kill
    // between confirm and count leaves `duplicate`, as one between confirm and receipt does.
    let outcomes = || status(&workers[0], &id)["outcomes"].clone();
    let counted = |outcomes: &Value| number(&outcomes["delivered"]) + number(&outcomes["duplicate"]);
    let all_counted = within(secs(30), || counted(&outcomes()) >= N as u64);
    assert!(all_counted, "an end goes uncounted: {}", outcomes());
    assert_eq!(view["outcomes"]["at_least"], true, "{view}");
    workers.iter_mut().for_each(Worker::stop);
}
