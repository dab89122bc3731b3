//! Accounts with tokens, and with calls, get other credentials while the worker runs.

use crate::reload::reload;
use crate::support::event::Event;
use crate::support::ledger::Check;
use crate::support::own::{Asked, Judged, Own};
use crate::support::world::World;
use crate::support::{eventually, now_ms, secs, unique};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

const SHOP: &str = r#"
name = "shop"
title = "Shop"
base_url = "https://shop.example.com"

[[request]]
method = "POST"
url = "/v1"
headers = { x-token = "{{ token.access }}" }
json = { id = "{{ event.trans_id }}", kind = "{{ native }}" }

[answer]
delivered = "body.code == 0"
refresh = "body.code == 401"
code = "body.code"

[token]
access = "body.access"
refresh = "body.refresh"
expires_in = "body.expires_in"
failed = "body.code == 400"
[token.request]
method = "POST"
url = "/token"
json = { refresh = "{{ token.refresh }}" }
"#;

/// What a platform accepts at the moment.
#[derive(Clone, Default)]
struct Accepted(Arc<Mutex<HashSet<String>>>);

impl Accepted {
    fn set(&self, all: &[&str]) {
        *self.0.lock().unwrap() = all.iter().map(|one| (*one).to_owned()).collect();
    }

    fn has(&self, one: &str) -> bool {
        self.0.lock().unwrap().contains(one)
    }
}

