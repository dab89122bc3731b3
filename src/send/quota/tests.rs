use std::sync::Arc;

use tokio::task::spawn_local;

use super::*;
use crate::clock::now_ms;
use crate::embedded::store::Store;
use crate::platforms::Credential;
use crate::redis::health::Health;
use crate::secret::SecretString;
use crate::stub::bench::run;

/// The quotas of two accounts with these keys, each as a replica of its own sees it.
fn quotas(store: &Store, keys: [&str; 2]) -> [Quota; 2] {
    keys.map(|key| {
        let client = crate::redis::Config::stub(store.url()).client().unwrap();
        let (batcher, work) = Batcher::new(client, "pb:epoch".into(), Arc::new(Health::default()));
        spawn_local(work);
        let mut account = Account::stub(&format!("account-{}", now_ms()));
        let secret = SecretString::new("s");
        account.credentials =
            vec![Credential { id: "a".into(), key: key.into(), secret, not_before_ms: None, not_after_ms: None }];
        Quota::of(batcher, "pb", &account)
    })
}

fn replicas(store: &Store) -> [Quota; 2] {
    quotas(store, ["7", "7"])
}

fn limit(about: &str, per_day: Option<u64>) -> CallLimit {
    let interval = Duration::from_secs(1800);
    CallLimit { about: about.into(), interval, per_day, tz: chrono_tz::Asia::Shanghai }
}

async fn take(quota: &Quota, limit: &CallLimit, caller: &str) -> Allowed {
    quota.take(limit, caller.as_bytes(), now_ms()).await.unwrap()
}

#[test]
fn what_was_asked_about_is_asked_about_again_after_the_interval_and_by_its_own_call_at_any_time() {
    run(async {
        let store = Store::start().unwrap();
        let [one, other] = replicas(&store);
        let limit = limit("YTO:71", None);
        assert_eq!(take(&one, &limit, "c-1").await, Allowed::Yes(Counted::default()));
        let Allowed::TooSoon { wait } = take(&other, &limit, "c-2").await else { panic!("asked again at once") };
        assert!(wait <= limit.interval && wait > limit.interval - Duration::from_secs(60), "{wait:?}");
        assert_eq!(take(&other, &limit, "c-1").await, Allowed::Yes(Counted::default()), "its next attempt");
        let about = |about: &str| CallLimit { about: about.into(), ..limit.clone() };
        assert_eq!(take(&other, &about("YTO:72"), "c-2").await, Allowed::Yes(Counted::default()));
        let at_any_time = CallLimit { interval: Duration::ZERO, ..limit };
        assert_eq!(take(&other, &at_any_time, "c-2").await, Allowed::Yes(Counted::default()));
    });
}

#[test]
fn a_day_has_so_many_requests_for_all_replicas_and_what_waits_for_its_interval_is_none() {
    run(async {
        let store = Store::start().unwrap();
        let [one, other] = replicas(&store);
        let ask = async |quota: &Quota, about: &str, caller: &str| take(quota, &limit(about, Some(3)), caller).await;
        let Allowed::Yes(first) = ask(&one, "a", "c-1").await else { panic!("none at all") };
        assert!(matches!(ask(&other, "a", "c-2").await, Allowed::TooSoon { .. }));
        assert!(matches!(ask(&other, "b", "c-3").await, Allowed::Yes(_)));
        assert!(matches!(ask(&one, "a", "c-1").await, Allowed::Yes(_)), "an attempt is a request");
        let Allowed::DayIsOver { wait } = ask(&other, "c", "c-4").await else { panic!("a fourth") };
        assert!(wait <= Duration::from_secs(86_400) && !wait.is_zero(), "{wait:?}");
        one.take_back(first).await;
        assert!(matches!(ask(&other, "c", "c-4").await, Allowed::Yes(_)), "one did not go out");
        assert!(matches!(ask(&one, "d", "c-5").await, Allowed::DayIsOver { .. }));
    });
}

#[test]
fn two_accounts_of_different_contracts_share_nothing() {
    run(async {
        let store = Store::start().unwrap();
        let [one, other] = quotas(&store, ["7", "8"]);
        let limit = limit("a", Some(1));
        assert!(matches!(take(&one, &limit, "c-1").await, Allowed::Yes(_)));
        assert!(matches!(take(&other, &limit, "c-2").await, Allowed::Yes(_)));
    });
}

#[test]
fn a_zone_is_ahead_of_utc_as_its_calendar_says() {
    assert_eq!(ahead_of_utc_ms(chrono_tz::Asia::Shanghai, 1_736_899_201_000), 8 * 3_600_000);
    assert_eq!(ahead_of_utc_ms(chrono_tz::America::New_York, 1_736_899_201_000), -5 * 3_600_000);
    assert_eq!(ahead_of_utc_ms(chrono_tz::America::New_York, 1_752_537_601_000), -4 * 3_600_000);
}
