//! `[kafka]`, `[redis]`, `[dedupe]`, `[retry]`, `[limits]`, `[validate]`, `[intake]`: each key, its type and its range.

use std::net::Ipv6Addr;
use std::time::Duration;

use redis::IntoConnectionInfo;

use crate::account::{Dedupe, Inline, Intake, Limits, Retry, RetryTier, Validate, WhenUnavailable, WindowCheck};
use crate::config::secret::secret;
use crate::config::section::Section;
use crate::config::tree::Node;
use crate::config::value::{choice, duration, flag, list, rate, size, text, whole, words};
use crate::kafka::matching::pattern;
use crate::kafka::{self, StartFrom};
use crate::platforms::SecretString;
use crate::redis as store;
use crate::settings::properties;
use crate::units::{parse_duration, show_duration};

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// A claim lives 30 days: nothing may be remembered or wait longer.
pub(super) const MONTH: Duration = Duration::from_secs(30 * 86_400);

const START_FROM: &[(&str, Option<StartFrom>)] =
    &[("earliest", Some(StartFrom::Earliest)), ("latest", Some(StartFrom::Latest)), ("error", Some(StartFrom::Error))];
const WHEN_UNAVAILABLE: &[(&str, Option<WhenUnavailable>)] =
    &[("hold", Some(WhenUnavailable::Hold)), ("deliver", Some(WhenUnavailable::Deliver))];

const WINDOW_CHECK: &[(&str, Option<WindowCheck>)] =
    &[("refuse", Some(WindowCheck::Refuse)), ("warn", Some(WindowCheck::Warn))];

/// Broker and store inside the process.
pub(super) const EMBEDDED: &str = "embedded";

/// What is there without a file says so itself: `embedded` keeps nothing, so nobody gets it by forgetting a line.
fn stated(section: &Section<'_>, key: &'static str, example: &str) {
    if section.report.blames(&section.key(key)) {
        return;
    }
    if !section.is_stated(key) {
        section.problem(key, format!("is not stated; name it in the configuration file, e.g. {key} = \"{example}\""));
    }
}

pub(super) fn kafka(section: &Section<'_>) -> kafka::Config {
    let brokers = section.get("brokers", brokers);
    stated(section, "brokers", "host:9092,host2:9092");
    let properties = section.default_section("properties");
    let config = kafka::Config {
        embedded: brokers == EMBEDDED,
        brokers,
        group: section.get("group", words),
        input: section.get("input", inputs),
        start_from: section.get("start_from", choice(START_FROM)).unwrap_or(StartFrom::Error),
        retry_prefix: section.get("retry_prefix", topic),
        parked_prefix: section.get("parked_prefix", topic),
        dead_letter: section.get("dead_letter", topic),
        results: section.get("results", topic),
        result_topics: section.get("result_topics", topics),
        receipts: section.get("receipts", optional_topic),
        create_topics: section.get("create_topics", flag),
        partitions: section.get("partitions", whole(1..=10_000)),
        replication: section.get("replication", whole(0..=100)),
        properties: properties::read(&properties),
    };
    section.finish();
    config
}

/// librdkafka takes what it does not understand for a part of a host's name, and tries to resolve it for ever.
fn brokers(node: &Node) -> Result<String, String> {
    let brokers = words(node)?;
    let wrong = if brokers.contains("://") {
        "holds a scheme; the protocol is set in [kafka.properties] as \"security.protocol\""
    } else if brokers.contains([';', '，', '；', '、', '|']) {
        "is separated by something else than a comma"
    } else if brokers.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "holds a blank"
    } else if brokers.split(',').any(str::is_empty) {
        "has an empty part"
    } else if !brokers.split(',').all(is_broker) {
        "holds a part that is no host with a port"
    } else {
        return Ok(brokers);
    };
    Err(format!("{wrong}: it has to be \"host:9092,host2:9092\", without empty parts"))
}

