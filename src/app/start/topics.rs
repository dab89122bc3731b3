//! Checks the worker's own topics and its inputs against the configuration (pure).

use std::fmt;
use std::time::Duration;

use crate::account::{Account, WindowCheck};
use crate::kafka::topics::{Ensured, Level, OwnedTopic, Sources, Waiting, owned_topics};
use crate::settings::Config;

/// The text about an input that does not exist. Kafka leaves topics that a user may not see out of its answers.
pub const ABSENT: &str = "does not exist yet, or this user may not see it (right: Describe)";

/// Every topic that the worker writes with this configuration.
pub fn topics_of(config: &Config) -> Vec<OwnedTopic> {
    let tiers: Vec<&str> = config.retry.tiers.iter().map(|t| t.name.as_str()).collect();
    let accounts: Vec<&str> = config.accounts.keys().map(|name| &**name).collect();
    let partly = config.accounts.values().filter(|account| !account.rollout.is_all());
    let remainders: Vec<&str> = partly.map(|account| &*account.name).collect();
    owned_topics(&config.kafka, &tiers, &accounts, &remainders, waiting(config))
}

/// How long retry tiers and parking topics keep their records: for less time than sent events are remembered, and for
/// longer than records wait (`core.md` section 4).
fn waiting(config: &Config) -> Waiting {
    let ways = config.accounts.values().map(|a| &a.retry).chain([&config.retry]);
    let longest = ways.map(|retry| millis(retry.max_age) + millis(retry.max_parked)).max().unwrap_or(0);
    let (window_ms, least_ms) = (millis(config.dedupe.window), longest + DAY_MS);
    Waiting { retention_ms: (window_ms - DAY_MS).max(least_ms), least_ms, window_ms }
}

const DAY_MS: i64 = 86_400_000;

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 8)
}

/// What a start waits for before it creates or checks anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waits {
    /// There is no input topic yet.
    Missing(String),
    /// It is unknown how long this topic keeps its records, so that the window cannot be checked.
    Unread(String),
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waits::Missing(names) => write!(f, "{names} {ABSENT}"),
            Waits::Unread(topic) => write!(
                f,
                "the settings of topic {topic} cannot be read, so dedupe.window cannot be judged: grant DescribeConfigs on \
                 it, or set dedupe.window_check = \"warn\""
            ),
        }
    }
}

/// What a start with these inputs waits for.
pub fn waits(config: &Config, sources: &Sources) -> Option<Waits> {
    if sources.topics.is_empty() {
        return Some(Waits::Missing(config.kafka.input.join(", ")));
    }
    let unread = sources.unread().first().map(|topic| Waits::Unread((*topic).to_owned()));
    unread.filter(|_| config.dedupe.window_check == WindowCheck::Refuse)
}

/// What was found about the topics, each with its remedy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicFindings {
    /// Findings that refuse the start.
    pub refusals: Vec<String>,
    /// Findings that only warn.
    pub warnings: Vec<String>,
}

/// Checks the worker's own topics as they were found, and the inputs.
pub fn judge_topics(config: &Config, sources: &Sources, ensured: &Ensured) -> TopicFindings {
    let mut found = TopicFindings::default();
    for missing in ensured.missing.iter().filter(|_| !config.kafka.create_topics) {
        found.refusals.push(format!(
            "kafka: topic {} is missing and kafka.create_topics is false; make it with: {}",
            missing.topic, missing.command
        ));
    }
    for finding in &ensured.findings {
        let text = finding.to_string();
        match finding.level {
            Level::Refuse => found.refusals.push(text),
            Level::Warn => found.warnings.push(text),
        }
    }
    let window = match config.dedupe.window_check {
        WindowCheck::Refuse => &mut found.refusals,
        WindowCheck::Warn => &mut found.warnings,
    };
    for (topic, settings) in &sources.settings {
        window.extend(window_refusal(config, topic, settings.retention_ms, &settings.cleanup_policy));
    }
    let unread = |topic: &str| format!("kafka: {}", Waits::Unread(topic.to_owned()));
    found.warnings.extend(sources.unread().into_iter().map(unread));
    let known: Vec<&str> = sources.topics.iter().map(|topic| &*topic.name).collect();
    // If there is no input at all, the start waits for one and does not warn.
    let absent = absent(config, &known).filter(|_| !known.is_empty());
    found.warnings.extend(absent.map(|topic| format!("kafka.input: {topic} {ABSENT}; it is read once it is there")));
    found
}

/// The topics that `kafka.input` names without a pattern and that are not among the known ones.
pub fn absent<'a>(config: &'a Config, known: &[&str]) -> impl Iterator<Item = &'a str> {
    let listed = config.kafka.input.iter().map(String::as_str).filter(|input| !input.starts_with('^'));
    listed.filter(|name| !known.contains(name))
}

/// The deduplication window must be longer than any way on which a record can come back (`core.md` section 3).
pub(super) fn window_refusal(config: &Config, topic: &str, retention_ms: Option<i64>, policy: &str) -> Option<String> {
    let day = |ms: i64| format!("{:.1} d", ms as f64 / DAY_MS as f64);
    let window = millis(config.dedupe.window);
    let ways = |account: &Account| millis(account.retry.max_age) + millis(account.retry.max_parked);
    let account = config.accounts.values().max_by_key(|account| ways(account))?;
    let most = window - ways(account);
    let mend = format!("set retention.ms below {} ({}) with cleanup.policy=delete", most, day(most));
    let accept = "or accept that an event which comes back later is sent twice: dedupe.window_check = \"warn\"";
    if retention_ms == Some(-1) || (!policy.is_empty() && !policy.contains("delete")) {
        return Some(format!(
            "dedupe.window: topic {topic} keeps its records for ever, so no window outlives them: {mend}, {accept}"
        ));
    }
    let retention = retention_ms?;
    let needed = retention + ways(account);
    (window <= needed).then(|| {
        let longer = if needed < MONTH_MS { "lengthen the window (at most 30 d), " } else { "" };
        format!(
            "dedupe.window = {} is not longer than the ways back of a record: retention of topic {topic} {} + max_age {} + \
             max_parked {} = {} (account {}); {longer}{mend}, {accept}",
            day(window),
            day(retention),
            day(millis(account.retry.max_age)),
            day(millis(account.retry.max_parked)),
            day(needed),
            account.name
        )
    })
}

