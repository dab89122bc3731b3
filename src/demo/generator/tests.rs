use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::*;
use crate::error::{DeliveryError, Reason};
use crate::event::{Kind, decode};
use crate::sandbox::Sandbox;
use crate::settings::Config;

const NOW_MS: i64 = 1_767_225_600_000;

fn events(seed: u64, n: usize) -> Vec<Made> {
    let mut generator = Generator::new(seed);
    (0..n).map(|_| generator.make(NOW_MS)).collect()
}

fn config() -> Config {
    let env = [("POSTBACK__KAFKA__BROKERS", "x:1"), ("POSTBACK__REDIS__URL", "redis://x")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    match Config::load(Some(Path::new("config/demo.toml")), env) {
        Ok(loaded) => loaded.config,
        Err(found) => panic!("{:?}", found.problems.iter().map(ToString::to_string).collect::<Vec<_>>()),
    }
}

#[test]
fn one_seed_gives_the_same_events_and_another_gives_others() {
    assert_eq!(events(7, 2_000), events(7, 2_000));
    let ids = |seed| events(seed, 2_000).into_iter().filter_map(|m| m.key).collect::<HashSet<_>>();
    assert!(ids(7).is_disjoint(&ids(8)));
}

#[test]
fn every_fate_has_its_share_and_every_account_its_own() {
    let made = events(1, 20_000);
    let count = |fate| made.iter().filter(|m| m.fate == fate).count();
    for (fate, share) in SHARES {
        let wanted = share as usize * 2;
        assert!(count(fate).abs_diff(wanted) < wanted / 2, "{fate:?}: {} of {wanted}", count(fate));
    }
    let total: u32 = PROFILES.iter().map(|p| p.weight).sum();
    for (index, profile) in PROFILES.iter().enumerate() {
        let share = made.iter().filter(|m| m.account == Some(index)).count() as f64 / 20_000.0;
        let wanted = f64::from(profile.weight) / f64::from(total);
        assert!((share - wanted).abs() < 0.02, "{}: {share} of {wanted}", profile.account);
    }
    let mut generator = Generator::new(1);
    (0..20_000).for_each(|_| drop(generator.make(NOW_MS)));
    assert_eq!(generator.distinct() as usize, 20_000 - count(Fate::Duplicate) - count(Fate::Conflict));
}

#[test]
fn the_profiles_are_the_accounts_of_the_configuration() {
    let config = config();
    let names: Vec<(&str, &str)> = PROFILES.iter().map(|p| (p.account, p.platform)).collect();
    let known: HashSet<_> = config.accounts.values().map(|a| (&*a.name, a.platform)).collect();
    assert_eq!(names.iter().copied().collect::<HashSet<_>>(), known);
    for chapter in crate::demo::scenario::chapters() {
        assert!(names.iter().any(|(name, _)| *name == chapter.account), "{}", chapter.account);
    }
}

/// Judges an event by the worker's own rules, except those that depend on time or on the store.
fn judged(config: &Config, value: Option<&[u8]>) -> Result<(), DeliveryError> {
    let event = decode(value)?;
    let account = config.accounts.values().find(|a| *a.name == *event.account);
    let account = account.filter(|a| a.platform == event.platform);
    let unknown = || DeliveryError::UnknownAccount(crate::error::Fault::whole("none"));
    let account = account.ok_or_else(unknown)?;
    match event.kind {
        Kind::Conversion => account.sender.as_ref().unwrap().prepare(&event).map(|_| ()),
        Kind::Call => account.prepare_call(&event, NOW_MS).map(|_| ()),
    }
}

#[test]
fn the_worker_judges_every_event_as_the_generator_means_it() {
    let config = config();
    let mut kinds: HashMap<String, usize> = HashMap::new();
    for made in events(3, 6_000) {
        let verdict = judged(&config, made.value.as_deref());
        let text = made.value.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let reason = verdict.as_ref().err().map(|e| match e {
            DeliveryError::Malformed(_) => Reason::Malformed,
            DeliveryError::Invalid(fault) => {
                *kinds.entry(fault.field.to_string()).or_default() += 1;
                Reason::Invalid
            }
            DeliveryError::UnmappedEvent(_) => Reason::UnmappedEvent,
            DeliveryError::UnknownAccount(_) => Reason::UnknownAccount,
            other => panic!("{other:?}"),
        });
        let event: Value = serde_json::from_str(&text).unwrap_or_default();
        let age_days = (NOW_MS - event["event_time_ms"].as_i64().unwrap_or(NOW_MS)) / 86_400_000;
        let fits = match made.fate {
            Fate::Fresh | Fate::Duplicate | Fate::Conflict => reason.is_none() && age_days == 0,
            Fate::OptOut => event["consent"]["opt_out"] == true,
            Fate::Expired => reason.is_none() && age_days > 7 && event["platform"] != "qihoo360",
            // The clock decides whether an event lies in the future.
            Fate::Invalid => {
                reason == Some(Reason::Invalid)
                    || (reason.is_none() && age_days < 0 || {
                        event["event_time_ms"].as_i64().is_some_and(|at| at > NOW_MS + 300_000)
                    })
            }
            Fate::Malformed => reason == Some(Reason::Malformed),
            Fate::Unmapped => reason == Some(Reason::UnmappedEvent),
            Fate::UnknownAccount => reason == Some(Reason::UnknownAccount),
        };
        assert!(fits, "{:?} became {verdict:?}: {text}", made.fate);
    }
    assert!(kinds.len() >= 6, "several ways to be invalid: {kinds:?}");
}

#[test]
fn no_two_calls_ask_about_one_parcel_but_copies_of_one_do() {
    let mut parcels = HashMap::new();
    for made in events(5, 6_000).iter().filter(|made| matches!(made.fate, Fate::Fresh | Fate::Duplicate)) {
        let event: Value = serde_json::from_slice(made.value.as_deref().unwrap()).unwrap();
        if event["kind"] == "call" {
            let parcel = event["args"]["LogisticCode"].as_str().unwrap().to_owned();
            let first = parcels.entry(parcel).or_insert_with(|| event["trans_id"].clone());
            assert_eq!(*first, event["trans_id"]);
        }
    }
    assert!(parcels.len() > 100, "{}", parcels.len());
}

#[test]
fn baizhu_money_always_carries_an_order_number_and_copies_differ_in_money_only_where_they_should() {
    let mut first: HashMap<String, Value> = HashMap::new();
    for made in events(5, 6_000) {
        let Some(Ok(event)) = made.value.as_deref().map(serde_json::from_slice::<Value>) else { continue };
        if event["platform"] == "baizhu" && event["order"]["amount"].is_object() {
            assert!(event["order"]["order_id"].as_str().is_some_and(|id| !id.is_empty()), "{event}");
        }
        let id = event["trans_id"].as_str().unwrap_or_default().to_owned();
        match made.fate {
            Fate::Fresh => drop(first.insert(id, event)),
            Fate::Duplicate => assert_eq!(first[&id]["order"], event["order"]),
            Fate::Conflict => assert_ne!(first[&id]["order"]["amount"], event["order"]["amount"]),
            _ => {}
        }
    }
}

/// If the demo's own platforms refused its events, the demo would show nothing.
#[tokio::test]
async fn the_sandbox_accepts_every_good_event() {
    let config = config();
    let sandbox =
        Sandbox::start(([127, 0, 0, 1], 0).into(), crate::app::local_sandbox::accounts(&config)).await.unwrap();
    let client = reqwest_client();
    let now_ms = chrono::Utc::now().timestamp_millis();
    let mut generator = Generator::new(11);
    let mut sent = 0;
    for made in (0..800).map(|_| generator.make(now_ms)).filter(|m| m.fate == Fate::Fresh) {
        let event = decode(made.value.as_deref()).unwrap();
        let account = config.accounts.values().find(|a| *a.name == *event.account).unwrap();
        let token = account.tokens().and_then(|(_, seed)| seed.access);
        let context =
            crate::platforms::Context { credential: account.credentials.first(), now_ms, token: token.as_ref() };
        let request = match event.kind {
            Kind::Conversion => {
                let prepared = account.prepare(&event).unwrap();
                account.sender.as_ref().unwrap().request(&[&prepared], &context).unwrap()
            }
            Kind::Call => {
                let prepared = account.prepare_call(&event, now_ms).unwrap();
                account.call.as_ref().unwrap().request(&prepared, 0, &context).unwrap()
            }
        };
        let mut post = client.post(format!("{}{}", sandbox.base_url(), request.path));
        for (name, value) in &request.headers {
            post = post.header(*name, value);
        }
        post.body(request.body).send().await.unwrap();
        sent += 1;
    }
    let refused: Vec<_> = sandbox.ledger().iter().filter_map(|e| e.problem.clone()).collect();
    assert_eq!(refused, Vec::<String>::new());
    let of_calls = PROFILES.iter().filter(|profile| profile.is_of_calls());
    let answered: u64 = of_calls.map(|profile| sandbox.answered(profile.account)).sum();
    assert!(answered > 0);
    assert_eq!(sandbox.accepted() + answered, sent);
}

fn reqwest_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
