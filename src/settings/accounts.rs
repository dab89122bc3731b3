//! `[accounts.NAME]`: the keys that every account has, and what its platform makes of the rest.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::de::DeserializeOwned;

use crate::account::{Account, Limits, OnAmbiguous, Retry, Validate, WhenUnavailable, max_event_age};
use crate::config::fields::{MONTH, duration};
use crate::config::layers::Settings;
use crate::config::read;
use crate::config::section::{Section, serde};
use crate::config::tree::{self, Node, Table, Value};
use crate::config::value::{choice, flag, text, whole, words};
use crate::platforms::{Platform, list};
use crate::settings::base_url::{self, Allowed};
use crate::settings::credentials;
use crate::settings::platform;
use crate::settings::proxy;
use crate::settings::root::Root;

static PLATFORMS: LazyLock<Vec<(&str, &dyn Platform)>> =
    LazyLock::new(|| list::all().map(|platform| (platform.name(), platform)).collect());
const ON_AMBIGUOUS: &[(&str, OnAmbiguous)] = &[("retry", OnAmbiguous::Retry), ("dead_letter", OnAmbiguous::DeadLetter)];

const WHEN_UNAVAILABLE: &[(&str, WhenUnavailable)] =
    &[("hold", WhenUnavailable::Hold), ("deliver", WhenUnavailable::Deliver)];

/// An account as far as it could be read: enough for the rules that look at all accounts together.
pub(super) struct Draft {
    pub name: String,
    /// Its limits; `shared_as` is empty where the credential that would fill it could not be read.
    pub limits: Limits,
    /// It states some of them itself.
    pub has_limits: bool,
    pub retry: Retry,
    /// Its platform, where that could be read.
    pub platform: Option<&'static dyn Platform>,
    /// The public halves of its credentials.
    pub keys: Vec<String>,
    /// It states several addresses, not one.
    pub has_base_urls: bool,
    /// The account, where nothing is wrong with it.
    pub account: Option<Account>,
}

/// Reads every account, over the sections that it may override.
pub(super) fn read(settings: &Settings<'_>, root: &Root) -> Vec<Draft> {
    let mut drafts = Vec::new();
    let Some(node) = settings.top("accounts") else { return drafts };
    let Some(accounts) = Section::open(node, "accounts".to_owned(), settings.report) else { return drafts };
    for (name, node) in accounts.rest() {
        if !is_name(name) {
            accounts.problem(name, "is no account name: 1 to 63 of a-z, 0-9 and `-`, not beginning with `-`");
        }
        if let Some(section) = Section::open(node, accounts.key(name), accounts.report) {
            drafts.push(one(name, &section, settings, root));
        }
    }
    drafts
}

/// `[a-z0-9][a-z0-9-]{0,62}`: it becomes a topic's name, a label and a part of environment variables.
fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn one(name: &str, section: &Section<'_>, settings: &Settings<'_>, root: &Root) -> Draft {
    if section.node("platform").is_none() {
        let names: Vec<_> = list::all().map(|platform| format!("\"{}\"", platform.name())).collect();
        section.problem("platform", format!("is missing: {}", names.join(" or ")));
    }
    let platform = section.read("platform", choice(PLATFORMS.as_slice()));
    let allowed = Allowed {
        http: section.read("allow_http", flag).unwrap_or(false),
        private: section.read("allow_private", flag).unwrap_or(false),
    };
    let base_urls = base_urls(section, platform, allowed);
    let path = section.read("path", path);
    let proxy = section.read("proxy", proxy::read);
    let credentials = credentials::read(section, platform);
    let mut limits = inherited(section, "limits", settings).unwrap_or_else(|| root.limits.clone());
    if limits.shared_as.is_empty() {
        limits.shared_as = platform.map_or(name, |platform| platform.shared_as(name, &credentials)).to_owned();
    }
    if section.peek("retry").and_then(Node::table).is_some_and(|retry| retry.contains_key("tiers")) {
        let reason = "cannot differ per account: a tier is a topic that all accounts share; set it in [retry]";
        settings.problem(&section.key("retry.tiers"), reason);
    }
    let retry = Retry {
        tiers: root.retry.tiers.clone(),
        ..inherited(section, "retry", settings).unwrap_or_else(|| root.retry.clone())
    };
    let when_unavailable =
        section.read("when_unavailable", choice(WHEN_UNAVAILABLE)).unwrap_or(root.dedupe.when_unavailable);
    let on_ambiguous = section.read("on_ambiguous", choice(ON_AMBIGUOUS)).unwrap_or(OnAmbiguous::Retry);
    let enabled = section.read("enabled", flag).unwrap_or(true);
    rollout(section);
    let map = map(section);
    let (validate, rest) = validate(section, platform, &root.validate);

    let sender = platform.and_then(|p| platform::build(section, p, rest, map));
    let keys = credentials.iter().map(|c| c.key.clone()).collect();
    let whole = !section.report.blames(section.path());
    let account = sender.filter(|_| whole).zip(platform).map(|(configured, platform)| Account {
        name: name.into(),
        platform: platform.name(),
        base_urls,
        path,
        allow_private: allowed.private,
        proxy,
        enabled,
        limits: limits.clone(),
        retry: retry.clone(),
        validate,
        when_unavailable,
        on_ambiguous,
        credentials,
        sender: configured.sender,
        settings: configured.settings,
    });
    let (has_limits, has_base_urls) = (section.has("limits"), section.has("base_urls"));
    Draft { name: name.to_owned(), limits, has_limits, retry, platform, keys, has_base_urls, account }
}

