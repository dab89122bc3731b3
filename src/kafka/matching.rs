//! Decides which topics are inputs, and which topics belong to the worker itself (pure).
//!
//! The worker matches patterns here, with one engine and compiled once. The client library receives only names: its own
//! patterns use another dialect, so that a pattern which passed the check here could match nothing there.

use regex::Regex;

use super::pattern::{BadPattern, pattern};
use super::{Config, REMAINDER};

/// The names of the topics that a worker with this configuration reads and writes.
#[derive(Clone, Debug)]
pub struct Matching {
    names: Vec<String>,
    patterns: Vec<Regex>,
    waiting: WaitingNames,
    others: Vec<String>,
}

impl Matching {
    /// Builds the matcher from a configuration.
    ///
    /// # Errors
    /// Fails on the first pattern that cannot be read.
    pub fn new(config: &Config) -> Result<Self, BadPattern> {
        let (patterns, names): (Vec<&String>, Vec<&String>) =
            config.input.iter().partition(|input| input.starts_with('^'));
        let others = [&config.dead_letter, &config.results, &config.audit, &config.receipts];
        Ok(Self {
            names: names.into_iter().cloned().collect(),
            patterns: patterns.into_iter().map(|text| pattern(text)).collect::<Result<_, _>>()?,
            waiting: WaitingNames::new(&config.retry_prefix, &config.parked_prefix),
            others: others.into_iter().chain(&config.result_topics).filter(|name| !name.is_empty()).cloned().collect(),
        })
    }

    /// Whether `kafka.input` names this topic. A pattern matches neither the worker's own topics nor Kafka's internal
    /// topics.
    pub fn is_input(&self, topic: &str) -> bool {
        let by_pattern = || !topic.starts_with("__") && self.patterns.iter().any(|p| p.is_match(topic));
        (self.names.iter().any(|name| name == topic) || by_pattern()) && !self.is_own(topic)
    }

    /// Whether records of this worker wait in this topic: it is a retry tier or a parking topic.
    pub fn is_waiting(&self, topic: &str) -> bool {
        self.waiting.is_tier(topic) || self.waiting.is_parking(topic)
    }

    /// Whether this entry of `kafka.input` makes the topic an input. The entry has to be a pattern of the current
    /// configuration.
    pub fn is_by(&self, entry: &str, topic: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.as_str() == entry && pattern.is_match(topic))
    }

    /// Whether the worker itself writes this topic.
    pub fn is_own(&self, topic: &str) -> bool {
        self.is_waiting(topic) || self.others.iter().any(|own| own == topic)
    }
}

/// Recognises the names that a worker with these prefixes could have given: the prefix, a dot, and a delay or the name
/// of an account, with `.rollout` behind it for a remainder. It also recognises a tier or an account that is no longer
/// configured. It does not recognise another topic whose longer prefix only begins with ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitingNames {
    retry: String,
    parked: String,
}

impl WaitingNames {
    /// Builds the matcher for these two prefixes.
    pub fn new(retry_prefix: &str, parked_prefix: &str) -> Self {
        Self { retry: format!("{retry_prefix}."), parked: format!("{parked_prefix}.") }
    }

    /// The key of `[kafka]` whose prefix the name of this topic has. `None` if the topic is neither a tier nor a
    /// parking topic.
    pub fn key_of(&self, topic: &str) -> Option<&'static str> {
        let (tier, parking) = (self.is_tier(topic), self.is_parking(topic));
        tier.then_some("retry_prefix").or(parking.then_some("parked_prefix"))
    }

    /// Whether this is the name of a retry tier.
    pub fn is_tier(&self, topic: &str) -> bool {
        topic.strip_prefix(&self.retry).is_some_and(|delay| {
            let number = delay.trim_end_matches(|c: char| c.is_ascii_lowercase());
            let is_number =
                number.bytes().all(|b| b.is_ascii_digit()) && number.bytes().next().is_some_and(|b| b != b'0');
            is_number && ["ms", "s", "m", "h", "d"].contains(&&delay[number.len()..])
        })
    }

    /// Whether this is the name of an account's parking topic, or of its remainder.
    pub fn is_parking(&self, topic: &str) -> bool {
        topic.strip_prefix(&self.parked).is_some_and(is_account) || self.remainder_of(topic).is_some()
    }

    /// The account whose remainder has this name.
    pub fn remainder_of<'a>(&self, topic: &'a str) -> Option<&'a str> {
        topic.strip_prefix(&self.parked)?.strip_suffix(REMAINDER).filter(|account| is_account(account))
    }
}

