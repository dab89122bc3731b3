use serde_json::{Value, json};

use super::*;
use crate::settings::Config;

const NOW: i64 = 1_736_899_201_000;

fn previewer() -> Previewer {
    let config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
    Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix)
}

fn order(edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut event = json!({
        "trans_id": "t-1", "platform": "qihoo360", "account": "demo-360-ps", "event_type": "order",
        "event_time_ms": NOW - 1000, "click": {"qhclickid": "a1b2c3d4e5f60718"},
        "order": {"order_id": "1", "amount": {"minor": 2345, "currency": "CNY"}},
    });
    edit(&mut event);
    event.to_string().into_bytes()
}

fn at(now_ms: i64, edit: impl FnOnce(&mut Value)) -> Preview {
    previewer().look(Some(&order(edit)), Vec::new(), now_ms)
}

fn accepted(preview: Preview) -> Accepted {
    match preview {
        Preview::Accepted(accepted) => *accepted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_accounts_of_the_compose_file_take_an_example() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = Config::load(Some(&folder.join("deploy/postback.toml")), []).unwrap_or_else(|found| panic!("{found}"));
    let example = std::fs::read(folder.join("config/examples/qihoo360-ps-order.json")).unwrap();
    let found =
        accepted(
            Previewer::new(&config.config.accounts, config.config.kafka.result_topics(), &config.config.redis.prefix)
                .look(Some(&example), Vec::new(), NOW),
        );
    assert_eq!((&*found.account, found.warnings.len()), ("demo-360-ps", 0), "{:?}", found.warnings);
    assert!(found.request.url.starts_with("http://sandbox:9470/"), "{}", found.request.url);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn every_example_is_accepted_and_its_object_is_the_contracts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples");
    let mut accounts = std::collections::BTreeSet::new();
    // The demo has accounts of some platforms, the file beside the examples those of the others.
    let others = Config::load(Some(&std::path::Path::new(folder).join("accounts.toml")), [])
        .unwrap_or_else(|found| panic!("{found}"))
        .config;
    let others = Previewer::new(&others.accounts, others.kafka.result_topics(), &others.redis.prefix);
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    for path in files.filter(|path| path.extension().is_some_and(|e| e == "json")) {
        let bytes = std::fs::read(&path).unwrap();
        let event: Value = serde_json::from_slice(&bytes).unwrap();
        let of_demo = event["account"].as_str().is_some_and(|account| account.starts_with("demo-"));
        let previewer = if of_demo { &previewer() } else { &others };
        let mut found = accepted(previewer.look(Some(&bytes), Vec::new(), NOW));
        // A secret in a URL or body is worth a warning, and no fault of the example.
        found.warnings.retain(|warning| !warning.contains("--show-secrets"));
        assert_eq!(found.warnings, Vec::<String>::new(), "{}", path.display());
        accounts.insert(found.account.to_string());
        let Value::Object(members) = found.json(false) else { panic!("no object") };
        let keys: Vec<&str> = members.keys().map(String::as_str).collect();
        let wanted =
            ["accepted", "account", "deadline_ms", "dedupe_key", "event", "lane", "platform", "request", "warnings"];
        assert_eq!(keys.iter().copied().collect::<std::collections::BTreeSet<_>>(), wanted.into());
        let request = members["request"].as_object().unwrap();
        for key in ["method", "url", "headers", "body", "body_base64", "signature_input"] {
            assert!(request.contains_key(key), "{key}");
        }
        assert_eq!(request.len(), 6);
    }
    let demo = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
    accounts.retain(|account| account.starts_with("demo-"));
    assert_eq!(accounts, demo.accounts.keys().map(ToString::to_string).collect(), "each account has an example");
}

#[test]
fn the_secret_shows_only_where_it_is_asked_for() {
    let found = accepted(at(NOW, |_| {}));
    let (masked, shown) = (found.json(false).to_string(), found.json(true).to_string());
    let secret = "d41d8cd98f00b204e9800998ecf8427e";
    assert!(!masked.contains(secret) && masked.contains("***{"), "{masked}");
    assert!(shown.contains(secret));
    // The signed text is the secret and then exactly the body.
    let input = found.request.signature_input(true).unwrap();
    assert_eq!(input, format!("{secret}{}", found.request.text(true).unwrap()));
    assert_eq!(found.request.request.headers[1].1, crate::platforms::signing::md5_hex(&input));
}

#[test]
fn an_interface_with_a_host_of_its_own_goes_below_the_accounts_base_url_and_path() {
    let file = std::env::temp_dir().join(format!("postback-own-host-{}.toml", std::process::id()));
    let keys = [
        "base_url = \"https://gw.example/ads/\"",
        "path = \"/other/\"",
        "base_url = \"https://gw.example/ads\"\npath = \"/other\"",
    ];
    let mut config = "[kafka]\nbrokers = \"127.0.0.1:9092\"\n[redis]\nurl = \"redis://127.0.0.1\"\n".to_owned();
    for (at, keys) in keys.iter().enumerate() {
        config.push_str(&format!("[accounts.a{at}]\nplatform = \"oceanengine\"\napi = \"v1\"\n{keys}\n"));
    }
    std::fs::write(&file, config).unwrap();
    let config = Config::load(Some(&file), []).unwrap_or_else(|found| panic!("{found}")).config;
    std::fs::remove_file(&file).unwrap();
    let previewer = Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix);
    let urls: Vec<String> = (0..keys.len())
        .map(|at| {
            let event = json!({
                "trans_id": "t-1", "platform": "oceanengine", "account": format!("a{at}"), "event_type": "pay",
                "event_time_ms": NOW - 1000, "click": {"oe_callback": "CB"},
            });
            accepted(previewer.look(Some(event.to_string().as_bytes()), Vec::new(), NOW)).request.url
        })
        .collect();
    let query = "?callback=CB&event_type=2&conv_time=1736899200";
    assert_eq!(
        urls,
        [
            format!("https://gw.example/ads/track/activate/{query}"),
            format!("https://ad.oceanengine.com/other/{query}"),
            format!("https://gw.example/ads/other{query}"),
        ]
    );
}

