//! The normal path: events of both platforms arrive once, with the content of the event.

use crate::support::event::Expect;
use crate::support::http;
use crate::support::ledger::Check;
use crate::support::platform::Platform;
use crate::support::world::World;
use crate::support::{eventually, secs};
use std::time::Instant;

#[test]
fn events_of_both_platforms_arrive_once_and_say_what_the_event_says() {
    let mut w = World::new("delivery");
    let search = w.account("acme-ps", Platform::Qihoo360);
    let games = w.account("acme-bz", Platform::Baizhu);
    let worker = w.started();
    let mut events = w.make.orders("acme-ps", 240);
    events.extend((0..60).map(|_| w.make.effective_user("acme-bz")));
    let (order, user) = (events[0].clone(), events[299].clone());
    for _ in 0..10 {
        let mut quiet = w.make.order("acme-ps");
        quiet.json["consent"] = serde_json::json!({"ad_user_data": "denied", "opt_out": true});
        quiet.expect = Expect::Suppressed;
        events.push(quiet);
    }
    w.publish(events);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    assert_eq!(books.outcomes("suppressed"), 10);

    let sent = &search.requests_about(order.ident())[0].fields["data"];
    let detail = &sent["data_detail"];
    assert_eq!(detail["qhclickid"], order.json["click"]["qhclickid"]);
    assert_eq!(detail["event_param"]["value"], order.json["order"]["amount"]["minor"]);
    assert_eq!(detail["event_time"], order.json["event_time_ms"].as_i64().unwrap() / 1000);
    assert_eq!(sent["data_industry"], "ocpc_ps_convert");
    let form = &games.requests_about(user.ident())[0].fields;
    assert_eq!((&form["money"], &form["product-name"]), (&"23.45".into(), &"斗地主".into()));

    assert!(worker.live() && worker.ready());
    let (_, ready) = http::get(worker.admin_port, "/ready").unwrap();
    assert!(ready.contains("kafka") && ready.contains("redis"), "/ready does not name what it depends on: {ready}");
}

#[test]
fn what_lies_in_the_topic_at_a_first_start_is_delivered_and_topics_are_made_to_last() {
    let mut w = World::new("first-start");
    w.account("acme-ps", Platform::Qihoo360);
    let events = w.make.orders("acme-ps", 40);
    w.publish(events);
    let mut worker = w.started();
    w.settle(secs(60));
    for part in ["retry.1s", "retry.2s", "parked.acme-ps", "dlt"] {
        let topic = w.topic(part);
        assert!(w.admin.partitions(&topic) > 0, "{part} was not made");
        assert_eq!(w.admin.topic_setting(&topic, "cleanup.policy").as_deref(), Some("delete"), "{part}");
        // No waiting record may outlive its claim, which lasts for the window of 12 days.
        let days: u64 = if part == "dlt" { 30 } else { 11 };
        let kept = (days * 86_400_000).to_string();
        assert_eq!(w.admin.topic_setting(&topic, "retention.ms"), Some(kept), "{part}");
    }
    assert_eq!(w.admin.partitions(&w.topic("parked.acme-ps")), 1);

    // After a stop and a start the worker goes on from its position and sends nothing twice.
    worker.stop();
    let more = w.make.orders("acme-ps", 40);
    w.publish(more);
    worker.start();
    w.settle(secs(60));
    w.ledger(&Check { disturbed: true, exact: true, ..Check::default() });
}

#[test]
fn inputs_named_by_a_pattern_are_found_at_a_first_start_and_delivered_from_each_topic() {
    let mut w = World::new("pattern");
    let search = w.account("acme-ps", Platform::Qihoo360);
    // A pattern with parts that Kafka's client library does not support in its own patterns.
    let pattern = format!(r"^{}\.conversions\.\w+-\d$", w.id);
    let named = w.topic("named");
    w.set("kafka.input", vec![pattern, named.clone()]);
    let parts = ["conversions.shop-1", "conversions.app-2"];
    for part in parts {
        w.create_further_input(part);
        // These topics exist before the group does: a first start has to find every topic of the pattern.
        let events = w.make.orders("acme-ps", 30);
        w.publish_to(part, events, None, None);
    }
    // The pattern does not match this topic's name.
    let mut unread = w.make.order("acme-ps");
    unread.expect = Expect::Open;
    w.publish(vec![unread.clone()]);
    let worker = w.started();
    let absent = format!("kafka.input: {named} does not exist yet");
    assert!(worker.log().contains(&absent), "{}", worker.log());
    w.settle(secs(60));
    for part in parts {
        let events = w.make.orders("acme-ps", 30);
        w.publish_to(part, events, None, None);
    }
    // A topic that is made while the worker runs; and two that would refuse a start, by the pattern and by name.
    w.create_further_input("conversions.late-3");
    let for_ever = [w.topic("conversions.ever-4"), named];
    for_ever.iter().for_each(|topic| w.admin.create_topic(topic, 1, 1, &[("retention.ms", "-1")]));
    let made = Instant::now();
    let events = w.make.orders("acme-ps", 30);
    w.publish_to("conversions.late-3", events, None, None);
    w.settle(secs(60));
    // Ten seconds, and more for a busy machine.
    assert!(made.elapsed() < secs(20), "delivered only after {:?}", made.elapsed());
    eventually(secs(20), "/ready names the topics that are not read", || {
        let (_, text) = http::get(worker.admin_port, "/ready").unwrap_or_default();
        let named = |topic: &String| text.contains(&format!("{topic} keeps its records for ever"));
        for_ever.iter().all(named)
    });
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    assert_eq!(books.outcomes("delivered"), 150);
    for part in parts.into_iter().chain(["conversions.late-3"]) {
        let (group, topic) = (w.group(), w.topic(part));
        eventually(secs(20), "the group has committed the end of the topic", || w.admin.at_end(&group, &topic));
    }
    assert!(search.requests_about(unread.ident()).is_empty(), "a topic that the pattern does not cover was read");
}
