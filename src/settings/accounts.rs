//! `[accounts.NAME]`: the keys that every account has, and the keys that its platform reads.

mod common;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use self::common::{Code, Common, Word};
use crate::account::{Account, Limits, OnAmbiguous, PlatformKeys, ReplyRules, Retry, Validate};
use crate::config::layers::Settings;
use crate::config::read;
use crate::config::tree::{self, Node, Table, Value};
use crate::platforms::list::Platforms;
use crate::platforms::{Configured, Platform};
use crate::settings::base_url::{self, Allowed};
use crate::settings::credentials;
use crate::settings::platform_files::PlatformFiles;
use crate::settings::root::Root;

fn platform_names(platforms: &Platforms) -> String {
    platforms.all().map(|platform| format!("\"{}\"", platform.name())).collect::<Vec<_>>().join(" or ")
}

/// An account as far as it could be read. That is enough for the rules that look at all accounts together.
pub(super) struct Draft<'p> {
    pub name: String,
    /// Its limits. `shared_as` is empty if the credential that would fill it could not be read.
    pub limits: Limits,
    /// Whether the account states some of them itself.
    pub has_limits: bool,
    /// The limits of its calls.
    pub call_limits: Limits,
    pub has_call_limits: bool,
    pub retry: Retry,
    /// Its platform, if that could be read.
    pub platform: Option<&'p dyn Platform>,
    /// The public halves of its credentials.
    pub keys: Vec<String>,
    /// Whether it states several base URLs, not one.
    pub has_base_urls: bool,
    /// The account, if nothing is wrong with it.
    pub account: Option<Account>,
}

/// Reads every account, with the sections at the top as its defaults.
pub(super) fn read<'p>(settings: &Settings<'_>, root: &Root, files: &'p PlatformFiles) -> Vec<Draft<'p>> {
    let Some(node) = settings.top("accounts") else { return Vec::new() };
    let Some(mut accounts) = settings.table(node, "accounts") else { return Vec::new() };
    // By name, as everywhere else: which of two accounts is blamed does not depend on the order of the file.
    accounts.sort_unstable_keys();
    let mut drafts = Vec::new();
    for (name, node) in &accounts {
        let path = format!("accounts.{name}");
        if !is_name(name) {
            settings.problem(&path, "is no account name: 1 to 63 of a-z, 0-9 and `-`, not beginning with `-`");
        }
        if let Some(own) = settings.table(node, &path) {
            drafts.push(one(name, &path, own, settings, root, files));
        }
    }
    drafts
}

/// Whether the name matches `[a-z0-9][a-z0-9-]{0,62}`. It becomes a topic's name, a label and a part of environment
/// variables.
fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn one<'p>(
    name: &str,
    path: &str,
    mut own: Table,
    settings: &Settings<'_>,
    root: &Root,
    files: &'p PlatformFiles,
) -> Draft<'p> {
    let key = |key: &str| format!("{path}.{key}");
    let (has_limits, has_base_urls) = (own.contains_key("limits"), own.contains_key("base_urls"));
    judge_keys(&mut own, path, settings, &files.platforms);
    let mut limits = inherited(&own, "limits", "limits", path, settings).unwrap_or_else(|| root.limits.clone());
    let mut call_limits: Limits =
        inherited(&own, "call_limits", "limits", path, settings).unwrap_or_else(|| limits.clone());
    let has_call_limits = own.contains_key("call_limits");
    let retry = inherited(&own, "retry", "retry", path, settings).unwrap_or_else(|| root.retry.clone());
    let secrets = own.get("secrets").cloned();
    let (common, mut rest) = read::split::<Common>(own, path, &["validate"], settings.report);
    let platform = common.platform.as_deref().and_then(|stated| named(stated, &key("platform"), settings, files));
    let base_urls = urls(&common, platform, path, settings);
    let credentials = credentials::read(secrets.as_ref(), platform, path, settings);
    if limits.shared_as.is_empty() {
        limits.shared_as = platform.map_or(name, |platform| platform.shared_as(name, &credentials)).to_owned();
    }
    if call_limits.shared_as.is_empty() {
        call_limits.shared_as.clone_from(&limits.shared_as);
    }
    let max_event_age = root.validate.max_event_age.filter(|_| !platform.is_some_and(Platform::takes_any_age));
    let validate = Validate {
        max_event_age: common.validate.max_event_age.or(max_event_age),
        max_future: common.validate.max_future.unwrap_or(root.validate.max_future),
        ..root.validate
    };
    let map = common.map.into_iter().map(|(event, Code(code))| (event, code)).collect();
    let configured = platform.and_then(|platform| configured(platform, &mut rest, map, path, settings));

    let has_own_base = platform.is_some_and(|platform| base_urls != [platform.base_url()]);
    if let Some(configured) = &configured {
        if common.proxy.is_some() && !has_own_base {
            warn_of_callbacks(configured, &key("proxy"), settings);
        }
        judge_addresses(
            configured,
            base_urls.iter().map(String::as_str).chain(platform.map(Platform::base_url)),
            path,
            settings,
        );
    }
    if has_call_limits && configured.as_ref().is_some_and(|configured| configured.call.is_none()) {
        settings.problem(&key("call_limits"), "is about calls, and the platform of this account takes none");
    }
    if let Some(rules) = &common.reply {
        judge_reply(rules, configured.as_ref(), &key("reply"), settings, root);
    }
    let keys = credentials.iter().map(|c| c.key.clone()).collect();
    let whole = !settings.report.blames(path);
    let account = configured.filter(|_| whole).zip(platform).map(|(configured, platform)| Account {
        name: name.into(),
        platform: platform.name(),
        base_urls,
        has_own_base,
        path: common.path,
        allow_http: common.allow_http,
        allow_private: common.allow_private,
        proxy: common.proxy,
        enabled: common.enabled.unwrap_or(true),
        limits: limits.clone(),
        call_limits: call_limits.clone(),
        retry: retry.clone(),
        validate,
        when_unavailable: common.when_unavailable.unwrap_or(root.dedupe.when_unavailable),
        on_ambiguous: common.on_ambiguous.unwrap_or(OnAmbiguous::Retry),
        credentials,
        sender: configured.sender,
        call: configured.call,
        reply: common.reply.unwrap_or_default(),
        rollout: common.rollout.percent,
        settings: PlatformKeys::new(&configured.settings),
    });
    Draft {
        name: name.to_owned(),
        limits,
        has_limits,
        call_limits,
        has_call_limits,
        retry,
        platform,
        keys,
        has_base_urls,
        account,
    }
}