fn is_account(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(inner) && !name.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(input: &[&str]) -> Matching {
        let input = input.iter().map(|name| (*name).to_owned()).collect();
        let config = Config { input, receipts: "postback.receipts".into(), ..Config::stub("b:1", &[]) };
        Matching::new(&Config { result_topics: vec!["answers".into()], ..config }).unwrap()
    }

    #[test]
    fn names_and_patterns_of_one_dialect_say_what_is_an_input() {
        let inputs = matching(&["conversions", r"^q\.in-\d+$", "^(?i)eu-.*"]);
        for topic in ["conversions", "q.in-1", "q.in-42", "EU-a", "eu-b"] {
            assert!(inputs.is_input(topic), "{topic}");
        }
        for topic in ["conversions2", "q.in-", "q.in-1b", "qxin-1", "a-q.in-1"] {
            assert!(!inputs.is_input(topic), "{topic}");
        }
        assert!(matching(&["__ours"]).is_input("__ours"), "what is named is read, whatever its name");
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_named_with_what_is_wrong_on_one_line() {
        let why = pattern("^in-(").unwrap_err().to_string();
        assert!(why.starts_with("^in-(: ") && why.contains("group") && !why.contains('\n'), "{why}");
    }

    #[test]
    fn what_the_worker_writes_is_no_input_whatever_the_pattern() {
        let all = matching(&["^.*"]);
        let own = ["postback.retry.5s", "postback.retry.250ms", "postback.parked.acme-ps", "postback.dlt"];
        for topic in own.into_iter().chain([
            "postback.results",
            "postback.audit",
            "postback.receipts",
            "answers",
            "__consumer_offsets",
        ]) {
            assert!(!all.is_input(topic), "{topic}");
        }
        assert!(all.is_input("conversions") && all.is_input("postback.parking"));
    }

    #[test]
    fn only_names_that_this_worker_could_have_made_are_its_own() {
        let all = matching(&["^.*"]);
        for topic in [
            "postback.retry.5s",
            "postback.retry.30m",
            "postback.retry.7d",
            "postback.parked.a",
            "postback.parked.0-b",
            "postback.parked.a.rollout",
        ] {
            assert!(all.is_waiting(topic), "{topic}");
        }
        let names = WaitingNames::new("postback.retry", "postback.parked");
        let of = ["postback.parked.0-b.rollout", "postback.parked.rollout", "postback.parked.A.rollout", "a.rollout"];
        assert_eq!(of.map(|topic| names.remainder_of(topic)), [Some("0-b"), None, None, None]);
        let long = format!("postback.parked.{}", "a".repeat(64));
        let others = [
            "postback.retry.eu.5s",
            "postback.retry.5x",
            "postback.retry.s",
            "postback.retry.05s",
            "postback.retry.",
            "postback.retry",
            "postback.retry.5 s",
            "postback.retry-eu.5s",
            "postback.parked.eu.acme",
            "postback.parked.acme.rollouts",
            "postback.parked..rollout",
            "postback.parked.Acme",
            "postback.parked.-a",
            "postback.parked.a_b",
            "postback.parked.",
            &long,
        ];
        for topic in others {
            assert!(!all.is_waiting(topic) && all.is_input(topic), "{topic}");
        }
    }
}