/// `host`, `host:port`, `[address]:port`.
fn is_broker(broker: &str) -> bool {
    let (host, port) = match broker.rsplit_once(':') {
        Some((host, _)) if broker.ends_with(']') => (host, None),
        Some((host, port)) => (host, Some(port)),
        None => (broker, None),
    };
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0);
    let is_address = || {
        let whole = if broker.ends_with(']') { broker } else { host };
        whole.strip_prefix('[').and_then(|h| h.strip_suffix(']')).is_some_and(|h| h.parse::<Ipv6Addr>().is_ok())
    };
    let is_name =
        || !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    port.is_none_or(is_port) && (is_name() || is_address())
}

/// Kafka's own rule for names.
fn topic_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 249 || !name.chars().all(fine) || matches!(name, "." | "..") {
        return Err("is no topic name: 1 to 249 of a-z, A-Z, 0-9, `.`, `_`, `-`".to_owned());
    }
    Ok(())
}

fn topic(node: &Node) -> Result<String, String> {
    let name = text(node)?;
    topic_name(&name).map(|()| name)
}

fn optional_topic(node: &Node) -> Result<String, String> {
    let name = text(node)?;
    if name.is_empty() { Ok(name) } else { topic(node) }
}

fn topics(node: &Node) -> Result<Vec<String>, String> {
    let names = list(node)?;
    names.iter().try_for_each(|name| topic_name(name).map_err(|reason| format!("holds a member that {reason}")))?;
    Ok(names)
}

fn inputs(node: &Node) -> Result<Vec<String>, String> {
    let names = list(node)?;
    if names.is_empty() {
        return Err("names no topic: there would be nothing to deliver".to_owned());
    }
    for name in &names {
        if name.starts_with('^') {
            pattern(name).map_err(|error| format!("holds a pattern that is no regular expression: {error}"))?;
            continue;
        }
        topic_name(name).map_err(|reason| format!("holds a member that {reason}, or a pattern that begins with ^"))?;
    }
    Ok(names)
}

pub(super) fn redis(section: &Section<'_>) -> store::Config {
    let url = section.get("url", redis_url);
    stated(section, "url", "redis://host:6379");
    let config = store::Config {
        url: SecretString::new(url),
        prefix: section.get("prefix", redis_prefix),
        ca_file: section.get("ca_file", text),
    };
    let url = config.url.expose();
    if !config.ca_file.is_empty() && !url.starts_with("rediss://") && !section.report.blames(&section.key("url")) {
        section.problem("ca_file", "is for TLS alone, and redis.url does not begin with rediss://");
    }
    section.finish();
    config
}

fn redis_url(node: &Node) -> Result<String, String> {
    let url = secret(node)?;
    if url == EMBEDDED {
        return Ok(url);
    }
    // A URL has none, and reading one leaves them out or writes them otherwise: the password would be another one.
    if url.contains(char::is_whitespace) {
        return Err("holds a blank; inside a password write %20".to_owned());
    }
    let scheme = url.starts_with("redis://") || url.starts_with("rediss://");
    if scheme && url.as_str().into_connection_info().is_ok() {
        return Ok(url);
    }
    Err("has to be redis://[user:password@]host:port[/db], or rediss:// with TLS".to_owned())
}

fn redis_prefix(node: &Node) -> Result<String, String> {
    let prefix = words(node)?;
    if prefix.len() <= 64 && prefix.chars().all(|c| c.is_ascii_graphic()) {
        return Ok(prefix);
    }
    Err("has to be 1 to 64 visible ASCII characters".to_owned())
}

pub(super) fn dedupe(section: &Section<'_>) -> Dedupe {
    let config = Dedupe {
        window: section.get("window", duration(MS..=MONTH)),
        lease: section.get("lease", duration(MS..=HOUR)),
        when_unavailable: when_unavailable(section).unwrap_or(WhenUnavailable::Hold),
        window_check: section.get("window_check", choice(WINDOW_CHECK)).unwrap_or(WindowCheck::Refuse),
    };
    section.finish();
    config
}

/// The switch of `[dedupe]`, and of an account.
pub(super) fn when_unavailable(section: &Section<'_>) -> Option<WhenUnavailable> {
    section.get("when_unavailable", choice(WHEN_UNAVAILABLE))
}

