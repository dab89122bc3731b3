//! Rules that no single key can break: lease and window, shared rates, topics that must not meet.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::account::{Dedupe, Inline, Intake, Limits, Retry, WindowCheck};
use crate::config::section::Section;
use crate::kafka;
use crate::kafka::matching::{WaitingNames, pattern};
use crate::platforms::Platform;
use crate::redis as store;
use crate::settings::accounts::Draft;
use crate::settings::base_url;
use crate::settings::sections::EMBEDDED;
use crate::units::show_duration;

const DAY: Duration = Duration::from_secs(86_400);
/// What a claim needs before the first try and after the last one.
const MARGIN: Duration = Duration::from_secs(5);

/// The longest time that inline delays can take together.
fn delays(inline: &Inline) -> Duration {
    let mut delay = inline.initial.min(inline.max);
    let mut sum = Duration::ZERO;
    for _ in 0..inline.max_retries {
        sum += delay;
        delay = (delay * 2).min(inline.max);
    }
    sum
}

/// How long one visit of an account may hold its claim.
fn topic_kind(limits: &Limits, retry: &Retry) -> Duration {
    MARGIN + limits.timeout * (1 + retry.inline.max_retries) + delays(&retry.inline) + MARGIN
}

/// The lease outlives the slowest visit, and a crashed member's partitions come back only after it (core.md 3).
pub(super) fn lease(section: &Section<'_>, dedupe: &Dedupe, drafts: &[Draft], session: Duration) {
    let mut slow: Vec<_> = drafts.iter().map(|d| (topic_kind(&d.limits, &d.retry), d)).collect();
    slow.retain(|(need, _)| *need > dedupe.lease);
    slow.sort_by_key(|(need, _)| std::cmp::Reverse(*need));
    if let Some((need, draft)) = slow.first() {
        let others: Vec<_> = slow[1..].iter().map(|(_, d)| d.name.as_str()).collect();
        let also =
            if others.is_empty() { String::new() } else { format!(" (and too short for {})", others.join(", ")) };
        section.problem(
            "lease",
            format!(
                "the lease of {} is shorter than one visit of account {} may take{also}: 5s + {} tries x {} + {} of inline delays + 5s = {}; raise dedupe.lease, or lower limits.timeout or retry.inline.max_retries",
                show_duration(dedupe.lease),
                draft.name,
                1 + draft.retry.inline.max_retries,
                show_duration(draft.limits.timeout),
                show_duration(delays(&draft.retry.inline)),
                show_duration(*need),
            ),
        );
    }
    if dedupe.lease > session {
        section.problem(
            "lease",
            format!(
                "the lease of {} is longer than session.timeout.ms of {}: a crashed member's records would come back before its claims may be taken over; lower dedupe.lease, or raise \"session.timeout.ms\" in [kafka.properties]",
                show_duration(dedupe.lease),
                show_duration(session),
            ),
        );
    }
}

/// The window outlives every way back of an event: what waits in tiers and parking is kept for the window less a day, and
/// has to be there a day longer than it waits; the source's retention is added when the broker is asked.
pub(super) fn window(section: &Section<'_>, dedupe: &Dedupe, retry: &Retry, drafts: &[Draft]) {
    let all = drafts.iter().map(|d| (Some(d.name.as_str()), &d.retry)).chain([(None, retry)]);
    let Some((name, retry)) = all.max_by_key(|(_, r)| r.max_age + r.max_parked) else { return };
    let needed = retry.max_age + retry.max_parked + 2 * DAY;
    if dedupe.window >= needed {
        return;
    }
    let whose = name.map_or_else(|| "[retry]".to_owned(), |name| format!("account {name}"));
    let text = format!(
        "the window of {} has to be at least max_age + max_parked of {whose} ({} + {}) + 2d = {}, or late copies are sent twice: tiers and parking keep what waits for the window less a day, and for a day longer than it waits; lengthen the window, shorten the others, or set window_check = \"warn\"",
        show_duration(dedupe.window),
        show_duration(retry.max_age),
        show_duration(retry.max_parked),
        show_duration(needed),
    );
    match dedupe.window_check {
        WindowCheck::Refuse => section.problem("window", text),
        WindowCheck::Warn => section.warn("window", text),
    }
}

