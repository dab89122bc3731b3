//! The rules that every board keeps. Each returns what it finds wrong, and where.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::board::{self, Board, Query, list, text};
use super::known::Known;
use super::promql;

/// The variables that every board has.
const VARIABLES: [&str; 4] = ["datasource", "job", "instance", "console"];
/// Grafana's ids of the units in use. A misspelt one would be shown as text behind each number.
const UNITS: [&str; 13] = [
    "none",
    "short",
    "percentunit",
    "s",
    "d",
    "bytes",
    "eps",
    "reqps",
    "recps",
    "ops",
    "bool_yes_no",
    "bool",
    "string",
];
const KINDS: [&str; 6] = ["stat", "timeseries", "table", "bargauge", "state-timeline", "heatmap"];
/// Functions that read how a counter grew.
const GROWTH: [&str; 3] = ["rate", "increase", "irate"];
/// The width of a board.
const WIDTH: u64 = 24;

static USE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\{?([a-z]+)\b").unwrap());
static RANGE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\[([^\]]*)\]").unwrap());
static QUOTED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""[^"]*""#).unwrap());
static LEGEND: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{\{(\w+)\}\}").unwrap());
static FIELD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\{__(?:field\.labels|data\.fields)\.(\w+)\}").unwrap());

/// Everything that is wrong with a board.
pub fn faults(board: &Board, known: &Known) -> Vec<String> {
    let mut faults = Vec::new();
    frame(board, &mut faults);
    variables(board, &mut faults);
    for panel in board.shown() {
        of_panel(panel, &mut faults);
        for query in board::of_panel(panel) {
            of_query(&query, text(&panel["type"]), known, &mut faults);
        }
    }
    layout(board, &mut faults);
    links(board, known, &mut faults);
    faults.into_iter().map(|fault| format!("{}: {fault}", board.name)).collect()
}

fn frame(board: &Board, faults: &mut Vec<String>) {
    let json = &board.json;
    let mut must = |holds: bool, says: &str| faults.extend((!holds).then(|| says.to_owned()));
    must(json["uid"] == format!("postback-{}", board.name), "its uid is not its file's name");
    must(text(&json["title"]).starts_with("postback / "), "its title does not begin with postback /");
    must(!text(&json["description"]).is_empty(), "it has no description");
    must(json["editable"] == false, "it can be edited");
    must(list(&json["tags"]).contains(&"postback".into()), "it has no tag by which the others find it");
    must(json["id"].is_null(), "it holds the id of some installation");
    // 39 and 40 are Grafana 11's own; a higher one would be refused or migrated down.
    must(matches!(json["schemaVersion"].as_u64(), Some(39 | 40)), "its schema is not the one of Grafana 11");
    must(list(&json["links"]).iter().any(|link| link["type"] == "dashboards"), "it does not lead to the other boards");
}

fn variables(board: &Board, faults: &mut Vec<String>) {
    let declared = list(&board.json["templating"]["list"]);
    let find = |name: &str| declared.iter().find(|variable| variable["name"] == name);
    for name in VARIABLES {
        if find(name).is_none() {
            faults.push(format!("there is no variable {name}"));
        }
    }
    for variable in declared {
        let name = text(&variable["name"]);
        let right = match text(&variable["type"]) {
            "datasource" => name == "datasource" && variable["query"] == "prometheus",
            "textbox" => name == "console" && variable["query"] == "http://127.0.0.1:9464",
            "query" => variable["refresh"] == 2 && is_variable_source(variable),
            _ => false,
        };
        if !right {
            faults.push(format!("variable {name}: its type, data source or reload on time change is wrong"));
        }
        if ["job", "instance"].contains(&name) && !(variable["multi"] == true && variable["includeAll"] == true) {
            faults.push(format!("variable {name}: it cannot be All"));
        }
    }
    let shown = serde_json::json!([board.json["panels"], board.json["links"]]).to_string();
    // A variable may also narrow the values of another one.
    let narrowing = declared.iter().map(|variable| variable["query"].to_string()).collect::<String>();
    let used: BTreeSet<String> =
        USE.captures_iter(&format!("{shown}{narrowing}")).map(|found| found[1].to_owned()).collect();
    let names: BTreeSet<String> = declared.iter().map(|variable| text(&variable["name"]).to_owned()).collect();
    faults.extend(used.difference(&names).map(|name| format!("${name} is no variable of it")));
    faults.extend(names.difference(&used).map(|name| format!("variable {name} is used nowhere")));
}

fn is_variable_source(of: &Value) -> bool {
    of["datasource"]["uid"] == "${datasource}" && of["datasource"]["type"] == "prometheus"
}

fn of_panel(panel: &Value, faults: &mut Vec<String>) {
    let title = text(&panel["title"]);
    let mut must = |holds: bool, says: &str| faults.extend((!holds).then(|| format!("“{title}”: {says}")));
    must(title.ends_with('?') && title.len() > 8, "the title asks no question");
    // About so many letters fit into one of the 24 columns of an ordinary screen.
    must(title.chars().count() as u64 <= 8 * place(panel)[2], "the title is wider than the panel");
    let description = text(&panel["description"]);
    must(
        description.contains("Normal: ") && description.contains(" Act: "),
        "the description says not both: Normal, Act",
    );
    must(KINDS.contains(&text(&panel["type"])), "this kind of panel is not in use");
    must(UNITS.contains(&text(&panel["fieldConfig"]["defaults"]["unit"])), "it has no unit");
    for rule in list(&panel["fieldConfig"]["overrides"]).iter().flat_map(|rule| list(&rule["properties"])) {
        must(rule["id"] != "unit" || UNITS.contains(&text(&rule["value"])), "a field's unit is not one");
    }
    let targets = list(&panel["targets"]);
    must(!targets.is_empty(), "it has no query");
    must(targets.iter().all(|target| !text(&target["expr"]).trim().is_empty()), "a query is empty");
    must(std::iter::once(panel).chain(targets).all(is_variable_source), "its data source is not the variable");
    let ids: BTreeSet<&str> = targets.iter().map(|target| text(&target["refId"])).collect();
    must(ids.len() == targets.len() && !ids.contains(""), "two queries have one letter");
}

fn of_query(query: &Query, kind: &str, known: &Known, faults: &mut Vec<String>) {
    let mut must = |holds: bool, says: &str| {
        faults.extend((!holds).then(|| format!("“{}”: {says}: {}", query.panel, query.expr)));
    };
    // A class of characters in a text is no range.
    let without_texts = QUOTED.replace_all(&query.expr, "\"\"").into_owned();
    for range in RANGE.captures_iter(&without_texts) {
        let total = &range[1] == "$__range" && query.is_instant;
        must(
            total || &range[1] == "$__rate_interval",
            "a range is neither $__rate_interval nor, for a total, $__range",
        );
    }
    let parsed = match promql::parse(&board::with_all_chosen(&query.expr, "1m", "1h")) {
        Ok(parsed) => parsed,
        Err(error) => return must(false, &format!("it does not parse ({error})")),
    };
    let mut labels: BTreeSet<String> = BTreeSet::new();
    let mut are_known = true;
    for selector in &parsed.selectors {
        let name = selector.metric.as_str();
        let own = known.labels(name);
        if known.is_recorded(name) {
            labels.extend(own.iter().cloned());
            must(
                selector.matched.is_subset(&own) && selector.matched.contains("job"),
                "its labels or job are not matched",
            );
            must(selector.function.is_none(), "a recorded series is read with a range");
            continue;
        }
        if name == "ALERTS" {
            are_known = false;
            continue;
        }
        let Some(metric) = known.metric(name) else {
            must(false, &format!("there is no metric {name:?}"));
            are_known = false;
            continue;
        };
        labels.extend(own.iter().cloned());
        for label in selector.matched.difference(&own) {
            must(false, &format!("{name} has no label {label}"));
        }
        must(
            selector.matched.contains("job") && selector.matched.contains("instance"),
            "job or instance is not matched",
        );
        let grows = selector.function.as_deref().is_some_and(|function| GROWTH.contains(&function));
        must(!metric.is_counter || grows, &format!("the counter {name} is read without rate or increase"));
        must(metric.is_counter || !grows, &format!("{name} is no counter, so that its rate says nothing"));
    }
    if !are_known {
        return;
    }
    for label in parsed.grouped.difference(&labels) {
        must(false, &format!("it groups by {label}, which none of its metrics has"));
    }
    let returned = parsed.returned(&|name| known.labels(name));
    for label in LEGEND.captures_iter(&query.legend) {
        must(returned.contains(&label[1]), &format!("its legend names {}, which it does not return", &label[1]));
    }
    must(kind != "heatmap" || returned.contains("le"), "a heat map needs le");
}

fn place(panel: &Value) -> [u64; 4] {
    ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap_or(u64::MAX / 4))
}

