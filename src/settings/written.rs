//! The settings as they were written, kept to compare them with those that a reload reads: what changed, what of it can
//! take effect while the worker runs, and what may be shown of it.

use std::collections::BTreeMap;
use std::fmt;

use url::Url;

use crate::config::problem::Place;
use crate::config::secret;
use crate::config::tree::{Node, Table, Value};
use crate::platforms::list::Platforms;
use crate::redact::mask_text;

/// The sections that a reload takes. Of `[telemetry]` it takes the filter alone.
const TAKEN: [&str; 3] = ["accounts", "limits", "platform_files"];
const TELEMETRY: &str = "telemetry";
const LOG: &str = "log";

/// The whole tree after file and environment were laid over the defaults. It holds secrets, so it prints nothing.
#[derive(Clone, Default)]
pub(super) struct Written(Table);

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Written")
    }
}

/// One changed setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The dotted key.
    pub key: String,
    /// What became of it. A secret, and what comes from outside the file, is not shown.
    pub what: String,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

/// What differs between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Settings that a reload takes.
    pub taken: Vec<Changed>,
    /// Settings that take effect at a restart only.
    pub at_restart: Vec<Changed>,
}

#[derive(PartialEq)]
struct Leaf {
    text: String,
    is_hidden: bool,
}

impl Written {
    pub fn new(table: Table) -> Self {
        Self(table)
    }

    /// This tree with those settings of `running` that a reload does not take.
    pub fn with_fixed_of(&self, running: &Written) -> Table {
        let mut table = self.0.clone();
        table.retain(|key, _| TAKEN.contains(&key.as_str()));
        for (key, node) in &running.0 {
            if !TAKEN.contains(&key.as_str()) {
                table.insert(key.clone(), node.clone());
            }
        }
        let log = self.0.get(TELEMETRY).and_then(Node::members).and_then(|telemetry| telemetry.get(LOG));
        if let (Some(log), Some(Node { value: Value::Table(telemetry), .. })) = (log, table.get_mut(TELEMETRY)) {
            telemetry.insert(LOG.to_owned(), log.clone());
        }
        table
    }

    /// The place of a dotted key, or of the nearest table above it.
    pub fn place(&self, key: &str) -> Place {
        let (mut table, mut place) = (Some(&self.0), Place::Default);
        for step in key.split('.') {
            let Some(node) = table.and_then(|table| table.get(step)) else { break };
            place = node.place.clone();
            table = node.members();
        }
        place
    }

    /// Everything below a dotted key, to be compared.
    pub fn below(&self, key: &str) -> Vec<(String, String)> {
        let leaves = self.leaves().into_iter().filter(|(found, _)| found.starts_with(key));
        leaves.map(|(found, leaf)| (found, leaf.text)).collect()
    }

    fn leaves(&self) -> BTreeMap<String, Leaf> {
        let mut found = BTreeMap::new();
        self.0.iter().for_each(|(key, node)| collect(key, node, &mut found));
        found
    }
}

fn collect(key: &str, node: &Node, found: &mut BTreeMap<String, Leaf>) {
    let text = match &node.value {
        Value::Table(table) => {
            return table.iter().for_each(|(name, node)| collect(&format!("{key}.{name}"), node, found));
        }
        Value::List(list) if list.iter().any(|node| matches!(node.value, Value::Table(_))) => {
            return list.iter().enumerate().for_each(|(at, node)| collect(&format!("{key}.{at}"), node, found));
        }
        Value::List(list) => {
            let texts: Vec<String> = list.iter().filter_map(scalar).collect();
            format!("[{}]", texts.join(", "))
        }
        _ => scalar(node).unwrap_or_default(),
    };
    found.insert(key.to_owned(), Leaf { text, is_hidden: node.holds_indirect() || secret::is_named(key) });
}

fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(format!("{text:?}")),
        Value::Integer(n) => Some(n.to_string()),
        Value::Float(n) => Some(n.to_string()),
        Value::Flag(flag) => Some(flag.to_string()),
        Value::Datetime(time) => Some(time.to_string()),
        Value::List(_) | Value::Table(_) | Value::Broken => None,
    }
}

/// Compares two trees. `platforms` are those of both, which say which keys of their accounts are secret.
pub(super) fn difference(running: &Written, new: &Written, platforms: [&Platforms; 2]) -> Difference {
    let (before, after) = (running.leaves(), new.leaves());
    let mut found = Difference::default();
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let (old, new_leaf) = (before.get(key), after.get(key));
        if old == new_leaf {
            continue;
        }
        let platform = || {
            let name = key.strip_prefix("accounts.")?.split('.').next()?;
            let stated = format!("accounts.{name}.platform");
            let text = after.get(&stated).or_else(|| before.get(&stated))?;
            Some(text.text.trim_matches('"').to_owned())
        };
        let is_hidden = old.is_some_and(|leaf| leaf.is_hidden)
            || new_leaf.is_some_and(|leaf| leaf.is_hidden)
            || !may_show(key, platform().as_deref(), platforms);
        let shown = |leaf: &Leaf| mask_text(&origin_alone(key, &leaf.text)).into_owned();
        let what = match (old, new_leaf) {
            (Some(_), Some(_)) if is_hidden => "changed".to_owned(),
            (None, Some(_)) if is_hidden => "added".to_owned(),
            (Some(old), Some(new)) => format!("{} → {}", shown(old), shown(new)),
            (None, Some(new)) => format!("added, {}", shown(new)),
            (Some(_), None) | (None, None) => "removed".to_owned(),
        };
        let changed = Changed { key: key.clone(), what };
        if is_taken(key) { found.taken.push(changed) } else { found.at_restart.push(changed) }
    }
    found
}

fn is_taken(key: &str) -> bool {
    let top = key.split('.').next().unwrap_or(key);
    TAKEN.contains(&top) || key == "telemetry.log"
}

/// The keys of every account that hold nothing secret.
const PLAIN: [&str; 16] = [
    "platform",
    "base_url",
    "base_urls",
    "allow_http",
    "allow_private",
    "limits",
    "call_limits",
    "retry",
    "validate",
    "rollout",
    "when_unavailable",
    "on_ambiguous",
    "map",
    "enabled",
    "halt_probe",
    "reply",
];

/// Whether the values of a key may be shown. A key of an account that nobody knows as plain is not.
fn may_show(key: &str, platform: Option<&str>, platforms: [&Platforms; 2]) -> bool {
    let Some((_, own)) = key.strip_prefix("accounts.").and_then(|rest| rest.split_once('.')) else {
        return !key.starts_with("accounts.") && !key.starts_with("kafka.properties.");
    };
    if PLAIN.contains(&own.split('.').next().unwrap_or(own)) {
        return true;
    }
    if let Some(member) = own.strip_prefix("secrets.") {
        return matches!(member.split('.').nth(1), Some("id" | "not_before" | "not_after"));
    }
    let Some(platform) = platform.and_then(|name| platforms.iter().find_map(|all| all.find(name))) else {
        return false;
    };
    let is_of = |name: &str| own == name || own.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    platform.describe().keys.iter().find(|known| is_of(&known.name)).is_some_and(|known| !known.secret)
}

/// Of a base URL scheme, host and port alone: its path may be known to nobody else.
fn origin_alone(key: &str, text: &str) -> String {
    if !key.contains(".base_url") {
        return text.to_owned();
    }
    let origin =
        |text: &str| Some(Url::parse(text.trim_matches(['"', '[', ']', ' '])).ok()?.origin().ascii_serialization());
    text.split(", ").map(|text| origin(text).unwrap_or_else(|| "…".to_owned())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
