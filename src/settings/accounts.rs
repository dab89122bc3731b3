//! `[accounts.NAME]`: the keys that every account has, and the keys that its platform reads.

mod common;
mod judge;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use self::common::{Code, Common, Word};
use self::judge::{judge_addresses, judge_keys, judge_reply, named, warn_of_callbacks};
use crate::account::{Account, Limits, OnAmbiguous, PlatformKeys, Retry, Validate};
use crate::config::layers::Settings;
use crate::config::read;
use crate::config::tree::{self, Node, Table, Value};
use crate::platforms::{Configured, Platform};
use crate::settings::base_url::{self, Allowed};
use crate::settings::credentials;
use crate::settings::platform_files::PlatformFiles;
use crate::settings::root::Root;

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