/// Accounts of one bucket state one rate.
pub(super) fn buckets(accounts: &Section<'_>, drafts: &[Draft]) {
    let mut first: BTreeMap<&str, &Draft> = BTreeMap::new();
    for draft in drafts.iter().filter(|d| !d.limits.shared_as.is_empty()) {
        let known = first.entry(&draft.limits.shared_as).or_insert(draft);
        #[expect(clippy::float_cmp, reason = "two spellings of one number are equal, two numbers are not")]
        let differs = known.limits.rps != draft.limits.rps;
        if differs {
            let key = format!("{}.limits.rps", draft.name);
            let (a, b) = (&known.name, &draft.name);
            accounts.report.problem(
                &accounts.place(b),
                &accounts.key(&key),
                format!(
                    "accounts {a} and {b} share one rate, but state {} and {} requests per second; state one rps, or give them different limits.shared_as",
                    known.limits.rps, draft.limits.rps
                ),
            );
        }
    }
}

/// A platform may advise against many accounts on one credential.
pub(super) fn credentials(accounts: &Section<'_>, drafts: &[Draft]) {
    let mut users: BTreeMap<(&str, &str), (&dyn Platform, Vec<&str>)> = BTreeMap::new();
    for draft in drafts {
        let Some(platform) = draft.platform else { continue };
        for key in &draft.keys {
            let (_, names) = users.entry((platform.name(), key)).or_insert((platform, Vec::new()));
            if names.last() != Some(&draft.name.as_str()) {
                names.push(&draft.name);
            }
        }
    }
    for (platform, names) in users.values() {
        let Some(shape) = platform.credential() else { continue };
        let Some(most) = shape.advised_accounts.filter(|most| names.len() > *most) else { continue };
        let key = format!("{}.secrets", names[0]);
        accounts.report.warn(
            &accounts.place(names[0]),
            &accounts.key(&key),
            format!(
                "its {} is used by {} accounts; {} advises against more than {most}",
                shape.title,
                names.len(),
                platform.title()
            ),
        );
    }
}

/// A drain that ends before a request may end hands back records whose requests are under way.
pub(super) fn drain(section: &Section<'_>, intake: &Intake, drafts: &[Draft]) {
    if let Some(draft) =
        drafts.iter().max_by_key(|d| d.limits.timeout).filter(|d| d.limits.timeout >= intake.drain_timeout)
    {
        section.warn(
            "drain_timeout",
            format!(
                "is {}, not longer than the timeout {} of account {}: a shutdown may leave its requests without their answers",
                show_duration(intake.drain_timeout),
                show_duration(draft.limits.timeout),
                draft.name
            ),
        );
    }
}

