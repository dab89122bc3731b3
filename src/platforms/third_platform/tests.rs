//! The path of the third platform's events, from configuration to metrics.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::account::Account;
use crate::clock::now_ms;
use crate::delivery::progress::End;
use crate::delivery::{Subject, TopicKind};
use crate::error::{Outcome, Reason};
use crate::inspect::preview::{Preview, Previewer};
use crate::inspect::trace::{Wanted, candidates};
use crate::platforms::list;
use crate::send::{Destination, Dispatcher};
use crate::settings::{Config as Settings, Loaded, Problems};
use crate::stub::bench::{Bench, DEAD, RECEIPTS, run};
use crate::stub::server::{Server, answer};

const NOW: i64 = 1_736_899_201_000;
const ACCOUNT: &str = r#"
platform = "third"
site = "shop"
channel.code = 3
secrets = [{ id = "a", app_id = "42", app_secret = "s3cret" }]
map.install = "ORDER"
"#;

fn load(accounts: &str) -> Result<Loaded, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("postback.toml");
    std::fs::write(&file, format!("kafka.brokers = \"h:9092\"\nredis.url = \"redis://h\"\n{accounts}")).unwrap();
    Settings::load(Some(&file), [])
}

fn good(account: &str) -> Loaded {
    load(&format!("[accounts.acme]{account}")).unwrap_or_else(|found| panic!("{found}"))
}

/// The account as configured, with timeouts that suit a busy machine.
fn account() -> Account {
    let mut account = Arc::into_inner(good(ACCOUNT).config.accounts.remove("acme").unwrap()).unwrap();
    account.limits.timeout = Duration::from_secs(20);
    account.limits.rps = 1000.0;
    account.allow_private = true;
    account
}

fn previewer(account: &str) -> Previewer {
    let config = good(account).config;
    Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix)
}

fn event(edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut event = json!({
        "trans_id": "t-1", "platform": "third", "account": "acme", "event_type": "install", "event_time_ms": NOW - 1000
    });
    edit(&mut event);
    event.to_string().into_bytes()
}

#[test]
fn configuration_reads_its_keys_and_its_credentials() {
    let Loaded { config, warnings } = good(ACCOUNT);
    assert_eq!(warnings, []);
    let account = &config.accounts["acme"];
    assert_eq!((account.platform, &*account.base_urls[0]), ("third", "https://third.example"));
    assert_eq!((&*account.credentials[0].key, account.credentials[0].secret.expose()), ("42", "s3cret"));
    assert_eq!(account.limits.shared_as, "42", "accounts of one app id share its rate");
    let agreed = json!({"site": "shop", "channel": {"code": 3}, "validate": {"strict": false}, "calls": false});
    assert_eq!(Value::Object(account.settings.read()), agreed);
    assert_eq!(list::find("third").map(Platform::title), Some("Third"));
}

#[test]
fn what_is_wrong_with_its_keys_is_said_in_its_own_words() {
    let rows = [
        ("app_id = \"42\"", "app_id = \"x\"", "secrets.0.app_id", "has to be digits"),
        ("app_id = ", "key = ", "secrets.0.key", "is no key of this table"),
        ("secrets = ", "#", "secrets", "app_id = \"${APP_ID}\", app_secret = \"${APP_SECRET}\""),
        ("site = ", "sit = ", "sit", "did you mean `site`?"),
        ("site = ", "#", "site", "is missing"),
        ("code = 3", "code = 300", "channel.code", "300"),
        ("code = 3", "cod = 3", "channel.cod", "did you mean `code`?"),
        ("site = ", "validate.strct = true\nsite = ", "validate.strct", "did you mean `strict`?"),
        ("\"third\"", "\"thirt\"", "platform", "or \"third\""),
    ];
    for (written, wrong, key, reason) in rows {
        let found = load(&format!("[accounts.acme]{}", ACCOUNT.replacen(written, wrong, 1))).err().unwrap();
        let key = format!("accounts.acme.{key}");
        assert!(found.problems.iter().any(|p| p.key == key && p.reason.contains(reason)), "{wrong}: {found}");
    }
    let Loaded { warnings, .. } = load(&format!("[accounts.a]{ACCOUNT}[accounts.b]{ACCOUNT}")).ok().unwrap();
    assert_eq!(warnings[0].reason, "its app id is used by 2 accounts; Third advises against more than 1");
    assert_eq!(good(&ACCOUNT.replace("code = 3", "code = 0")).warnings[0].key, "accounts.acme.channel.code");
}

