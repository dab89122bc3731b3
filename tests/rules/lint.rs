//! What every rule keeps, beside the checks of promtool. Each fault is one sentence.

use std::collections::{BTreeMap, BTreeSet};

use super::families::{self, Kind};
use super::files::{Rule, Rules, read};
use super::promql::{self, Parsed};

/// The base addresses of the links, as README says how to replace them.
const CONSOLE: &str = "http://127.0.0.1:9464";
const GRAFANA: &str = "http://127.0.0.1:3000";
const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];
const ANNOTATIONS: [&str; 5] = ["console_url", "dashboard_url", "description", "runbook_url", "summary"];

/// The pages of the console to which alerts link, and the names in the query that each of them reads.
const PAGES: [(&str, &[&str]); 5] = [
    ("lanes", &["account", "platform", "state"]),
    ("dead-letters", &["account", "platform", "reason", "state"]),
    ("blocked", &["all"]),
    ("replays", &[]),
    ("audit", &["what", "via", "account", "who", "subject"]),
];

/// What exists beside the rules.
pub struct Known {
    /// The labels of each series, and whether it is a counter.
    series: BTreeMap<String, (BTreeSet<String>, bool)>,
    recorded: BTreeMap<String, Parsed>,
    pages: BTreeMap<&'static str, &'static [&'static str]>,
    /// The variables of each dashboard.
    dashboards: BTreeMap<String, BTreeSet<String>>,
}

impl Known {
    pub fn new(rules: &Rules) -> Self {
        // Prometheus adds these at the scrape.
        let labels = |own: &[&str]| own.iter().chain(&["job", "instance"]).map(|l| (*l).to_owned()).collect();
        let mut series: BTreeMap<String, (BTreeSet<String>, bool)> =
            BTreeMap::from([("up".into(), (labels(&[]), false))]);
        for family in families::ALL {
            let is_counter = family.kind == Kind::Counter;
            if family.kind == Kind::Histogram {
                let with_le: Vec<&str> = family.labels.iter().copied().chain(["le"]).collect();
                series.insert(format!("{}_bucket", family.name), (labels(&with_le), true));
                for part in ["count", "sum"] {
                    series.insert(format!("{}_{part}", family.name), (labels(family.labels), true));
                }
            } else {
                series.insert(family.name.to_owned(), (labels(family.labels), is_counter));
            }
        }
        let of = |rule: &Rule| Some((rule.record.clone()?, promql::parse(&rule.expr).ok()?));
        Self {
            series,
            recorded: rules.recording.rules().filter_map(of).collect(),
            pages: BTreeMap::from(PAGES),
            dashboards: dashboards(),
        }
    }

    /// The labels of a series. Empty: it does not exist.
    fn labels(&self, name: &str) -> BTreeSet<String> {
        match (self.recorded.get(name), self.series.get(name)) {
            (Some(rule), _) => rule.returned(&|name| self.labels(name)),
            (None, Some((labels, _))) => labels.clone(),
            (None, None) => BTreeSet::new(),
        }
    }

    fn exists(&self, name: &str) -> bool {
        self.recorded.contains_key(name) || self.series.contains_key(name)
    }
}

/// The variables of the dashboards, by uid.
fn dashboards() -> BTreeMap<String, BTreeSet<String>> {
    let folder = format!("{}/deploy/grafana/dashboards", super::files::ROOT);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let board = |text: String| {
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let variables = json["templating"]["list"].as_array().into_iter().flatten();
        let names = variables.filter_map(|v| v["name"].as_str().map(str::to_owned)).collect();
        (json["uid"].as_str().unwrap_or_default().to_owned(), names)
    };
    let json = files.filter(|path| path.extension().is_some_and(|e| e == "json"));
    json.map(|path| board(std::fs::read_to_string(path).unwrap())).collect()
}

/// Everything that is wrong with these rules.
pub fn faults(rules: &Rules, known: &Known) -> Vec<String> {
    let mut found = Vec::new();
    let all = rules.recording.rules().chain(rules.alerts.rules());
    for rule in all {
        let mut say = |text: String| found.push(format!("{}: {text}", rule.name()));
        match promql::parse(&rule.expr) {
            Ok(parsed) => query(&parsed, &rule.expr, known, &mut say),
            Err(error) => say(format!("it does not parse: {error}")),
        }
        match (&rule.record, &rule.alert) {
            (Some(name), None) => recording(name, rule, known, &mut say),
            (None, Some(name)) => alert(name, rule, known, &mut say),
            _ => say("it is neither a recording rule nor an alert".into()),
        }
    }
    found
}

fn query(parsed: &Parsed, expr: &str, known: &Known, say: &mut dyn FnMut(String)) {
    for selector in &parsed.selectors {
        let name = &selector.metric;
        if !known.exists(name) {
            say(format!("there is no series {name}"));
            continue;
        }
        let labels = known.labels(name);
        for matched in selector.matched.difference(&labels) {
            say(format!("{name} has no label {matched}"));
        }
        let is_counter = known.series.get(name).is_some_and(|(_, is_counter)| *is_counter);
        let function = selector.function.as_deref().unwrap_or_default();
        if ["rate", "increase", "irate"].contains(&function) != is_counter {
            say(format!("{name} is {} counter, and it is read by {function:?}", if is_counter { "a" } else { "no" }));
        }
    }
    let every: BTreeSet<String> = parsed.selectors.iter().flat_map(|s| known.labels(&s.metric)).collect();
    for label in parsed.grouped.difference(&every) {
        say(format!("no series has the label {label} that it groups by"));
    }
    // Prometheus anchors every pattern at both ends. One that begins or ends with anything reads more than it says.
    for pattern in expr.split("~\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        if pattern.starts_with(".*") || pattern.ends_with(".*") || pattern.ends_with(".+") || !pattern.contains('|') {
            say(format!("the pattern {pattern:?} is no list of names"));
        }
    }
}

