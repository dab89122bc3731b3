//! The rules of an account that look at several of its keys, or at its platform.

use crate::account::ReplyRules;
use crate::config::layers::Settings;
use crate::config::tree::{Table, Value};
use crate::platforms::list::Platforms;
use crate::platforms::{Configured, Platform};
use crate::settings::base_url;
use crate::settings::platform_files::PlatformFiles;
use crate::settings::root::Root;

/// The keys that an account lacks, or that may not stand in it. The latter are removed, so that they are reported once.
pub(super) fn judge_keys(own: &mut Table, path: &str, settings: &Settings<'_>, platforms: &Platforms) {
    if own.contains_key("base_url") && own.contains_key("base_urls") {
        settings.problem(&format!("{path}.base_urls"), "stands beside base_url; keep one of them");
    }
    if !own.contains_key("platform") {
        settings.problem(&format!("{path}.platform"), format!("is missing: {}", platform_names(platforms)));
    }
    for (table, key, reason) in [
        ("validate", "accept_raw_identifiers", "cannot differ per account; set it in [validate]"),
        ("retry", "tiers", "cannot differ per account: a tier is a topic that all accounts share; set it in [retry]"),
    ] {
        if take(own, table, key) {
            settings.problem(&format!("{path}.{table}.{key}"), reason);
        }
    }
}

/// The platform of this name. A name that a broken platform file may have meant is not reported a second time.
pub(super) fn named<'p>(
    stated: &str,
    key: &str,
    settings: &Settings<'_>,
    files: &'p PlatformFiles,
) -> Option<&'p dyn Platform> {
    let found = files.platforms.find(stated);
    if found.is_none() && !files.may_have(stated) && !settings.report.blames(key) {
        let reason = format!("has to be {}, not {stated:?}", platform_names(&files.platforms));
        settings.problem(key, settings.safe(key, &reason));
    }
    found
}

/// A proxy resolves names itself, so that the addresses of callback hosts cannot be judged here.
pub(super) fn warn_of_callbacks(configured: &Configured, key: &str, settings: &Settings<'_>) {
    let hosts = configured.sender.as_ref().map_or_else(Vec::new, |sender| sender.callback_hosts());
    if !hosts.is_empty() {
        let text = format!(
            "resolves the names of callback hosts itself: that they are on the platform's list ({}) is all that is checked \
             of them, and not their addresses",
            hosts.join(", ")
        );
        settings.warn(key, text);
    }
}

/// What the platform's own keys address has to be below one of the account's base URLs, or the platform's.
pub(super) fn judge_addresses<'b>(
    configured: &Configured,
    bases: impl Iterator<Item = &'b str> + Clone,
    path: &str,
    settings: &Settings<'_>,
) {
    for (name, url) in &configured.addresses {
        if !bases.clone().any(|base| base_url::is_of(url, base)) {
            let reason = "leads to another address than the base URL: write the path below that alone";
            settings.problem(&format!("{path}.{name}"), reason);
        }
    }
}

/// What an account may publish of persons has to be about its calls, and about topics to which results may go.
pub(super) fn judge_reply(
    rules: &ReplyRules,
    configured: Option<&Configured>,
    key: &str,
    settings: &Settings<'_>,
    root: &Root,
) {
    if configured.is_some_and(|configured| configured.call.is_none()) {
        settings.problem(key, "is about the results of calls, and the platform of this account takes none");
    }
    let topics = root.kafka.result_topics();
    if let Some(topic) = rules.restricted_topics.iter().find(|topic| topics.find(Some(topic)).is_none()) {
        let reason = format!("names {topic}, which is neither kafka.results nor one of kafka.result_topics");
        settings.problem(&format!("{key}.restricted_topics"), reason);
    }
    if rules.allow_pii && rules.restricted_topics.is_empty() {
        settings.warn(&format!("{key}.allow_pii"), "has no effect without restricted_topics: every result is masked");
    }
    if !rules.allow_pii && !rules.restricted_topics.is_empty() {
        settings.warn(&format!("{key}.restricted_topics"), "has no effect without allow_pii: every result is masked");
    }
}

fn platform_names(platforms: &Platforms) -> String {
    platforms.all().map(|platform| format!("\"{}\"", platform.name())).collect::<Vec<_>>().join(" or ")
}

/// Removes a member from one of the account's tables.
fn take(own: &mut Table, table: &str, key: &str) -> bool {
    let Some(node) = own.get_mut(table) else { return false };
    node.open(false);
    match &mut node.value {
        Value::Table(members) => members.shift_remove(key).is_some(),
        _ => false,
    }
}