/// Panels fill the width without gaps and overlaps, in the order of the file, below rows that are questions too.
fn layout(board: &Board, faults: &mut Vec<String>) {
    let mut taken: BTreeSet<(u64, u64)> = BTreeSet::new();
    let (mut bottom, mut before) = (0, None);
    for panel in board.panels() {
        let (title, [x, y, w, h]) = (text(&panel["title"]), place(panel));
        if x + w > WIDTH || w == 0 || h == 0 || h > 100 || y > 1000 {
            faults.push(format!("“{title}”: it lies outside of the board"));
            continue;
        }
        let cells = (y..y + h).flat_map(|row| (x..x + w).map(move |column| (row, column)));
        if cells.filter(|cell| !taken.insert(*cell)).count() > 0 {
            faults.push(format!("“{title}”: it overlaps another panel"));
        }
        if before.is_some_and(|before| (y, x) < before) {
            faults.push(format!("“{title}”: the file has it in another order than the screen"));
        }
        (before, bottom) = (Some((y, x)), bottom.max(y + h));
        if panel["type"] == "row" && (w != WIDTH || h != 1 || panel["collapsed"] != false || !title.ends_with('?')) {
            faults.push(format!("row “{title}”: it is no open question over the whole width"));
        }
    }
    let gap = (0..bottom).find(|row| (0..WIDTH).any(|column| !taken.contains(&(*row, column))));
    faults.extend(gap.map(|row| format!("line {row} is not filled")));
    if board.panels().first().is_none_or(|panel| panel["type"] != "row") {
        faults.push("it does not begin with a row".to_owned());
    }
    let distinct = |member: &str| board.panels().iter().map(|panel| panel[member].to_string()).collect::<BTreeSet<_>>();
    for member in ["id", "title"] {
        if distinct(member).len() != board.panels().len() {
            faults.push(format!("two panels have one {member}"));
        }
    }
}

