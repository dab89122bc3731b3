//! Rules between several keys: lease and window, shared rates, topics that must not be the same.

use std::collections::BTreeMap;
use std::time::Duration;

use super::accounts::Draft;
use super::root::Root;
use super::{base_url, buckets, lease};
use crate::account::{Account, Limits, WindowCheck};
use crate::config::layers::Settings;
use crate::kafka::matching::WaitingNames;
use crate::kafka::pattern::pattern;
use crate::platforms::Platform;
use crate::send::token::seal;
use crate::units::show_duration;
use crate::{kafka, redis};

const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn judge(settings: &Settings<'_>, root: &Root, drafts: &[Draft<'_>]) {
    stated(settings, "kafka.brokers", "host:9092,host2:9092");
    stated(settings, "redis.url", "redis://host:6379");
    if !root.redis.ca_file.is_empty()
        && !root.redis.url.expose().starts_with("rediss://")
        && !settings.report.blames("redis.url")
    {
        settings.problem("redis.ca_file", "is for TLS alone, and redis.url does not begin with rediss://");
    }
    let token_key = root.redis.token_key.expose();
    if !token_key.is_empty()
        && let Err(reason) = seal::check_key(token_key)
    {
        settings.problem("redis.token_key", reason);
    }
    timeouts(settings, "limits", &root.limits);
    for draft in drafts.iter().filter(|draft| draft.has_limits) {
        timeouts(settings, &format!("accounts.{}.limits", draft.name), &draft.limits);
    }
    for draft in drafts.iter().filter(|draft| draft.has_call_limits) {
        timeouts(settings, &format!("accounts.{}.call_limits", draft.name), &draft.call_limits);
    }
    if root.admin.is_open() && !settings.report.blames("admin.token") {
        let listen = root.admin.listen;
        settings.problem("admin.token", format!("is empty, but listen = \"{listen}\" is open to other hosts; set a token, e.g. \"${{ADMIN_TOKEN}}\", or listen on 127.0.0.1"));
    }
    if drafts.is_empty() && !settings.report.blames("accounts") {
        settings.problem("accounts", "holds no account: there is nothing to deliver to; add a block [accounts.NAME]");
    }
    lease::judge(settings, root, drafts);
    window(settings, root, drafts);
    drain(settings, root, drafts);
    embedded(settings, root, drafts);
    topics(settings, root, drafts);
    buckets::judge(settings, drafts);
    alternates(settings, drafts);
    credentials(settings, drafts);
}

/// A key whose default serves only a run without a file has to be stated in a file. `embedded` keeps nothing, so nobody
/// may get it by forgetting a line.
fn stated(settings: &Settings<'_>, key: &str, example: &str) {
    if !settings.is_stated(key) {
        let name = key.rsplit('.').next().unwrap_or(key);
        let reason = format!("is not stated; name it in the configuration file, e.g. {name} = \"{example}\"");
        settings.problem(key, reason);
    }
}

/// `connect_timeout` may not be longer than `timeout`, because connecting is a part of an attempt.
fn timeouts(settings: &Settings<'_>, path: &str, limits: &Limits) {
    if limits.connect_timeout > limits.timeout {
        let (connect, whole) = (show_duration(limits.connect_timeout), show_duration(limits.timeout));
        let reason = format!("is {connect}, longer than the timeout of {whole} of which it is a part");
        settings.problem(&format!("{path}.connect_timeout"), reason);
    }
}

/// The window must outlive every way in which an event can come back. Tiers and parking topics keep their records for
/// the window less one day, and must keep them for a day longer than a record may wait. The retention of the input
/// topics is added later, when the broker has been asked.
fn window(settings: &Settings<'_>, Root { dedupe, retry, .. }: &Root, drafts: &[Draft<'_>]) {
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
        WindowCheck::Refuse => settings.problem("dedupe.window", text),
        WindowCheck::Warn => settings.warn("dedupe.window", text),
    }
}

/// Accounts that answer calls in place of another one must exist and make the same call.
fn alternates(settings: &Settings<'_>, drafts: &[Draft<'_>]) {
    for account in drafts.iter().filter_map(|draft| draft.account.as_ref()) {
        let Some(maker) = &account.call else { continue };
        for (call, other) in maker.names().iter().flat_map(|call| maker.alternates(call).iter().map(move |o| (call, o)))
        {
            let key = format!("accounts.{}.alternates", account.name);
            // An account that could not be read is a problem of its own.
            let draft = drafts.iter().find(|draft| draft.name == *other);
            let makes_it = |other: &Account| other.call.as_ref().is_some_and(|maker| maker.names().contains(call));
            if *other == *account.name {
                settings.problem(&key, "names the account itself".to_owned());
            } else if draft.is_none() {
                settings.problem(&key, format!("names {other}, and there is no such account"));
            } else if draft.and_then(|draft| draft.account.as_ref()).is_some_and(|other| !makes_it(other)) {
                settings.problem(&key, format!("names {other}, which does not make the call {call}"));
            } else if draft.and_then(|draft| draft.account.as_ref()).is_some_and(|other| !other.enabled) {
                settings.warn(&key, format!("names {other}, which is disabled: it answers nothing"));
            }
        }
    }
}

/// Warns if more accounts use one credential than the platform advises.
fn credentials(settings: &Settings<'_>, drafts: &[Draft<'_>]) {
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
        settings.warn(
            &format!("accounts.{}.secrets", names[0]),
            format!(
                "its {} is used by {} accounts; {} advises against more than {most}",
                shape.title,
                names.len(),
                platform.title()
            ),
        );
    }
}