/// Embedded parts come together, and nothing leaves the host with them: they forget what was sent.
pub(super) fn embedded(
    kafka_section: &Section<'_>,
    redis_section: &Section<'_>,
    accounts: Option<&Section<'_>>,
    (kafka, redis): (&kafka::Config, &store::Config),
    drafts: &[Draft],
) {
    let blamed = |section: &Section<'_>, key: &str| section.report.blames(&section.key(key));
    if blamed(kafka_section, "brokers") || blamed(redis_section, "url") {
        return;
    }
    match (kafka.embedded, redis.url.expose() == EMBEDDED) {
        (false, false) => return,
        (true, false) => {
            kafka_section.problem("brokers", one_alone("redis.url", "Kafka"));
            return;
        }
        (false, true) => {
            redis_section.problem("url", one_alone("kafka.brokers", "Redis"));
            return;
        }
        (true, true) => {}
    }
    if kafka.input.iter().any(|input| input.starts_with('^')) {
        kafka_section.problem("input", "holds a pattern; the embedded broker needs the names of its topics");
    }
    let Some(accounts) = accounts else { return };
    for account in drafts.iter().filter_map(|d| d.account.as_ref()) {
        if account.base_urls.iter().all(|url| base_url::is_loopback(url)) {
            continue;
        }
        let own = accounts.peek(&account.name).and_then(|node| node.table());
        let key = if own.as_ref().is_some_and(|t| t.contains_key("base_urls")) { "base_urls" } else { "base_url" };
        let place = own.as_ref().and_then(|t| t.get(key)).map(|node| node.place.clone());
        accounts.report.problem(
            &place.unwrap_or_else(|| accounts.place(&account.name)),
            &accounts.key(&format!("{}.{key}", account.name)),
            format!(
                "account {} does not lead to this host, and the embedded broker and store forget what was sent: set {key} to a sandbox (postback sandbox) on 127.0.0.1, or name a real Kafka and Redis",
                account.name
            ),
        );
    }
}

fn one_alone(other: &str, own: &str) -> String {
    format!(
        "is \"embedded\", but {other} is not: one would forget what the other remembers; name a real {own} here, or set {other} = \"embedded\" too"
    )
}

/// No topic has two roles, and no input is written by the worker itself.
pub(super) fn topics(section: &Section<'_>, kafka: &kafka::Config, tiers: &[String], drafts: &[Draft]) {
    let mut owned: Vec<(String, &'static str)> = Vec::new();
    let mut single = vec![("dead_letter", &kafka.dead_letter), ("results", &kafka.results)];
    if !kafka.receipts.is_empty() {
        single.push(("receipts", &kafka.receipts));
    }
    for (key, prefix) in [("retry_prefix", &kafka.retry_prefix), ("parked_prefix", &kafka.parked_prefix)] {
        let below = format!("{prefix}.");
        for (other, name) in &single {
            if name.starts_with(&below) {
                section.problem(
                    other,
                    format!("begins with kafka.{key} and a dot, so it would be read as one of those topics"),
                );
            }
        }
    }
    let (retry, parked) = (format!("{}.", kafka.retry_prefix), format!("{}.", kafka.parked_prefix));
    if retry.starts_with(&parked) || parked.starts_with(&retry) {
        section
            .problem("parked_prefix", "and retry_prefix lie inside each other; their topics could not be told apart");
    }
    for (key, name) in single {
        if let Some((_, other)) = owned.iter().find(|(n, _)| n == name) {
            section.problem(key, format!("is the same topic as kafka.{other}"));
        }
        owned.push((name.clone(), key));
    }
    owned.extend(kafka.result_topics.iter().map(|name| (name.clone(), "result_topics")));
    owned.extend(tiers.iter().map(|tier| (kafka::tier_topic(&kafka.retry_prefix, tier), "retry_prefix")));
    owned.extend(drafts.iter().map(|d| (kafka::parking_topic(&kafka.parked_prefix, &d.name), "parked_prefix")));
    for (name, key) in &owned {
        if name.len() > 249 {
            section.problem(key, format!("gives the topic {name} a name of more than 249 characters"));
        }
    }
    let waiting = WaitingNames::new(&kafka.retry_prefix, &kafka.parked_prefix);
    for input in &kafka.input {
        // One that cannot be read was refused with its key.
        let pattern = input.strip_prefix('^').and_then(|_| pattern(input).ok());
        let reads = |name: &str| pattern.as_ref().map_or(input == name, |pattern| pattern.is_match(name));
        if let Some((name, key)) = owned.iter().find(|(name, _)| reads(name)) {
            section.problem("input", format!("would read {name}, which the worker writes itself (kafka.{key})"));
        } else if pattern.is_none()
            && let Some(key) = waiting.key_of(input)
        {
            section.problem(
                "input",
                format!("holds {input}, which is taken for a topic that the worker made itself (kafka.{key})"),
            );
        }
    }
}
