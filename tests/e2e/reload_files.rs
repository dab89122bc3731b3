//! The file of a declared platform changes while the worker runs.

use crate::reload::{ask, reload};
use crate::support::event::{Event, Expect};
use crate::support::ledger::Check;
use crate::support::own::{Asked, Judged, Own};
use crate::support::world::World;
use crate::support::{eventually, now_ms, secs, unique};
use serde_json::json;

/// The platform as its file first states it.
const FIRST: &str = r#"
name = "shop"
title = "Shop"
base_url = "https://shop.example.com"

[account.keys]
secret = { secret = true, required = true }

[[request]]
method = "POST"
url = "/first"
headers = { x-secret = "{{ account.secret }}" }

[request.json]
id = "{{ event.trans_id }}"
kind = "{{ native }}"

[answer]
delivered = "status == 200 and body.ok == 1"
permanent = "body.ok == 0"

[[test]]
event = { trans_id = "t-1", event_type = "order", event_time_ms = 1736899200123, order = { amount = { minor = 5, currency = "CNY" } } }
account = { secret = "s" }
request = { method = "POST", url = "https://shop.example.com/first", body = '{"id":"t-1","kind":"order"}' }
"#;

/// Another address and other members, in another order.
fn second() -> String {
    FIRST
        .replace("/first", "/second")
        .replace(
            "id = \"{{ event.trans_id }}\"\nkind = \"{{ native }}\"",
            "kind = \"{{ native }}\"\namount = \"{{ event.order.amount | fen }}\"\nid = \"{{ event.trans_id }}\"",
        )
        .replace(r#"'{"id":"t-1","kind":"order"}'"#, r#"'{"kind":"order","amount":5,"id":"t-1"}'"#)
}

/// Takes what has exactly the members that its address demands.
fn shop() -> Own {
    Own::open("acme-shop", |Asked { path, headers, body }| {
        let wanted: &[&str] = if path == "/first" { &["id", "kind"] } else { &["kind", "amount", "id"] };
        let members = body.as_object().unwrap();
        let is_whole = members.len() == wanted.len() && wanted.iter().all(|name| members.contains_key(*name));
        let is_signed = headers.get("x-secret").is_some_and(|secret| secret == "s-1");
        let problem = (!is_whole || !is_signed).then(|| format!("{path}: {body}"));
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        std::thread::sleep(std::time::Duration::from_millis(20));
        Judged {
            ident: Some(format!("{}:{}", text("kind"), text("id"))),
            answer: json!({"ok": u8::from(problem.is_none())}),
            problem,
        }
    })
}

fn account(w: &mut World, shop: &Own, rps: i64) {
    let mut table = toml::toml! {
        platform = "shop"
        allow_http = true
        allow_private = true
        secret = "s-1"
        limits = { concurrency = 4 }
    };
    table["limits"].as_table_mut().unwrap().insert("rps".into(), rps.into());
    w.own_account("acme-shop", table, shop.port);
}

fn orders(count: usize) -> Vec<Event> {
    let order = |_| {
        let id = unique("e");
        let json = json!({
            "trans_id": id, "platform": "shop", "account": "acme-shop", "event_type": "order",
            "event_time_ms": now_ms() - 1000, "order": {"amount": {"minor": 1234, "currency": "CNY"}},
        });
        Event {
            account: "acme-shop".into(),
            json,
            raw: None,
            key: Some(id.clone().into_bytes()),
            headers: Vec::new(),
            ident: Some(format!("order:{id}")),
            expect: Expect::Delivered,
            at: None,
        }
    };
    (0..count).map(order).collect()
}

#[test]
fn a_changed_file_takes_effect_under_load_without_a_lost_event_or_a_mixed_request() {
    let mut w = World::new("reload-file");
    let shop = shop();
    w.set("platform_files", vec![w.file("shop.toml", FIRST.as_bytes())]);
    account(&mut w, &shop, 60);
    let worker = w.started();
    w.publish(orders(900));
    eventually(secs(30), "it flows by the first file", || shop.count("/first") >= 60);

    w.file("shop.toml", second().as_bytes());
    let answer = reload(&w, &worker);
    assert_eq!(answer["changed"], json!(["platform_files (shop): the file changed"]), "{answer}");
    let by_first = shop.count("/first");
    eventually(secs(30), "it flows by the second file", || shop.count("/second") >= 60);

    account(&mut w, &shop, 2_000);
    reload(&w, &worker);
    w.settle(secs(90));
    let books = w.ledger_with(shop.requests(), &Check::EXACT);
    assert_eq!((books.outcomes("delivered"), books.requests.len()), (900, 900), "each was sent once");
    // Only what had gone out already was sent by the first file.
    assert!(shop.count("/first") <= by_first + 4, "{} after {by_first}", shop.count("/first"));
    w.counters(&worker, &books);
}

#[test]
fn an_event_that_the_changed_file_refuses_ends_as_a_dead_letter_and_the_others_go_on() {
    let mut w = World::new("reload-refuses");
    let shop = shop();
    w.set("platform_files", vec![w.file("shop.toml", FIRST.as_bytes())]);
    account(&mut w, &shop, 5);
    let worker = w.started();
    let mut events = orders(60);
    // The second file takes CNY alone, the first one does not look at the amount. It comes long after the reload.
    let last = events.last_mut().unwrap();
    last.json["order"]["amount"]["currency"] = json!("USD");
    last.expect = Expect::Dead { reason: "invalid", field: "order.amount.currency" };
    last.ident = None;
    let (first, rest) = events.split_at(1);
    w.publish(first.to_vec());
    eventually(secs(30), "it flows by the first file", || shop.count("/first") == 1);
    w.publish_at(rest.to_vec(), None, Some(0));
    eventually(secs(30), "the others wait in the lane", || worker.metrics().total("in_flight_events", &[]) >= 40.0);
    w.file("shop.toml", second().as_bytes());
    account(&mut w, &shop, 2_000);
    reload(&w, &worker);
    w.settle(secs(60));
    let books = w.ledger_with(shop.requests(), &Check::EXACT);
    assert_eq!((books.outcomes("delivered"), books.outcomes("dead_lettered")), (59, 1));
    w.counters(&worker, &books);
}

#[test]
fn a_changed_file_that_is_wrong_keeps_the_old_one_and_names_file_line_and_key() {
    let mut w = World::new("reload-wrong-file");
    let shop = shop();
    let path = w.file("shop.toml", FIRST.as_bytes());
    w.set("platform_files", vec![path.clone()]);
    account(&mut w, &shop, 40);
    let worker = w.started();
    w.publish(orders(300));
    eventually(secs(30), "it flows", || shop.count("/first") >= 40);

    let line = |text: &str, key: &str| 1 + text.lines().position(|line| line.starts_with(key)).unwrap();
    let refused = |text: &str, told: &[&str]| {
        w.file("shop.toml", text.as_bytes());
        let (status, answer) = ask(&w, &worker);
        assert_eq!((status, answer["error"]["code"].as_str()), (422, Some("invalid_configuration")), "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        for part in told {
            assert!(message.contains(part), "no {part:?} in {message}");
            assert!(worker.log().contains(part), "no {part:?} in the log");
        }
    };
    let misspelt = second().replace("body.ok == 1", "bdy.ok == 1");
    let place = format!("{path}:{}: answer.delivered: ", line(&misspelt, "delivered"));
    refused(&misspelt, &[&place, "did you mean `body`?"]);
    let unknown = second().replace("permanent =", "permanant =");
    let place = format!("{path}:{}: answer.permanant: ", line(&unknown, "permanant"));
    refused(&unknown, &[&place, "did you mean `permanent`?"]);
    // Its own example does not hold.
    let untrue = second().replace("\"amount\":5", "\"amount\":6");
    refused(&untrue, &["platform_files: shop example 1: "]);
    refused("name = ", &[&format!("{path}:1: ")]);

    assert_eq!(worker.metrics().total("config_reloads_total", &[("result", "failed")]), 4.0);
    assert_eq!(shop.count("/second"), 0);
    // Other changes are refused as long as the file is wrong, and taken with the next right one.
    w.file("shop.toml", FIRST.as_bytes());
    account(&mut w, &shop, 2_000);
    let answer = reload(&w, &worker);
    assert_eq!(answer["changed"], json!(["accounts.acme-shop.limits.rps: 40 → 2000"]), "{answer}");
    w.settle(secs(60));
    let books = w.ledger_with(shop.requests(), &Check::EXACT);
    assert_eq!((books.outcomes("delivered"), shop.count("/first"), shop.count("/second")), (300, 300, 0));
}
