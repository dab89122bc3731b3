//! The storm brake: a topic full of garbage is stopped for all replicas, until an operator lets it go on.

use crate::support::event::Event;
use crate::support::ledger::Check;
use crate::support::platform::Platform;
use crate::support::proxy::Mode;
use crate::support::worker::Worker;
use crate::support::world::{Setup, World};
use crate::support::{eventually, http, secs};
use serde_json::Value;

fn garbage(count: usize) -> Vec<Event> {
    (0..count).map(|n| Event::bytes(Some(format!("order {n} of 13812345678").as_bytes()), "malformed", "")).collect()
}

fn ask(worker: &Worker, path: &str) -> (u16, Value) {
    let (status, body) = http::get(worker.admin_port, path).unwrap_or_default();
    (status, serde_json::from_str(&body).unwrap_or_default())
}

fn is_stopped(worker: &Worker, topic: &str) -> bool {
    ask(worker, "/ready").1["stopped_topics"] == serde_json::json!([topic])
}

fn unblock(worker: &Worker, topic: &str) -> String {
    worker.must(&["unblock", "storm", "--topic", topic, "--reason", "the publisher is mended"])
}

#[test]
fn a_stopped_topic_stays_stopped_over_a_restart_and_goes_on_exactly_where_it_stopped() {
    let mut w = World::with("storm", Setup { partitions: 1, ..Setup::default() });
    let account = w.account("acme-ps", Platform::Qihoo360);
    let mut worker = w.started();
    let input = w.topic("conversions");
    assert!(unblock(&worker, &input).contains("nothing to unblock"));
    let mut events = w.make.orders("acme-ps", 20);
    events.extend(garbage(150));
    events.extend(w.make.orders("acme-ps", 30));
    w.publish(events);
    eventually(secs(60), "the topic is stopped", || is_stopped(&worker, &input));
    eventually(secs(30), "what was read before ends", || w.dead_letters().len() == 100 && account.executed() == 20);

    // It says what it saw, and how to go on.
    let (status, ready) = ask(&worker, "/ready");
    let command = format!("postback unblock storm --topic {input} --reason TEXT");
    assert!(status == 503 && ready["why"].as_str().unwrap().contains(&command), "{status} {ready}");
    let (_, status) = ask(&worker, "/api/v1/status");
    let storm = &status["storms"][0];
    assert_eq!((&storm["topic"], &storm["counts"]), (&input.clone().into(), &serde_json::json!({"malformed": 100})));
    assert_eq!((&storm["first"]["offset"], &storm["last"]["offset"]), (&20.into(), &119.into()));
    assert_eq!((&storm["sample"], &storm["unblock"]), (&"order 99 of 138****5678".into(), &command.clone().into()));
    assert!(storm["since_ms"].as_i64().unwrap() > 1_700_000_000_000, "{storm}");
    eventually(secs(30), "Redis knows it", || worker.must(&["blocked"]).contains(&command));
    assert!(worker.must(&["blocked"]).contains("order 99 of 138****5678"));
    assert_eq!(ask(&worker, "/api/v1/blocked").1["storms"][0]["topic"], input);
    assert!(worker.log().contains("the storm brake stops a topic"), "{}", worker.log());
    let gauge = |worker: &Worker| worker.metrics().total("storm_stopped", &[("topic", &input)]);
    eventually(secs(10), "the gauge shows it", || gauge(&worker) == 1.0);

    // A replica that is started now does not read it either.
    worker.stop();
    worker.launch();
    eventually(secs(60), "it is stopped there too", || is_stopped(&worker, &input));
    eventually(secs(60), "it has its partition", || worker.log().contains("partition starts"));
    std::thread::sleep(secs(3));
    assert_eq!((w.dead_letters().len(), account.executed()), (100, 20));

    assert!(unblock(&worker, &input).contains("is read on"));
    w.settle(secs(60));
    assert_eq!((w.dead_letters().len(), account.executed()), (150, 50));
    eventually(secs(20), "nothing is stopped", || worker.ready() && gauge(&worker) == 0.0);
    let what = |entry: &Value| entry["what"].as_str().unwrap_or_default().to_owned();
    eventually(secs(30), "both are audited", || {
        let entries: Vec<_> = w
            .records("audit")
            .iter()
            .filter_map(|record| serde_json::from_slice::<Value>(record.value.as_deref()?).ok())
            .map(|entry| (what(&entry), entry["why"].clone()))
            .collect();
        let reasons =
            |of: &str| entries.iter().filter(|(what, _)| what == of).map(|(_, why)| why.clone()).collect::<Vec<_>>();
        reasons("unblock storm") == ["the publisher is mended"] && reasons("storm").len() == 1
    });
    assert!(unblock(&worker, &input).contains("nothing to unblock"));
    w.ledger(&Check::EXACT);
}

