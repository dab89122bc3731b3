//! The files of `deploy/prometheus`, read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::{Deserialize, Serialize};

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The text of a file of the repository.
pub fn read(path: &str) -> String {
    fs::read_to_string(format!("{ROOT}/{path}")).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A file of rules. Written as JSON it is still YAML.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub groups: Vec<Group>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub name: String,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    pub expr: String,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_firing_for: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Rule {
    pub fn name(&self) -> &str {
        self.alert.as_deref().or(self.record.as_deref()).unwrap_or_default()
    }
}

impl File {
    pub fn parse(text: &str) -> Self {
        serde_yaml_ng::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.groups.iter().flat_map(|group| &group.rules)
    }

    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules().find(|rule| rule.name() == name)
    }

    /// The same with these rules alone.
    pub fn only(&self, names: &BTreeSet<String>) -> Self {
        let mut file = self.clone();
        file.groups.iter_mut().for_each(|group| group.rules.retain(|rule| names.contains(rule.name())));
        file.groups.retain(|group| !group.rules.is_empty());
        file
    }

    /// The same with another rule of the same name.
    pub fn with(&self, rule: &Rule) -> Self {
        let mut file = self.clone();
        let all = file.groups.iter_mut().flat_map(|group| &mut group.rules);
        all.filter(|old| old.name() == rule.name()).for_each(|old| old.clone_from(rule));
        file
    }
}

/// Both files of rules.
#[derive(Clone, Debug)]
pub struct Rules {
    pub recording: File,
    pub alerts: File,
}

impl Rules {
    pub fn read() -> Self {
        let file = |name: &str| File::parse(&read(&format!("deploy/prometheus/{name}.yml")));
        Self { recording: file("recording"), alerts: file("alerts") }
    }

    pub fn alert_names(&self) -> Vec<&str> {
        self.alerts.rules().map(Rule::name).collect()
    }

    /// What one alert needs: itself, and the recording rules that it reads.
    pub fn needed_by(&self, alert: &str) -> Self {
        let mut names = BTreeSet::from([alert.to_owned()]);
        let mut left: Vec<&Rule> = self.alerts.rules().filter(|rule| rule.name() == alert).collect();
        while let Some(rule) = left.pop() {
            let read = self.recording.rules().filter(|recorded| rule.expr.contains(recorded.name()));
            left.extend(read.filter(|recorded| names.insert(recorded.name().to_owned())));
        }
        Self { recording: self.recording.only(&names), alerts: self.alerts.only(&names) }
    }
}

/// A file of `promtool test rules`.
#[derive(Debug, Deserialize)]
pub struct Tests {
    pub tests: Vec<Case>,
}

#[derive(Debug, Deserialize)]
pub struct Case {
    pub name: String,
    pub alert_rule_test: Vec<Expected>,
}

#[derive(Debug, Deserialize)]
pub struct Expected {
    pub alertname: String,
    pub exp_alerts: Vec<serde_json::Value>,
}