/// The keys that an account lacks, or that may not stand in it. The latter are removed, so that they are reported once.
fn judge_keys(own: &mut Table, path: &str, settings: &Settings<'_>, platforms: &Platforms) {
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
fn named<'p>(stated: &str, key: &str, settings: &Settings<'_>, files: &'p PlatformFiles) -> Option<&'p dyn Platform> {
    let found = files.platforms.find(stated);
    if found.is_none() && !files.may_have(stated) && !settings.report.blames(key) {
        let reason = format!("has to be {}, not {stated:?}", platform_names(&files.platforms));
        settings.problem(key, settings.safe(key, &reason));
    }
    found
}

/// A proxy resolves names itself, so that the addresses of callback hosts cannot be judged here.
fn warn_of_callbacks(configured: &Configured, key: &str, settings: &Settings<'_>) {
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
fn judge_addresses<'b>(
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
fn judge_reply(rules: &ReplyRules, configured: Option<&Configured>, key: &str, settings: &Settings<'_>, root: &Root) {
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

/// Lets the platform read its own keys. A problem that it finds between several keys is reported like every other
/// problem.
fn configured(
    platform: &dyn Platform,
    rest: &mut read::Rest<'_>,
    map: BTreeMap<String, String>,
    path: &str,
    settings: &Settings<'_>,
) -> Option<Configured> {
    match platform.configure(rest, map) {
        Ok(configured) => {
            for (key, reason) in &configured.warnings {
                let key = format!("{path}.{key}");
                settings.warn(&key, settings.safe(&key, reason));
            }
            Some(configured)
        }
        Err(problems) => {
            for (key, reason) in problems {
                let key = format!("{path}.{key}");
                // A value that could not be read is reported already.
                if !settings.report.blames(&key) {
                    settings.problem(&key, settings.safe(&key, &reason));
                }
            }
            None
        }
    }
}

/// A table of the account as it has it: what it states itself there, over its own table `over`, over the section of
/// that name at the top.
fn inherited<T: DeserializeOwned>(
    own: &Table,
    key: &str,
    over: &str,
    path: &str,
    settings: &Settings<'_>,
) -> Option<T> {
    let node = own.get(key)?;
    let path = format!("{path}.{key}");
    let stated = settings.table(node, &path)?;
    let mut defaults = settings.top(over)?.members()?.clone();
    if let Some(nearer) = own.get(over).filter(|_| key != over).and_then(Node::members) {
        tree::merge(&mut defaults, nearer.clone());
    }
    tree::forget_places(&mut defaults);
    let mut whole = defaults.clone();
    tree::merge(&mut whole, stated);
    let mut node = Node { value: Value::Table(whole), place: node.place.clone(), indirect: false };
    read::read(&mut node, &defaults, &path, settings.report)
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

fn urls(common: &Common, platform: Option<&dyn Platform>, path: &str, settings: &Settings<'_>) -> Vec<String> {
    let allowed = Allowed { http: common.allow_http, private: common.allow_private };
    let one = common.base_url.iter().map(|Word(url)| ("base_url", url));
    let many = common.base_urls.iter().flatten().map(|url| ("base_urls", url));
    let mut urls = Vec::new();
    for (key, url) in one.chain(many) {
        match base_url::check(url, allowed) {
            Ok(url) => urls.push(url),
            Err(reasons) => reasons.iter().for_each(|reason| settings.problem(&format!("{path}.{key}"), reason)),
        }
    }
    if urls.is_empty() {
        let own = platform.map(Platform::base_url);
        if own == Some("") && common.base_url.is_none() && common.base_urls.is_none() {
            settings.problem(&format!("{path}.base_url"), "is missing: the platform has none of its own");
        }
        urls.extend(own.map(str::to_owned));
    }
    urls
}