/// A platform that takes what carries an accepted token. An accepted refresh token gets `at-fresh`, once.
fn shop(accepted: &Accepted) -> Own {
    let accepted = accepted.clone();
    Own::open("acme-shop", move |Asked { path, headers, body }| {
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        if path == "/token" {
            let is_known = accepted.has(text("refresh"));
            let answer = match is_known {
                true => json!({"code": 0, "access": "at-fresh", "refresh": "rt-fresh", "expires_in": 7200}),
                false => json!({"code": 400}),
            };
            if is_known {
                accepted.set(&["at-fresh", "rt-fresh"]);
            }
            return Judged { ident: None, problem: None, answer };
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        let token = headers.get("x-token").cloned().unwrap_or_default();
        let problem = (!accepted.has(&token)).then(|| format!("the token {token:?} is refused"));
        let code = if problem.is_none() { 0 } else { 401 };
        Judged { ident: Some(format!("{}:{}", text("kind"), text("id"))), problem, answer: json!({"code": code}) }
    })
}

/// The account with these tokens and this rate.
fn account(w: &mut World, shop: &Own, tokens: &[(&str, &str)], rps: i64) {
    let mut table = toml::toml! {
        platform = "shop"
        allow_http = true
        allow_private = true
        limits = { concurrency = 4 }
    };
    table["limits"].as_table_mut().unwrap().insert("rps".into(), rps.into());
    let tokens = tokens.iter().map(|(name, token)| ((*name).to_owned(), (*token).into()));
    table.insert("token".into(), toml::Value::Table(tokens.collect()));
    w.own_account("acme-shop", table, shop.port);
}

fn orders(count: usize) -> Vec<Event> {
    let order = |_| {
        let id = unique("e");
        let json = json!({
            "trans_id": id, "platform": "shop", "account": "acme-shop", "event_type": "order",
            "event_time_ms": now_ms() - 1000,
        });
        Event::of("acme-shop", &format!("order:{id}"), json)
    };
    (0..count).map(order).collect()
}

fn world(name: &str) -> World {
    let mut w = World::new(name);
    w.set("platform_files", vec![w.file("shop.toml", SHOP.as_bytes())]);
    w.set("redis.token_key", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    w
}

#[test]
fn a_permanent_token_is_replaced_under_load_without_a_refused_request() {
    let mut w = world("reload-token");
    let accepted = Accepted::default();
    let shop = shop(&accepted);
    accepted.set(&["at-1"]);
    account(&mut w, &shop, &[("access", "at-1")], 60);
    let worker = w.started();
    w.publish(orders(600));
    eventually(secs(30), "it flows", || shop.count("/v1") >= 60);

    accepted.set(&["at-1", "at-2"]);
    account(&mut w, &shop, &[("access", "at-2")], 60);
    let answer = reload(&w, &worker);
    assert_eq!(answer["changed"], json!(["accounts.acme-shop.token.access: changed"]), "{answer}");
    assert!(!answer.to_string().contains("at-2") && !worker.log().contains("at-2"), "a token is shown");
    // What had gone out before is answered.
    let sent = shop.count("/v1");
    eventually(secs(30), "it flows with the new one", || shop.count("/v1") >= sent + 20);
    accepted.set(&["at-2"]);
    account(&mut w, &shop, &[("access", "at-2")], 2_000);
    reload(&w, &worker);
    w.settle(secs(60));
    let books = w.ledger_with(shop.requests(), &Check::EXACT);
    assert_eq!((books.outcomes("delivered"), books.requests.len()), (600, 600), "each was sent once");
    assert_eq!(worker.lane_state("acme-shop"), "flowing");
    w.counters(&worker, &books);
}

#[test]
fn new_tokens_end_the_halt_of_an_account_that_had_to_be_authorised_anew() {
    let mut w = world("reload-tokens");
    let accepted = Accepted::default();
    let shop = shop(&accepted);
    accepted.set(&["rt-2"]);
    account(&mut w, &shop, &[("access", "at-1"), ("refresh", "rt-1")], 500);
    let worker = w.started();
    w.publish(orders(100));
    eventually(secs(40), "the account is halted", || worker.lane_state("acme-shop") == "halted");
    let refused = shop.count("/v1");

    account(&mut w, &shop, &[("refresh", "rt-2")], 500);
    let answer = reload(&w, &worker);
    assert_eq!(answer["resumed"], json!(["acme-shop"]), "{answer}");
    w.settle(secs(90));
    let books = w.ledger_with(shop.requests(), &Check { bad_requests: true, ..Check::EXACT });
    assert_eq!((books.outcomes("delivered"), books.requests.len()), (100, 100 + refused));
    assert_eq!(worker.lane_state("acme-shop"), "flowing");
    for (place, text) in [("log", worker.log()), ("answer", answer.to_string())] {
        assert!(
            !["at-1", "rt-1", "rt-2", "at-fresh"].iter().any(|token| text.contains(token)),
            "a token in the {place}"
        );
    }
}

/// The account that makes calls, with this app and this rate.
fn caller(w: &mut World, port: u16, key: &str, rps: i64) {
    let mut table = toml::toml! {
        platform = "solinkup"
        allow_http = true
        allow_private = true
        open_id = "OpenId@1"
        token = { access = "AccessToken@1" }
        limits = { concurrency = 4 }
    };
    table["limits"].as_table_mut().unwrap().insert("rps".into(), rps.into());
    let secret = toml::Table::from_iter(
        [("id", "s1"), ("key", key), ("secret", "AppSecret@1")].map(|(name, value)| (name.to_owned(), value.into())),
    );
    table.insert("secrets".into(), toml::Value::Array(vec![toml::Value::Table(secret)]));
    w.own_account("acme-doudian", table, port);
}

#[test]
fn an_account_with_calls_gets_another_credential_under_load_and_each_call_is_made_once() {
    let mut w = World::new("reload-calls");
    let accepted = Accepted::default();
    let asks = accepted.clone();
    let platform = Own::open("acme-doudian", move |Asked { body, .. }| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let key = body["appKey"].as_str().unwrap_or_default();
        let problem = (!asks.has(key)).then(|| format!("the app {key:?} is refused"));
        let order = body["orderId"].as_str().unwrap_or_default();
        let answer = match &problem {
            None => json!({"err_no": 0, "code": 10_000, "message": "success", "msg": "success",
                           "data": {"shop_order_detail": {"order_id": order}}}),
            Some(_) => json!({"success": false, "code": "__400ERROR", "message": "appKey错误", "data": null}),
        };
        Judged { ident: Some(format!("doudian.order_detail:{order}")), problem, answer }
    });
    accepted.set(&["AppKey@1"]);
    caller(&mut w, platform.port, "AppKey@1", 40);
    let worker = w.started();
    let calls = (0..300).map(|_| {
        let id = unique("c");
        let json = json!({
            "kind": "call", "trans_id": id, "platform": "solinkup", "account": "acme-doudian",
            "event_time_ms": now_ms(), "call": "doudian.order_detail", "args": {"orderId": id},
            "reply": {"ttl_s": 600},
        });
        Event::of("acme-doudian", &format!("doudian.order_detail:{id}"), json)
    });
    w.publish(calls.collect());
    let made = || platform.requests().len();
    eventually(secs(30), "calls are made", || made() >= 40);

    accepted.set(&["AppKey@1", "AppKey@2"]);
    caller(&mut w, platform.port, "AppKey@2", 40);
    let answer = reload(&w, &worker);
    assert!(answer["changed"].to_string().contains("accounts.acme-doudian.secrets"), "{answer}");
    let sent = made();
    eventually(secs(30), "calls are made with the new one", || made() >= sent + 20);
    accepted.set(&["AppKey@2"]);
    caller(&mut w, platform.port, "AppKey@2", 2_000);
    reload(&w, &worker);
    w.settle(secs(60));
    let books = w.ledger_with(platform.requests(), &Check::EXACT);
    assert_eq!((books.outcomes("delivered"), books.requests.len()), (300, 300), "each was made once");
    let results: Vec<Value> =
        w.records("results").iter().map(|r| serde_json::from_slice(r.value.as_deref().unwrap()).unwrap()).collect();
    assert!(results.iter().all(|result| result["status"] == "ok" && result["final"] == true), "{results:?}");
    let ids: HashSet<_> = results.iter().map(|result| result["trans_id"].to_string()).collect();
    assert_eq!((results.len(), ids.len()), (300, 300), "each has one result");
    w.counters(&worker, &books);
}