fn recording(name: &str, rule: &Rule, known: &Known, say: &mut dyn FnMut(String)) {
    let Some((level, _)) = name.split_once(':') else { return say("its name does not say its labels".into()) };
    let labels: BTreeSet<String> = level.split('_').map(str::to_owned).collect();
    if known.labels(name) != labels {
        say(format!("its name says {labels:?}, and its labels are {:?}", known.labels(name)));
    }
    if let Some(window) = name.rsplit_once("rate").or(name.rsplit_once("increase")).map(|(_, window)| window)
        && (rule.expr.matches('[').count() == 0
            || rule.expr.matches('[').count() != rule.expr.matches(&format!("[{window}]")).count())
    {
        say(format!("its name says [{window}], and its ranges differ"));
    }
}

fn alert(name: &str, rule: &Rule, known: &Known, say: &mut dyn FnMut(String)) {
    if !name.starts_with("Postback") {
        say("its name does not begin with Postback".into());
    }
    if rule.lasts.is_none() {
        say("it has no for, so that one bad scrape fires it".into());
    }
    if !rule.labels.get("severity").is_some_and(|severity| SEVERITIES.contains(&severity.as_str())) {
        say(format!("its severity is none of {SEVERITIES:?}"));
    }
    if !["<", ">", "=="].iter().any(|comparison| rule.expr.contains(comparison)) {
        say("it compares nothing, so that it always fires".into());
    }
    if rule.annotations.keys().map(String::as_str).collect::<Vec<_>>() != ANNOTATIONS {
        return say(format!("its annotations are not {ANNOTATIONS:?}"));
    }
    let text = |name: &str| rule.annotations[name].as_str();
    if text("summary").contains("{{") || !text("summary").ends_with('.') {
        say("its summary is no plain sentence".into());
    }
    if !text("description").contains("{{ $") {
        say("its description names nothing".into());
    }
    if text("runbook_url") != format!("{CONSOLE}/runbook/{name}") {
        say("its runbook_url leads elsewhere".into());
    }
    let labels =
        promql::parse(&rule.expr).map(|parsed| parsed.returned(&|name| known.labels(name))).unwrap_or_default();
    for (place, value) in &rule.annotations {
        let used =
            value.split("$labels.").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
        for label in used.flatten().filter(|label| !labels.contains(*label)) {
            say(format!("{place} uses the label {label}, which the query drops"));
        }
        let is_link = place.ends_with("_url");
        let raw = value
            .split("{{")
            .skip(1)
            .filter(|part| part.trim_start().starts_with('$') && !part.contains("| urlquery }}"));
        if is_link && raw.count() > 0 {
            say(format!("{place} puts a label into a link as it is"));
        }
    }
    console(text("console_url"), &labels, known, say);
    dashboard(text("dashboard_url"), known, say);
}

fn console(link: &str, labels: &BTreeSet<String>, known: &Known, say: &mut dyn FnMut(String)) {
    let Some(view) = link.strip_prefix(&format!("{CONSOLE}/#/")) else {
        return say("its console_url leads elsewhere".into());
    };
    let (page, query) = view.split_once('?').unwrap_or((view, ""));
    let Some(reads) = known.pages.get(page) else { return say(format!("the console has no page {page}")) };
    let names = names_in(query);
    for name in names.iter().filter(|name| !reads.contains(&name.as_str())) {
        say(format!("the page {page} does not read {name}"));
    }
    for label in reads.iter().filter(|label| labels.contains(**label) && !names.iter().any(|name| name == *label)) {
        // The account says the platform.
        if *label != "platform" || !labels.contains("account") {
            say(format!("its console_url does not filter by {label}"));
        }
    }
}

fn dashboard(link: &str, known: &Known, say: &mut dyn FnMut(String)) {
    let Some(view) = link.strip_prefix(&format!("{GRAFANA}/d/")) else {
        return say("its dashboard_url leads elsewhere".into());
    };
    let (uid, query) = view.split_once('?').unwrap_or((view, ""));
    let Some(variables) = known.dashboards.get(uid) else { return say(format!("there is no dashboard {uid}")) };
    for name in names_in(query) {
        if !name.strip_prefix("var-").is_some_and(|name| variables.contains(name)) {
            say(format!("the dashboard {uid} has no variable for {name}"));
        }
    }
}

/// The names of a query, without the templates in it.
fn names_in(query: &str) -> Vec<String> {
    let mut plain = String::new();
    for (at, part) in query.split("{{").enumerate() {
        plain.push_str(if at == 0 { part } else { part.split_once("}}").map_or("", |(_, rest)| rest) });
    }
    plain.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.to_owned()).collect()
}

/// The pages of the console exist, and read what is said of them.
pub fn pages_are_as_said(known: &Known) -> Vec<String> {
    let list = read("src/admin/console/pages/list.js");
    let filter = read("src/admin/console/lib/filter.js");
    let mut wrong = Vec::new();
    for (page, names) in &known.pages {
        if !list.contains(&format!("path: \"{page}\"")) {
            wrong.push(format!("the console has no page {page}"));
        }
        let file =
            if *page == "dead-letters" { filter.clone() } else { read(&format!("src/admin/console/pages/{page}.js")) };
        wrong.extend(
            names.iter().filter(|name| !file.contains(**name)).map(|name| format!("{page} does not read {name}")),
        );
    }
    wrong
}
