//! An operator replays dead letters from the command line.

use crate::support::platform::{Action, Platform, Rule};
use crate::support::worker::Worker;
use crate::support::world::World;
use crate::support::{eventually, secs};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// The command ends with this code; what it says on standard error.
#[track_caller]
fn refused(worker: &Worker, args: &[&str], code: i32) -> String {
    let out = worker.command(args);
    assert_eq!(out.code, Some(code), "{args:?}: {}{}", out.stdout, out.stderr);
    out.stderr
}

fn status(worker: &Worker, id: &str) -> Value {
    json(&worker.must(&["replay", "status", id, "--json"]))
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().unwrap().values().filter_map(Value::as_u64).sum()
}

#[track_caller]
fn assert_balanced(view: &Value) {
    let ended = view["republished"].as_u64().unwrap() + sum(&view["skipped"]) + sum(&view["failed"]);
    assert_eq!(view["selected"].as_u64(), Some(ended), "{view}");
}

#[test]
fn what_a_platform_refused_is_delivered_once_it_is_healed() {
    let mut w = World::new("replay-heal");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    account.rules(vec![Rule::all(Action::Errno(3)).first(1)]);
    let events = w.make.orders("acme-ps", 12);
    w.publish(events);
    eventually(secs(60), "all are dead letters", || w.dead_letters().len() == 12);
    // None but a limit and a state is no filter.
    assert!(refused(&worker, &["replay", "--limit", "3"], 2).contains("everything"));
    assert!(refused(&worker, &["replay", "--reason", "rejected", "--execute"], 2).contains("--why"));

    let plan = json(&worker.must(&["replay", "--reason", "rejected", "--json"]));
    let id = plan["id"].as_str().unwrap();
    assert_eq!(
        (&plan["state"], &plan["selected"], &plan["predicted"]["sent"]),
        (&"planned".into(), &12.into(), &12.into())
    );
    let shown = worker.must(&["replay", "status", id]);
    assert!(shown.contains("12 would be sent") && shown.contains("postback replay run"), "{shown}");
    assert_eq!(account.request_count(), 12, "a plan sends nothing");

    // The API says the same, and makes the same plan.
    let api = format!("http://127.0.0.1:{}", worker.admin_port);
    let over = json(&worker.must(&["replay", "--reason", "rejected", "--limit", "4", "--json", "--admin", &api]));
    assert_eq!(
        (&over["selected"], &over["filter"]["limit"], &over["state"]),
        (&4.into(), &4.into(), &"planned".into())
    );
    let listed = json(&worker.must(&["replay", "list", "--json", "--admin", &api]));
    assert_eq!((listed[0]["id"].as_str(), listed[1]["id"].as_str()), (over["id"].as_str(), Some(id)));
    let slower = ["replay", "rate", id, "40", "--why", "gently", "--json", "--admin", &api];
    assert_eq!(json(&worker.must(&slower))["rate"], 40);

    let ended = json(&worker.must(&["replay", "run", id, "--why", "the platform is back", "--json"]));
    assert_balanced(&ended);
    assert_eq!((&ended["state"], &ended["outcomes"]["delivered"]), (&"completed".into(), &12.into()), "{ended}");
    assert_eq!(account.request_count(), 24);
    let again = refused(&worker, &["replay", "run", id, "--why", "once more"], 1);
    assert!(again.contains("is completed, and only one that is planned can be run"), "{again}");
    assert!(refused(&worker, &["replay", "status", "no-such"], 2).contains("there is no replay"));
    let none = json(&worker.must(&["replay", "--reason", "rejected", "--json"]));
    assert_eq!(none["selected"], 0, "{none}");
    let listed = worker.must(&["replay", "list"]);
    assert!(listed.contains(id) && listed.contains("the platform is back"), "{listed}");
}

#[test]
fn a_second_operator_is_told_who_runs_and_a_closed_lane_waits_while_another_account_goes_on() {
    let mut w = World::new("replay-two");
    let (one, two) = (w.account("acme-ps", Platform::Qihoo360), w.account("acme-two", Platform::Qihoo360));
    let (mut first, second) = (w.started(), w.started());
    for account in [&one, &two] {
        account.rules(vec![Rule::all(Action::Errno(3)).first(1)]);
    }
    let events = [w.make.orders("acme-ps", 15), w.make.orders("acme-two", 15)].concat();
    w.publish(events);
    eventually(secs(60), "all are dead letters", || w.dead_letters().len() == 30);
    second.must(&["accounts", "pause", "acme-ps", "--reason", "under review"]);
    eventually(secs(10), "the lane is paused", || second.lane_state("acme-ps") == "paused");

    let plan = |rate: &str| json(&second.must(&["replay", "--everything", "--rate", rate, "--json"]));
    let (plan, other) = (plan("100"), plan("50"));
    let (id, other) = (plan["id"].as_str().unwrap(), other["id"].as_str().unwrap());
    let started = second.must(&["replay", "run", id, "--why", "healed", "--who", "li", "--no-watch", "--json"]);
    assert_eq!(json(&started)["state"], "running");
    let held = refused(&second, &["replay", "run", other, "--why", "me too", "--who", "wang"], 1);
    assert!(held.contains(&format!("replay {id} runs now (started by li)")), "{held}");

    eventually(secs(30), "the other account is through", || status(&second, id)["outcomes"]["delivered"] == 15);
    eventually(secs(10), "the status says why the rest waits", || {
        let waiting = &status(&second, id)["waiting"][0];
        waiting["account"] == "acme-ps" && waiting["why"].as_str().is_some_and(|why| why.contains("under review"))
    });
    assert_eq!((two.request_count(), one.request_count()), (30, 15));
    // A replica that stops in order hands the run on at once, whichever of the two has it.
    first.stop();
    second.must(&["replay", "rate", id, "20", "--why", "gently"]);
    second.must(&["accounts", "resume", "acme-ps", "--reason", "reviewed"]);
    eventually(secs(45), "the run is completed", || status(&second, id)["state"] == "completed");
    eventually(secs(30), "all have arrived", || status(&second, id)["outcomes"]["delivered"] == 30);
    let view = status(&second, id);
    assert_balanced(&view);
    assert_eq!((&view["state"], &view["rate"]), (&"completed".into(), &20.into()), "{view}");
    assert_eq!((two.request_count(), one.request_count()), (30, 30));
    // The second plan was made before, and finds everything replayed.
    let ended = second.must(&["replay", "run", other, "--why", "the rest", "--json"]);
    assert_eq!(json(&ended)["skipped"]["replayed"], 30, "{ended}");
}