#[test]
fn its_events_go_through_admission_lane_send_and_settle_and_are_counted() {
    run(async {
        let mut bench = Bench::new(|s| s.account = account()).await;
        let (delivery, _unfinished) = bench.delivery(TopicKind::Input, "ok-0");
        let Subject::Ready(ready) = &delivery.subject else { panic!("it ended at admission") };
        assert_eq!((&*ready.prepared.native, ready.account.platform), ("ORDER", "third"));
        drop(delivery);

        bench.start();
        assert_eq!(bench.send(TopicKind::Input, "ok-1").wait().await, End::Finished(Outcome::Delivered));
        assert_eq!(bench.send(TopicKind::Input, "ok-1").wait().await, End::Finished(Outcome::Duplicate));
        assert_eq!(bench.send(TopicKind::Input, "400-2").wait().await, End::Finished(Outcome::DeadLettered));
        assert_eq!(bench.sent(), ["ok-1&key=s3cret", "400-2&key=s3cret"]);
        assert!(matches!(bench.value("ok-1").await, Some(crate::claim::rules::Value::Done(_))));
        assert_eq!(bench.value("400-2").await, None, "refused for good: its claim is released");

        let receipts = bench.published(RECEIPTS);
        let receipt: Value = serde_json::from_slice(&receipts[0].value).unwrap();
        assert_eq!((&receipt["platform"], &receipt["platform_id"]), (&json!("third"), &json!("shop-7")));
        let letter = &bench.published(DEAD)[0];
        assert_eq!((letter.reason(), letter.text("pb-platform")), (Some(Reason::Rejected), "third"));
        assert_eq!((letter.text("pb-event"), letter.text("pb-last-code")), ("ORDER", "E7"));

        let shown = bench.lane.metrics().render();
        for series in [
            r#"postback_attempts_total{account="acme",class="delivered",platform="third"} 1"#,
            r#"postback_attempts_total{account="acme",class="permanent",platform="third"} 1"#,
            r#"postback_dead_letters_total{account="acme",platform="third",reason="rejected"} 1"#,
            r#"postback_attempt_duration_seconds_count{platform="third"} 2"#,
        ] {
            assert!(shown.lines().any(|line| line == series), "{series}\n{shown}");
        }
    });
}