/// The longest window that the configuration allows.
const MONTH_MS: i64 = 30 * DAY_MS;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::kafka::topics::{TopicInfo, TopicSettings};

    /// One account, whose records may be retried for 24 h and parked for 72 h.
    fn config() -> Config {
        let mut config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
        config.dedupe.window = Duration::from_secs(12 * 24 * 3600);
        config.accounts = [("acme".into(), Arc::new(Account::stub("acme")))].into();
        config
    }

    #[test]
    fn a_window_that_does_not_outlive_every_way_back_refuses_the_start_and_says_what_to_change() {
        let config = config();
        let refusal = |retention, policy| window_refusal(&config, "in", retention, policy);
        assert_eq!(refusal(Some(8 * DAY_MS - 1), "delete"), None);
        assert_eq!(refusal(Some(8 * DAY_MS - 1), ""), None);
        assert_eq!(refusal(None, "delete"), None, "a broker that does not say is no answer");
        let why = refusal(Some(8 * DAY_MS), "compact,delete").unwrap();
        let parts = ["dedupe.window = 12.0 d", "topic in 8.0 d", "max_age 1.0 d", "max_parked 3.0 d", "account acme"];
        parts.iter().for_each(|part| assert!(why.contains(part), "no `{part}` in {why}"));
        for (retention, policy) in [(Some(-1), "delete"), (Some(DAY_MS), "compact")] {
            let why = refusal(retention, policy).unwrap();
            for part in ["for ever", "retention.ms below 691200000 (8.0 d)", "dedupe.window_check = \"warn\""] {
                assert!(why.contains(part), "no `{part}` in {why}");
            }
        }
        // No window is long enough, so the text does not ask for a longer one.
        let why = refusal(Some(30 * DAY_MS), "delete").unwrap();
        assert!(!why.contains("lengthen") && why.contains("retention.ms below 691200000"), "{why}");
        assert!(refusal(Some(9 * DAY_MS), "delete").unwrap().contains("lengthen the window (at most 30 d)"));
    }

    fn sources(retention_ms: Option<i64>) -> Sources {
        let topic = TopicInfo { name: "in".into(), partitions: 1, replication: 1 };
        let settings = TopicSettings { retention_ms, cleanup_policy: "delete".into(), ..TopicSettings::default() };
        Sources { topics: vec![topic], settings: [("in".to_owned(), settings)].into() }
    }

    #[test]
    fn a_window_that_cannot_be_judged_is_waited_for_and_one_that_is_only_warned_of_starts() {
        let mut config = config();
        let judge = |config: &Config, sources: &Sources| {
            let found = judge_topics(config, sources, &Ensured::default());
            (waits(config, sources), found.refusals.len(), found.warnings.len())
        };
        config.kafka.input = vec!["in".into(), "^x".into()];
        let unread = Some(Waits::Unread("in".into()));
        let hidden = Sources { settings: BTreeMap::new(), ..sources(None) };
        assert_eq!(judge(&config, &sources(Some(DAY_MS))), (None, 0, 0));
        assert_eq!(judge(&config, &sources(Some(-1))), (None, 1, 0));
        config.kafka.input = vec!["in".into()];
        assert_eq!(judge(&config, &Sources::default()), (Some(Waits::Missing("in".into())), 0, 0));
        for sources in [sources(None), hidden.clone()] {
            assert_eq!(judge(&config, &sources), (unread.clone(), 0, 1));
        }
        let text = Waits::Unread("in".into()).to_string();
        assert!(
            text.contains("topic in") && text.contains("DescribeConfigs") && text.contains("window_check"),
            "{text}"
        );

        config.dedupe.window_check = WindowCheck::Warn;
        assert_eq!(judge(&config, &sources(Some(-1))), (None, 0, 1));
        assert_eq!(judge(&config, &hidden), (None, 0, 1));
    }

    #[test]
    fn an_input_that_is_named_and_not_there_is_told_where_another_one_is() {
        let mut config = config();
        config.kafka.input = vec!["in".into(), "absent".into(), "^pattern".into()];
        let found = judge_topics(&config, &sources(Some(DAY_MS)), &Ensured::default());
        let text = "kafka.input: absent does not exist yet, or this user may not see it (right: Describe); it is read once it \
                    is there";
        assert_eq!((found.warnings, found.refusals), (vec![text.to_owned()], vec![]));
    }

    #[test]
    fn what_waits_is_kept_for_the_window_less_a_day_and_never_for_less_than_it_waits() {
        let mut config = config();
        let all = waiting(&config);
        assert_eq!((all.retention_ms, all.least_ms, all.window_ms), (11 * DAY_MS, 5 * DAY_MS, 12 * DAY_MS));
        config.dedupe.window = Duration::from_secs(5 * 86_400);
        assert_eq!(waiting(&config).retention_ms, 5 * DAY_MS);
    }
}