#[test]
fn every_replica_stops_and_another_topic_flows() {
    let mut w = World::new("storms");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let (input, other) = (w.topic("conversions"), w.topic("clicks"));
    w.set("kafka.input", vec![input.clone(), other]);
    w.create_input();
    w.create_further_input("clicks");
    let mut workers = [w.worker(), w.worker()];
    workers.iter_mut().for_each(Worker::start);
    let owned = |worker: &Worker| ask(worker, "/api/v1/status").1["replicas"].as_array().map_or(0, Vec::len);
    eventually(secs(60), "both run", || workers.iter().all(|worker| owned(worker) == 2));
    let total = 700;
    w.publish(garbage(total));
    eventually(secs(60), "both have stopped it", || workers.iter().all(|worker| is_stopped(worker, &input)));
    // Each replica ends what it had read, a hundred at most, since none is read in a batch after the hundredth.
    std::thread::sleep(secs(3));
    let dead = w.dead_letters().len();
    assert!((100..=200).contains(&dead), "{dead} dead letters");

    let events = w.make.orders("acme-ps", 50);
    w.publish_to("clicks", events, None, None);
    eventually(secs(30), "the other topic flows", || account.executed() == 50);
    // A replica that reads nothing else is not ready.
    let ready: Vec<_> = workers.iter().map(|worker| ask(worker, "/ready")).collect();
    assert!(ready.iter().all(|(_, body)| body["why"].as_str().unwrap().contains("unblock storm")), "{ready:?}");
    assert!(ready.iter().any(|(status, _)| *status == 200), "{ready:?}");
    assert_eq!(w.dead_letters().len(), dead);

    // Each time a hundred more become dead letters at each replica, and nothing is lost on the way.
    eventually(secs(240), "all of it is read", || {
        if workers.iter().all(|worker| is_stopped(worker, &input)) {
            unblock(&workers[0], &input);
        }
        w.admin.at_end(&w.group(), &input)
    });
    assert_eq!(w.dead_letters().len(), total);
    w.settle(secs(60));
    w.ledger(&Check::EXACT);
}

#[test]
fn without_redis_a_topic_is_stopped_here_and_redis_is_told_later() {
    let mut w = World::with("storm-away", Setup { partitions: 1, proxy: true, ..Setup::default() });
    w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    let input = w.topic("conversions");
    let proxy = w.proxy.as_ref().unwrap();
    proxy.set(Mode::Hold);
    let mut events = garbage(180);
    events.extend(w.make.orders("acme-ps", 5));
    w.publish(events);
    eventually(secs(60), "the topic is stopped", || is_stopped(&worker, &input));
    eventually(secs(30), "a hundred have ended", || w.dead_letters().len() == 100);
    let proxy = w.proxy.as_ref().unwrap();
    proxy.cut();
    proxy.set(Mode::Pass);
    let blocked = || worker.must(&["blocked", "--json"]);
    eventually(secs(60), "Redis is told", || blocked().contains("postback unblock storm"));
    assert!(is_stopped(&worker, &input));
    assert_eq!(w.dead_letters().len(), 100);
    unblock(&worker, &input);
    w.settle(secs(90));
    w.ledger(&Check::EXACT);
}