/// A section as the account has it: what it states itself, over the section at the top.
fn inherited<T: DeserializeOwned>(section: &Section<'_>, key: &'static str, settings: &Settings<'_>) -> Option<T> {
    let own = section.node(key).filter(|node| !matches!(node.value, Value::Broken))?;
    let mut defaults = settings.top(key)?.members()?.clone();
    tree::forget_places(&mut defaults);
    let Some(over) = own.table() else {
        section.problem(key, "has to be a table");
        return None;
    };
    let mut whole = defaults.clone();
    tree::merge(&mut whole, over.into_owned());
    let mut node = Node { value: Value::Table(whole), place: own.place.clone(), indirect: false };
    read::read(&mut node, &defaults, &section.key(key), settings.report)
}

fn base_urls(section: &Section<'_>, platform: Option<&dyn Platform>, allowed: Allowed) -> Vec<String> {
    let one = section.read("base_url", |node| Ok(vec![node.clone()]));
    let many = section.read("base_urls", |node| {
        let members = node.list().filter(|l| !l.is_empty()).ok_or("has to be a list of at least one URL")?;
        Ok(members.into_owned())
    });
    if section.has("base_url") && section.has("base_urls") {
        section.problem("base_urls", "stands beside base_url; keep one of them");
    }
    let mut urls = Vec::new();
    for (nodes, key) in [(one, "base_url"), (many, "base_urls")] {
        for node in nodes.unwrap_or_default() {
            let checked = words(&node).map_err(|r| vec![r]).and_then(|url| base_url::check(&url, allowed));
            match checked {
                Ok(url) => urls.push(url),
                Err(reasons) => reasons.iter().for_each(|reason| section.problem(key, reason)),
            }
        }
    }
    if urls.is_empty()
        && let Some(platform) = platform
    {
        urls.push(platform.base_url().to_owned());
    }
    urls
}

fn path(node: &Node) -> Result<String, String> {
    let path = text(node)?;
    let fine = path.starts_with('/') && !path.starts_with("//") && !path.contains('#');
    if fine && path.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(path);
    }
    Err("has to be a path that begins with one /, in visible ASCII characters, without #".to_owned())
}

fn rollout(section: &Section<'_>) {
    let Some(rollout) = section.section("rollout") else { return };
    if rollout.read("percent", whole(0..=100)).is_some_and(|percent: u8| percent != 100) {
        rollout.problem("percent", "has to be 100: this version cannot deliver a part of an account's events");
    }
    rollout.finish();
}

fn map(section: &Section<'_>) -> BTreeMap<String, String> {
    let Some(map) = section.section("map") else { return BTreeMap::new() };
    let mut pairs = BTreeMap::new();
    for (event, node) in map.rest() {
        match words(node) {
            _ if node.is_broken() => {}
            Ok(code) => {
                pairs.insert(event.clone(), code);
            }
            Err(reason) => map.problem(event, reason),
        }
    }
    pairs
}

/// The account's own limits of time, and what else `validate` holds for the platform.
fn validate(section: &Section<'_>, platform: Option<&dyn Platform>, base: &Validate) -> (Validate, Table) {
    let takes_any_age = platform.is_some_and(Platform::takes_any_age);
    let max_event_age = base.max_event_age.filter(|_| !takes_any_age);
    let mut config = Validate { max_event_age, ..*base };
    let Some(own) = section.section("validate") else { return (config, Table::new()) };
    config.max_event_age =
        own.read("max_event_age", serde(|node| self::max_event_age(node))).flatten().or(max_event_age);
    config.max_future = own.read("max_future", serde(|node| duration::<_, 0, MONTH>(node))).unwrap_or(base.max_future);
    if own.has("accept_raw_identifiers") {
        own.also(&["accept_raw_identifiers"]);
        own.problem("accept_raw_identifiers", "cannot differ per account; set it in [validate]");
    }
    let has_more = |platform: &dyn Platform| platform.keys().iter().any(|key| key.starts_with("validate."));
    let rest = match platform {
        Some(platform) if has_more(platform) => own.rest().map(|(key, node)| (key.clone(), node.clone())).collect(),
        Some(_) => {
            own.finish();
            Table::new()
        }
        None => Table::new(),
    };
    (config, rest)
}
