//! The configuration of the demo: the compiled-in file, and values that are known only at the start.

use std::collections::BTreeMap;

use crate::exit::Exit;
use crate::platforms::natural_day::day_end_ms;
use crate::settings::Config;

use super::generator::PROFILES;

/// Some platforms count in natural days. The demo takes no time zone whose midnight is nearer than this.
const FAR: i64 = 6 * 3_600_000;
/// The midnights of these zones lie about eight hours apart. The zone that the platforms themselves use comes first.
const ZONES: [chrono_tz::Tz; 3] =
    [chrono_tz::Asia::Shanghai, chrono_tz::Europe::Berlin, chrono_tz::America::Los_Angeles];

/// Picks the time zone of the natural day: one whose midnight is hours away.
pub fn zone(now_ms: i64) -> chrono_tz::Tz {
    let far = |zone: &chrono_tz::Tz| day_end_ms(now_ms, *zone) - now_ms >= FAR;
    ZONES.into_iter().find(far).unwrap_or(chrono_tz::Asia::Shanghai)
}

/// Loads the configuration and points its accounts to the sandbox.
///
/// # Errors
/// 2, with every problem; there can be some because the environment may override any key.
pub fn load(env: impl IntoIterator<Item = (String, String)>, sandbox: &str, now_ms: i64) -> Result<Config, Exit> {
    let mut env: BTreeMap<String, String> = env.into_iter().collect();
    for profile in PROFILES {
        let account = format!("POSTBACK__ACCOUNTS__{}", profile.account.to_uppercase().replace('-', "_"));
        env.insert(format!("{account}__BASE_URL"), sandbox.to_owned());
        if profile.has_natural_day() {
            env.insert(format!("{account}__NATURAL_DAY__TZ"), zone(now_ms).to_string());
        }
    }
    let problems = match Config::load(None, env) {
        Ok(loaded) if loaded.config.is_embedded() => return Ok(loaded.config),
        // The worker reads the same variables. The demo must not write into a real Kafka because of them.
        Ok(_) => vec![
            "the demo runs on the embedded broker and store alone; POSTBACK__KAFKA__BROKERS and POSTBACK__REDIS__URL \
             name others: unset them"
                .to_owned(),
        ],
        Err(found) => found.problems.iter().map(ToString::to_string).collect(),
    };
    Err(Exit::usage(problems.join("\n")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn at_every_hour_of_the_year_some_midnight_is_hours_away() {
        for hour in 0..366 * 24 {
            let now = 1_767_225_600_000 + hour * HOUR + 59 * 60_000;
            let left = day_end_ms(now, zone(now)) - now;
            assert!(left >= FAR, "{hour}: {left} in {}", zone(now));
        }
    }

    #[test]
    fn the_accounts_lead_to_the_sandbox_and_nothing_else_is_taken_for_granted() {
        let config = load([], "http://127.0.0.1:4711", 1_767_225_600_000).unwrap_or_else(|e| panic!("{}", e.text));
        assert_eq!(config.accounts.len(), PROFILES.len());
        assert!(config.accounts.values().all(|a| a.base_urls == ["http://127.0.0.1:4711"]));
        assert!(!config.kafka.receipts.is_empty());
        assert_eq!(config.kafka.partitions, 16);
        assert!(config.accounts.values().all(|a| a.limits.concurrency == 32 && a.limits.rps == 1000.0));
    }

    #[test]
    fn waits_are_short_enough_to_watch_and_no_account_shares_its_key_or_its_rate_with_another() {
        let config = load([], "http://127.0.0.1:4711", 1_767_225_600_000).unwrap_or_else(|e| panic!("{}", e.text));
        assert_eq!(config.retry.tiers.iter().map(|t| t.delay.as_secs()).collect::<Vec<_>>(), [1, 3, 10]);
        let accounts: Vec<_> = config.accounts.values().collect();
        assert!(accounts.iter().all(|a| a.retry.tiers == config.retry.tiers));
        let rates: BTreeSet<_> = accounts.iter().map(|a| &a.limits.shared_as).collect();
        assert_eq!(rates.len(), accounts.len(), "{rates:?}");
        let keys: Vec<_> = accounts.iter().flat_map(|a| &a.credentials).map(|c| &c.key).collect();
        let distinct: BTreeSet<_> = keys.iter().collect();
        assert_eq!((keys.len(), distinct.len()), (5, 5), "{keys:?}");
        let days: Vec<_> = accounts.iter().filter_map(|a| a.natural_day()).collect();
        assert_eq!(days.len(), 4);
        assert!(days.iter().all(|day| day.guard.is_zero()), "a guard keeps the demo from sending before midnight");
    }

    #[test]
    fn a_real_kafka_in_the_environment_is_refused() {
        let env = [("POSTBACK__KAFKA__BROKERS", "kafka:9092"), ("POSTBACK__REDIS__URL", "redis://redis")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let exit = load(env, "http://127.0.0.1:1", 0).err().unwrap();
        assert!(exit.code == 2 && exit.text.contains("POSTBACK__KAFKA__BROKERS"), "{}", exit.text);
    }
}