/// All links below a value: a panel's own, those of its data, and those of single fields.
fn urls<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| urls(item, found)),
        Value::Object(members) => {
            found.extend(members.get("url").is_some().then_some(value));
            members.values().for_each(|member| urls(member, found));
        }
        _ => {}
    }
}

fn links(board: &Board, known: &Known, faults: &mut Vec<String>) {
    let mut check = |link: &Value, returned: &BTreeSet<String>| {
        if let Some(wrong) = wrong_link(text(&link["url"]), returned, known) {
            faults.push(format!("link “{}” ({}): {wrong}", text(&link["title"]), text(&link["url"])));
        }
    };
    for link in list(&board.json["links"]).iter().filter(|link| link["type"] != "dashboards") {
        check(link, &BTreeSet::new());
    }
    for panel in board.shown() {
        let mut returned = BTreeSet::new();
        for query in board::of_panel(panel) {
            if let Ok(parsed) = promql::parse(&board::with_all_chosen(&query.expr, "1m", "1h")) {
                returned.extend(parsed.returned(&|name| known.labels(name)));
            }
        }
        let mut found = Vec::new();
        urls(panel, &mut found);
        found.into_iter().for_each(|link| check(link, &returned));
    }
}

/// What is wrong with a target, if anything is. `returned`: the labels that the panel's queries return.
fn wrong_link(url: &str, returned: &BTreeSet<String>, known: &Known) -> Option<String> {
    if let Some(label) = FIELD.captures_iter(url).find(|label| !returned.contains(&label[1])) {
        return Some(format!("no query of the panel returns {}", &label[1]));
    }
    let names = |query: &str| -> Vec<String> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split('=').next().unwrap_or_default().to_owned()).collect()
    };
    if let Some(rest) = url.strip_prefix("${console}/#/") {
        let (route, query) = rest.split_once('?').unwrap_or((rest, ""));
        let Some(reads) = known.routes.get(route) else { return Some(format!("the console has no page {route:?}")) };
        let unread = names(query).into_iter().find(|name| !reads.contains(name));
        return unread.map(|name| format!("the console's page {route:?} does not read {name:?}"));
    }
    if let Some(page) = url.strip_prefix("${console}/runbook/") {
        let exists = page == "${__value.text}" || known.runbook.contains(page);
        return (!exists).then(|| format!("the runbook has no page {page:?}"));
    }
    let Some((uid, query)) = url.strip_prefix("/d/").and_then(|rest| rest.split_once('?')) else {
        return Some("it leads neither to a board nor to the console".to_owned());
    };
    let Some(variables) = known.boards.get(uid) else { return Some(format!("there is no board {uid:?}")) };
    let named = names(query);
    for carried in ["datasource", "job", "instance", "console"] {
        if !named.contains(&format!("${{{carried}:queryparam}}")) {
            return Some(format!("it does not carry ${carried}"));
        }
    }
    if !named.contains(&"${__url_time_range}".to_owned()) {
        return Some("it does not carry the time".to_owned());
    }
    let mut set = named.iter().filter_map(|name| name.strip_prefix("var-"));
    set.find(|name| !variables.contains(*name)).map(|name| format!("board {uid:?} has no variable {name:?}"))
}