#[tokio::test]
async fn its_answers_are_read_to_its_own_bound() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for (length, is_read) in [(ANSWER_BYTES, true), (ANSWER_BYTES + 1, false)] {
        let server = Server::answering(answer("200 OK", &format!("ok{}", " ".repeat(length - 2))));
        let account = Arc::new(Account { base_urls: vec![server.url()], ..account() });
        let event = crate::event::decode(Some(&event(|_| {}))).unwrap();
        let prepared = account.prepare(&event).unwrap();
        let dispatcher = Dispatcher::new(account, Arc::default()).unwrap();
        let line = dispatcher.connect(Destination::BaseUrl, Duration::from_secs(20)).await.unwrap();
        let result = line.attempt(&[&prepared], None, now_ms(), || Ok::<_, ()>(())).await;
        let Ok(verdicts) = result else { panic!("{result:?}") };
        match verdicts.one() {
            Ok(receipt) => assert!(is_read && receipt.platform_id.as_deref() == Some("shop-7")),
            Err(DeliveryError::Ambiguous(answer)) => {
                assert!(!is_read && answer.detail.contains("longer than 256 KiB"), "{}", answer.detail);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn preview_shows_its_request_and_none_of_its_secrets() {
    let ours = previewer(ACCOUNT);
    let Preview::Accepted(found) = ours.look(Some(&event(|_| {})), Vec::new(), NOW) else { panic!("refused") };
    let (masked, shown) = (found.json(false), found.json(true));
    let expected = json!({
        "method": "PUT",
        "url": "https://third.example/v1/shop?id=42&token=***",
        "headers": {"Authorization": "Bearer ***", "Sign": md5_hex("t-1s3crett-1")},
        "body": "t-1&key=***",
        "body_base64": "dC0xJmtleT0qKio=",
        "signature_input": "t-1***t-1",
    });
    assert_eq!((&masked["event"], &masked["request"]), (&json!("ORDER"), &expected));
    assert!(masked["warnings"][0].as_str().unwrap().contains("--show-secrets"), "{masked}");
    assert_eq!(shown["request"]["url"], "https://third.example/v1/shop?id=42&token=s3cret");
    assert_eq!(shown["request"]["body"], "t-1&key=s3cret");
    assert_eq!(shown["request"]["headers"]["Authorization"], "Bearer s3cret");
    assert_eq!((&shown["request"]["signature_input"], &shown["warnings"]), (&json!("t-1s3crett-1"), &json!([])));

    let refused = |event: Vec<u8>| match ours.look(Some(&event), Vec::new(), NOW) {
        Preview::Refused(refused) => (refused.reason, refused.field),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(event(|e| e["event_type"] = json!("pay"))), ("unmapped_event", "event_type".to_owned()));
    assert_eq!(refused(event(|e| e["platform"] = json!("fourth"))), ("unknown_account", "platform".to_owned()));
    let strict = previewer(&format!("{ACCOUNT}validate.strict = true"));
    let Preview::Refused(refused) = strict.look(Some(&event(|_| {})), Vec::new(), NOW) else { panic!("accepted") };
    assert_eq!((refused.reason, &*refused.field), ("invalid", "user.user_id"));
}

#[test]
fn a_trace_looks_for_its_claims() {
    let wanted = Wanted { trans_id: "t-1".into(), platform: Some("third"), account: None };
    let found = candidates(&wanted, &good(ACCOUNT).config.accounts);
    let found: Vec<_> = found.iter().map(|c| (c.platform, &*c.account, &*c.event)).collect();
    assert_eq!(found, [("third", "acme", "ORDER")]);
}

/// A URL in an event that leads to the platform's callback host.
const CALLBACK: &str = "https://callback.third.example/cb?id=%2F7&x={a}";

fn with_callback(url: &str) -> Vec<u8> {
    event(|e| e["click"] = json!({"third_callback": url}))
}

#[test]
fn a_callback_goes_to_the_host_of_its_list_and_an_account_with_a_host_of_its_own_takes_its_place() {
    let url = |account: &str, event: &[u8]| match previewer(account).look(Some(event), Vec::new(), NOW) {
        Preview::Accepted(found) => Ok(found.request.url(false).to_owned()),
        Preview::Refused(refused) => Err((refused.reason, refused.field, refused.detail.unwrap())),
        Preview::Halted(why) => panic!("{why}"),
    };
    let own = |text: &str| format!("{ACCOUNT}base_url = \"{text}\"\nallow_http = true\nallow_private = true\n");
    let callback = with_callback(CALLBACK);
    assert_eq!(url(ACCOUNT, &callback).as_deref(), Ok(CALLBACK));
    assert_eq!(url(&format!("{ACCOUNT}path = \"/own\""), &callback).as_deref(), Ok(CALLBACK), "its path is its own");
    assert_eq!(url(&own("https://third.example"), &callback).as_deref(), Ok(CALLBACK), "that is the platform's own");
    let sandbox = "http://127.0.0.1:7070/cb?id=%2F7&x={a}";
    assert_eq!(url(&own("http://127.0.0.1:7070/prefix"), &callback).as_deref(), Ok(sandbox));
    assert_eq!(
        url(&own("http://127.0.0.1:7070"), &with_callback(&CALLBACK.replace("https", "http"))).as_deref(),
        Ok(sandbox)
    );

    for (account, event, says) in [
        (ACCOUNT.to_owned(), with_callback("http://callback.third.example/cb"), "allow_http"),
        (ACCOUNT.to_owned(), with_callback("https://elsewhere.example/cb"), "not on the platform's list"),
        (own("http://127.0.0.1:7070"), with_callback("https://elsewhere.example/cb"), "not on the platform's list"),
        (own("http://127.0.0.1:7070"), with_callback("https://127.0.0.1/cb"), "named host"),
    ] {
        let (reason, field, detail) = url(&account, &event).unwrap_err();
        assert_eq!((reason, &*field), ("invalid", "click.third_callback"));
        assert!(detail.contains(says), "{detail}");
    }
    let plain = format!("{ACCOUNT}allow_http = true");
    let http = CALLBACK.replace("https", "http");
    assert_eq!(url(&plain, &with_callback(&http)).as_deref(), Ok(&*http));
}

#[test]
fn behind_a_proxy_a_warning_says_that_the_list_is_all_that_is_checked_of_a_callback() {
    let warned = |more: &str| good(&format!("{ACCOUNT}proxy = \"http://p:1\"\n{more}")).warnings;
    let warnings = warned("");
    assert_eq!((warnings.len(), &*warnings[0].key), (1, "accounts.acme.proxy"));
    assert!(warnings[0].reason.contains("callback.third.example"), "{}", warnings[0].reason);
    assert_eq!(warned("base_url = \"https://own.example\"").len(), 0, "no callback leads elsewhere");
}

#[test]
fn an_account_that_makes_calls_has_limits_for_them_and_says_where_personal_data_may_go() {
    let calls = format!("{ACCOUNT}calls = true\n");
    let own = "limits.rps = 9\ncall_limits = { rps = 2, timeout = \"2s\" }\n\
               reply = { allow_pii = true, restricted_topics = [\"postback.results\"] }\n";
    let Loaded { config, warnings } = good(&format!("{calls}{own}"));
    assert_eq!(warnings, []);
    let account = &config.accounts["acme"];
    assert_eq!((account.limits.rps, account.call_limits.rps), (9.0, 2.0));
    assert_eq!(account.call_limits.concurrency, account.limits.concurrency, "what is not stated is as for conversions");
    assert_eq!((&*account.call_limits.shared_as, account.call_limits.timeout), ("42", Duration::from_secs(2)));
    assert!(account.reply.shows_personal("postback.results") && !account.reply.shows_personal("others"));
    let plain = good(&calls).config;
    assert_eq!(plain.accounts["acme"].call_limits.rps, plain.accounts["acme"].limits.rps);
    let problem = |account: &str| {
        let found = load(&format!("[accounts.acme]{account}")).err().unwrap().problems;
        found.iter().map(|problem| problem.key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(problem(&format!("{ACCOUNT}{own}")), ["accounts.acme.call_limits", "accounts.acme.reply"]);
    let elsewhere = "reply = { allow_pii = true, restricted_topics = [\"elsewhere\"] }\n";
    assert_eq!(problem(&format!("{calls}{elsewhere}")), ["accounts.acme.reply.restricted_topics"]);
    assert_eq!(problem(&format!("{calls}call_limits.rps = 0\n")), ["accounts.acme.call_limits.rps"]);
}

#[test]
fn preview_shows_the_first_request_of_a_call_and_why_one_is_refused() {
    let calls = format!("{ACCOUNT}calls = true\n");
    let call = |name: &str, reply: Value| {
        let event = event(|event| {
            event["kind"] = json!("call");
            event["call"] = json!(name);
            event["reply"] = reply;
        });
        previewer(&calls).look(Some(&event), Vec::new(), NOW)
    };
    let Preview::Accepted(shown) = call("list", json!({"paginate": "all", "ttl_s": 60})) else { panic!("refused") };
    assert_eq!((&*shown.event, shown.deadline_ms), ("list", Some(NOW - 1000 + 60_000 - 1)));
    let json = shown.json(false);
    assert_eq!((&json["lane"], &json["request"]["body"]), (&json!("acme"), &json!("list 0 t-1")));
    for (name, reply, field) in [
        ("token.get", json!({}), "call"),
        ("list", json!({"topic": "elsewhere"}), "reply.topic"),
        ("list", json!({"ttl_s": 1}), "reply.ttl_s"),
    ] {
        let Preview::Refused(refused) = call(name, reply) else { panic!("{field} is accepted") };
        assert_eq!(refused.field, field);
    }
}