/// The drain must not end before the longest request can end. Otherwise records whose requests are in flight would be
/// handed back.
fn drain(settings: &Settings<'_>, Root { intake, .. }: &Root, drafts: &[Draft<'_>]) {
    if let Some(draft) =
        drafts.iter().max_by_key(|d| lease::timeout(d)).filter(|d| lease::timeout(d) >= intake.drain_timeout)
    {
        settings.warn(
            "intake.drain_timeout",
            format!(
                "is {}, not longer than the timeout {} of account {}: a shutdown may leave its requests without their answers",
                show_duration(intake.drain_timeout),
                show_duration(lease::timeout(draft)),
                draft.name
            ),
        );
    }
}

/// Broker and store must either both be embedded or both not. With embedded parts no request may leave the host,
/// because they forget what was sent.
fn embedded(settings: &Settings<'_>, Root { kafka, redis, .. }: &Root, drafts: &[Draft<'_>]) {
    if settings.report.blames("kafka.brokers") || settings.report.blames("redis.url") {
        return;
    }
    match (kafka.embedded, redis.url.expose() == redis::EMBEDDED) {
        (false, false) => return,
        (true, false) => return settings.problem("kafka.brokers", one_alone("redis.url", "Kafka")),
        (false, true) => return settings.problem("redis.url", one_alone("kafka.brokers", "Redis")),
        (true, true) => {}
    }
    if kafka.input.iter().any(|input| input.starts_with('^')) {
        settings.problem("kafka.input", "holds a pattern; the embedded broker needs the names of its topics");
    }
    for draft in drafts {
        let Some(account) = &draft.account else { continue };
        if account.base_urls.iter().all(|url| base_url::is_loopback(url)) {
            continue;
        }
        let key = if draft.has_base_urls { "base_urls" } else { "base_url" };
        settings.problem(
            &format!("accounts.{}.{key}", account.name),
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

/// No topic may have two roles, and the worker must not write to an input topic.
fn topics(settings: &Settings<'_>, Root { kafka, retry, .. }: &Root, drafts: &[Draft<'_>]) {
    let problem = |key: &str, reason: String| settings.problem(&format!("kafka.{key}"), reason);
    let mut owned: Vec<(String, &'static str)> = Vec::new();
    let mut single = vec![("dead_letter", &kafka.dead_letter), ("results", &kafka.results), ("audit", &kafka.audit)];
    if !kafka.receipts.is_empty() {
        single.push(("receipts", &kafka.receipts));
    }
    for (key, prefix) in [("retry_prefix", &kafka.retry_prefix), ("parked_prefix", &kafka.parked_prefix)] {
        let below = format!("{prefix}.");
        for (other, name) in &single {
            if name.starts_with(&below) {
                problem(
                    other,
                    format!("begins with kafka.{key} and a dot, so it would be read as one of those topics"),
                );
            }
        }
    }
    let (tiers, parked) = (format!("{}.", kafka.retry_prefix), format!("{}.", kafka.parked_prefix));
    if tiers.starts_with(&parked) || parked.starts_with(&tiers) {
        let reason = "and retry_prefix lie inside each other; their topics could not be told apart";
        problem("parked_prefix", reason.to_owned());
    }
    for (key, name) in single {
        if let Some((_, other)) = owned.iter().find(|(n, _)| n == name) {
            problem(key, format!("is the same topic as kafka.{other}"));
        }
        owned.push((name.clone(), key));
    }
    owned.extend(retry.tiers.iter().map(|tier| (kafka::tier_topic(&kafka.retry_prefix, &tier.name), "retry_prefix")));
    owned.extend(drafts.iter().map(|d| (kafka::parking_topic(&kafka.parked_prefix, &d.name), "parked_prefix")));
    let waiting = WaitingNames::new(&kafka.retry_prefix, &kafka.parked_prefix);
    for name in &kafka.result_topics {
        // The usual topic for results may be named here once more.
        if let Some((_, other)) = owned.iter().find(|(other, key)| other == name && *key != "results") {
            problem("result_topics", format!("holds {name}, which is the topic of kafka.{other}"));
        } else if let Some(key) = waiting.key_of(name) {
            problem(
                "result_topics",
                format!("holds {name}, which is taken for a topic that the worker made itself (kafka.{key})"),
            );
        }
    }
    owned.extend(kafka.result_topics.iter().map(|name| (name.clone(), "result_topics")));
    for (name, key) in &owned {
        if name.len() > 249 {
            problem(key, format!("gives the topic {name} a name of more than 249 characters"));
        }
    }
    for input in &kafka.input {
        // A pattern that cannot be read is reported already, with its key.
        let pattern = input.strip_prefix('^').and_then(|_| pattern(input).ok());
        let reads = |name: &str| pattern.as_ref().map_or(input == name, |pattern| pattern.is_match(name));
        if let Some((name, key)) = owned.iter().find(|(name, _)| reads(name)) {
            problem("input", format!("would read {name}, which the worker writes itself (kafka.{key})"));
        } else if pattern.is_none()
            && let Some(key) = waiting.key_of(input)
        {
            problem(
                "input",
                format!("holds {input}, which is taken for a topic that the worker made itself (kafka.{key})"),
            );
        }
    }
}