/// `[retry]` without a base; with one, what an account overrides.
pub(super) fn retry(section: &Section<'_>, base: Option<&Retry>) -> Retry {
    let tiers = match base {
        None => section.get("tiers", tiers),
        Some(base) => {
            if section.node("tiers").is_some() {
                section.problem(
                    "tiers",
                    "cannot differ per account: a tier is a topic that all accounts share; set it in [retry]",
                );
            }
            base.tiers.clone()
        }
    };
    let config = Retry {
        tiers,
        max_attempts: section.pick("max_attempts", base.map(|b| b.max_attempts), whole(1..=10_000)),
        max_age: section.pick("max_age", base.map(|b| b.max_age), duration(MS..=MONTH)),
        max_parked: section.pick("max_parked", base.map(|b| b.max_parked), duration(MS..=MONTH)),
        inline: inline(&section.default_section("inline"), base.map(|b| &b.inline)),
    };
    section.finish();
    config
}

fn inline(section: &Section<'_>, base: Option<&Inline>) -> Inline {
    let config = Inline {
        max_retries: section.pick("max_retries", base.map(|b| b.max_retries), whole(0..=100)),
        initial: section.pick("initial", base.map(|b| b.initial), duration(Duration::ZERO..=MINUTE)),
        max: section.pick("max", base.map(|b| b.max), duration(Duration::ZERO..=MINUTE)),
    };
    section.finish();
    config
}

fn tiers(node: &Node) -> Result<Vec<RetryTier>, String> {
    let mut tiers: Vec<RetryTier> = Vec::new();
    for name in list(node)? {
        let delay = parse_duration(&name)
            .filter(|d| (MS..=MONTH).contains(d) && !name.starts_with('0'))
            .ok_or("holds a member that is no delay such as \"5s\" or \"30m\", from 1ms to 30d")?;
        if tiers.last().is_some_and(|last| last.delay >= delay) {
            return Err("has to ascend, and no delay may stand there twice".to_owned());
        }
        tiers.push(RetryTier { name, delay });
    }
    if tiers.is_empty() { Err("is empty: at least one tier is needed".to_owned()) } else { Ok(tiers) }
}

/// `[limits]` without a base; with one, what an account overrides. `shared_as` may be empty here.
pub(super) fn limits(section: &Section<'_>, base: Option<&Limits>) -> Limits {
    let timeouts = || duration(MS..=10 * MINUTE);
    let config = Limits {
        rps: section.pick("rps", base.map(|b| b.rps), rate(1_000_000.0)),
        concurrency: section.pick("concurrency", base.map(|b| b.concurrency), whole(1..=65_536)),
        timeout: section.pick("timeout", base.map(|b| b.timeout), timeouts()),
        connect_timeout: section.pick("connect_timeout", base.map(|b| b.connect_timeout), timeouts()),
        shared_as: section.pick("shared_as", base.map(|b| b.shared_as.clone()), text),
    };
    if config.connect_timeout > config.timeout {
        let (connect, whole) = (show_duration(config.connect_timeout), show_duration(config.timeout));
        section.problem(
            "connect_timeout",
            format!("is {connect}, longer than the timeout of {whole} of which it is a part"),
        );
    }
    section.finish();
    config
}

/// `[validate]`.
pub(super) fn validate(section: &Section<'_>) -> Validate {
    let config = Validate {
        max_event_age: Some(section.get("max_event_age", event_age)),
        max_future: section.get("max_future", event_future),
        accept_raw_identifiers: section.get("accept_raw_identifiers", flag),
    };
    section.finish();
    config
}

/// How old an event may be.
pub(super) fn event_age(node: &Node) -> Result<Duration, String> {
    duration(MS..=MONTH * 120)(node)
}

/// How far ahead an event may be.
pub(super) fn event_future(node: &Node) -> Result<Duration, String> {
    duration(Duration::ZERO..=MONTH)(node)
}

pub(super) fn intake(section: &Section<'_>) -> Intake {
    let config = Intake {
        max_in_flight: section.get("max_in_flight", whole(1..=10_000_000)),
        // The largest record that is accepted has to fit in.
        max_in_flight_bytes: section.get("max_in_flight_bytes", size(1 << 20..=1 << 40)),
        drain_timeout: section.get("drain_timeout", duration(MS..=HOUR)),
    };
    section.finish();
    config
}