#[test]
fn a_backlog_of_bad_records_passes_by_one_order_over_both_replicas_and_then_the_brake_judges() {
    let mut w = World::new("storm-pass");
    let account = w.account("acme-ps", Platform::Qihoo360);
    w.create_input();
    let input = w.topic("conversions");
    let mut workers = [w.worker(), w.worker()];
    workers.iter_mut().for_each(Worker::start);
    let replicas = |worker: &Worker| ask(worker, "/api/v1/status").1["replicas"].as_array().map_or(0, Vec::len);
    eventually(secs(60), "both run", || workers.iter().all(|worker| replicas(worker) == 2));
    let stopped = |workers: &[Worker]| workers.iter().all(|worker| is_stopped(worker, &input));
    // Each replica owns two of the four partitions.
    let total = 4 * 750;
    for partition in 0..4 {
        let mut events = garbage(300);
        events.extend(w.make.orders("acme-ps", 10));
        events.extend(garbage(450));
        events.extend(w.make.orders("acme-ps", 10));
        w.publish_at(events, None, Some(partition));
    }
    eventually(secs(60), "both have stopped it", || stopped(&workers));

    let order = |pass: &str| {
        let words = ["unblock", "storm", "--topic", &input, "--pass", pass, "--reason", "the backlog is known"];
        workers[0].must(&words)
    };
    // It stops again after no more than this number, and what each replica judges.
    std::thread::sleep(secs(2));
    let before = w.dead_letters().len();
    assert!(order("1000").contains("up to 1000 bad records pass"));
    eventually(secs(60), "it is read on", || w.dead_letters().len() > before);
    eventually(secs(90), "it stops again", || stopped(&workers));
    std::thread::sleep(secs(3));
    let passed = w.dead_letters().len() - before;
    assert!((1_000..=1_000 + 300).contains(&passed), "{passed} have passed");

    // A number that is larger than the backlog brings it to its end, and what is left of it is shown.
    order("5000000");
    w.settle(secs(90));
    assert_eq!((w.dead_letters().len(), account.executed()), (total, 80));
    assert!(workers.iter().all(|worker| !is_stopped(worker, &input)));
    let left = ask(&workers[1], "/api/v1/status").1["storm_passes"][&input].as_u64().unwrap_or_default();
    assert!((4_900_000..5_000_000).contains(&left), "{left}");
    assert!(workers[0].must(&["blocked"]).contains(&format!("still lets {left} bad records of {input} pass")));
    assert_eq!(ask(&workers[0], "/api/v1/blocked").1["storm_passes"][&input], left);

    // A worker that is started anew goes on with what is left.
    workers[0].stop();
    workers[0].launch();
    eventually(secs(60), "it runs again", || workers[0].ready());
    (0..4).for_each(|partition| w.publish_at(garbage(150), None, Some(partition)));
    w.settle(secs(90));
    assert_eq!(w.dead_letters().len(), total + 600);
    assert!(workers.iter().all(|worker| !is_stopped(worker, &input)));

    // While it runs, another number replaces it, and 0 ends it at both.
    let order = |pass: &str| {
        workers[0].must(&["unblock", "storm", "--topic", &input, "--pass", pass, "--reason", "the backlog is known"])
    };
    let passes = |worker: &Worker| ask(worker, "/api/v1/status").1["storm_passes"].clone();
    assert!(order("6000000").contains("up to 6000000 bad records"));
    eventually(secs(20), "it is enlarged", || passes(&workers[1])[&input] == 6_000_000);
    assert!(order("0").contains("no more bad records"));
    eventually(secs(20), "it is ended", || passes(&workers[1])[&input].is_null());
    assert!(order("0").contains("nothing to unblock"));
    std::thread::sleep(secs(3));
    (0..4).for_each(|partition| w.publish_at(garbage(150), None, Some(partition)));
    eventually(secs(60), "both judge and stop it", || stopped(&workers));
    // The same orders through the API of a worker.
    let api = |pass: u64| {
        let body = serde_json::json!({ "topic": input, "pass": pass, "why": "the backlog is known", "who": "li" });
        let (port, path) = (workers[1].admin_port, "/api/v1/unblock/storm");
        let (status, text) = http::request(port, "POST", path, &[], &body.to_string()).unwrap();
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert_eq!(api(100_000)["changed"], true);
    w.settle(secs(90));
    assert_eq!(w.dead_letters().len(), total + 1_200);
    assert_eq!((api(0)["changed"].clone(), api(0)["changed"].clone()), (true.into(), false.into()));
    let numbers = || -> Vec<(u64, String)> {
        let entries = w.records("audit");
        let entries =
            entries.iter().filter_map(|record| serde_json::from_slice::<Value>(record.value.as_deref()?).ok());
        let orders = entries.filter(|entry| entry["what"] == "unblock storm");
        let one = |entry: Value| (entry["counts"]["pass"].as_u64().unwrap(), entry["via"].as_str().unwrap().to_owned());
        orders.map(one).collect()
    };
    let want = [(1_000, "cli"), (5_000_000, "cli"), (6_000_000, "cli"), (0, "cli"), (100_000, "api"), (0, "api")];
    let want = want.map(|(pass, via)| (pass, via.to_owned()));
    eventually(secs(30), "each order is audited", || {
        let numbers = numbers();
        numbers.len() == want.len() && want.iter().all(|one| numbers.contains(one))
    });
    w.ledger(&Check::EXACT);
}