#[test]
fn a_token_in_the_accounts_own_path_is_masked() {
    let env = [("POSTBACK__ACCOUNTS__DEMO_360_PS__PATH".to_owned(), "/x?access_token=0123456789abcdef0123".to_owned())];
    let config = Config::load(None, env).unwrap_or_else(|found| panic!("{found}")).config;
    let found = accepted(Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix).look(
        Some(&order(|_| {})),
        Vec::new(),
        NOW,
    ));
    assert!(!found.request.url(false).contains("456789abcdef01"), "{}", found.request.url(false));
    assert!(found.request.url(true).ends_with("/x?access_token=0123456789abcdef0123"));
}

#[test]
fn the_same_moment_gives_the_same_bytes_and_another_one_does_not() {
    let body = |now| accepted(at(now, |_| {})).request.request.body;
    assert_eq!(body(NOW), body(NOW + 999));
    assert_ne!(body(NOW), body(NOW + 1000));
}

#[test]
fn the_deadline_is_the_natural_days_last_start_or_the_events_own() {
    // The demo's natural day is that of Shanghai and has no guard.
    let day_end = 1_736_956_800_000;
    assert_eq!(accepted(at(NOW, |_| {})).deadline_ms, Some(day_end));
    assert_eq!(accepted(at(NOW, |e| e["deadline_ms"] = (NOW + 5).into())).deadline_ms, Some(NOW + 5));
    assert_eq!(accepted(at(NOW, |e| e["deadline_ms"] = (day_end + 5).into())).deadline_ms, Some(day_end));
    let uid = "0123456789abcdef0123456789abcdef";
    let install = |e: &mut Value| {
        *e = json!({"trans_id": "t", "platform": "baizhu", "account": "demo-baizhu", "event_type": "install",
                    "event_time_ms": NOW, "user": {"user_id": uid}});
    };
    let found = accepted(at(NOW, install));
    assert_eq!((found.deadline_ms, found.too_old_ms), (None, Some(NOW + 7 * 86_400_000)));
}

#[test]
fn a_first_attempt_in_the_guard_waits_and_its_deadline_is_the_next_days() {
    let env = [("POSTBACK__ACCOUNTS__DEMO_360_PS__NATURAL_DAY__GUARD".to_owned(), "60s".to_owned())];
    let config = Config::load(None, env).unwrap_or_else(|found| panic!("{found}")).config;
    let day_end = 1_736_956_800_000;
    let look = |now| {
        accepted(Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix).look(
            Some(&order(|_| {})),
            Vec::new(),
            now,
        ))
    };
    assert_eq!(look(day_end - 60_001).deadline_ms, Some(day_end - 60_000));
    let late = look(day_end - 60_000);
    assert_eq!(late.deadline_ms, Some(day_end + 86_400_000 - 60_000));
    assert_eq!(late.warnings.len(), 1);
}

#[test]
fn what_is_refused_says_what_its_dead_letter_would() {
    type Edit = fn(&mut Value);
    let rows: [(&str, &str, Edit); 9] = [
        ("malformed", "schema", |e| e["schema"] = "postback.event/2".into()),
        ("invalid", "click.qhclickid", |e| e["click"] = json!({})),
        ("invalid", "order.amount.currency", |e| e["order"]["amount"]["currency"] = "USD".into()),
        ("unmapped_event", "event_type", |e| e["event_type"] = "teleported".into()),
        ("unknown_account", "platform", |e| e["platform"] = "teleport".into()),
        ("unknown_account", "account", |e| e["account"] = "demo-baizhu".into()),
        // The time is judged last.
        ("invalid", "event_time_ms", |e| e["event_time_ms"] = (NOW + 301_000).into()),
        ("expired", "deadline_ms", |e| e["deadline_ms"] = (NOW - 1).into()),
        ("suppressed", "consent.opt_out", |e| e["consent"] = json!({"opt_out": true})),
    ];
    for (reason, field, edit) in rows {
        let Preview::Refused(refused) = at(NOW, edit) else { panic!("{reason} {field} is accepted") };
        assert_eq!((refused.reason, refused.field.as_str()), (reason, field));
        assert!(!refused.accepted);
        assert_eq!(refused.detail.is_none(), reason == "suppressed");
    }
    let Preview::Refused(refused) = previewer().look(Some(b"[1]"), Vec::new(), NOW) else { panic!("accepted") };
    assert_eq!(refused.reason, "malformed");
    let json = serde_json::to_value(&refused).unwrap();
    assert_eq!(json.as_object().unwrap().len(), 4, "{json}");
}

#[test]
fn an_account_whose_credential_has_ended_halts() {
    let env =
        [("POSTBACK__ACCOUNTS__DEMO_360_PS__SECRETS__0__NOT_AFTER".to_owned(), "2025-01-01T00:00:00Z".to_owned())];
    let config = Config::load(None, env).unwrap_or_else(|found| panic!("{found}")).config;
    let found = Previewer::new(&config.accounts, config.kafka.result_topics(), &config.redis.prefix).look(
        Some(&order(|_| {})),
        Vec::new(),
        NOW,
    );
    let Preview::Halted(why) = found else { panic!("{found:?}") };
    assert!(why.starts_with("accounts.demo-360-ps.secrets: "), "{why}");
}
