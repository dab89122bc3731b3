//! The dashboards of `deploy/grafana`: every rule that they keep, each with a planted violation; what they name exists;
//! what serves them finds them. `tests/e2e/dashboard.rs` runs their queries.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "dashboards/board.rs"]
mod board;
#[expect(dead_code, reason = "the tests read the table; making metrics of it is the worker's business")]
#[path = "../src/metrics/families.rs"]
mod families;
#[path = "dashboards/known.rs"]
mod known;
#[path = "dashboards/promql.rs"]
mod promql;
#[path = "dashboards/rules.rs"]
mod rules;

use std::collections::BTreeSet;

use board::{Board, list, text};
use known::Known;
use serde_json::{Value, json};

const NAMES: [&str; 6] = ["account", "capacity", "dead-letters", "kafka-redis", "overview", "platform"];

#[test]
fn there_are_six_boards_and_all_of_them_keep_every_rule() {
    let boards = board::all();
    assert_eq!(boards.iter().map(|board| board.name.as_str()).collect::<Vec<_>>(), NAMES);
    let known = Known::new(&boards);
    let faults: Vec<String> = boards.iter().flat_map(|board| rules::faults(board, &known)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_metric_of_the_worker_is_on_a_board() {
    let boards = board::all();
    let known = Known::new(&boards);
    let queries = boards.iter().flat_map(Board::queries);
    let plain = queries.map(|query| board::with_all_chosen(&query.expr, "1m", "1h"));
    let used = plain.flat_map(|plain| promql::parse(&plain).unwrap().selectors);
    let used: BTreeSet<String> = used.map(|selector| selector.metric).collect();
    assert_eq!(known.unused(&used), Vec::<&str>::new());
}

#[test]
fn the_overview_begins_with_what_a_person_has_to_do_and_leads_to_the_account_and_from_there_to_the_console() {
    let boards = board::all();
    let find = |name: &str| boards.iter().find(|board| board.name == name).unwrap();
    let overview = find("overview");
    assert_eq!(overview.panels()[0]["title"], "Does a person have to act now?");
    let second_row = overview.panels().iter().skip(1).position(|panel| panel["type"] == "row").unwrap() + 1;
    let first = serde_json::to_string(&overview.panels()[1..second_row]).unwrap();
    for asked in ["ALERTS{", "oldest_open_event_age", "lane_state", "unaccounted_events", "dead_letters_total", "0.001"]
    {
        assert!(first.contains(asked), "the first row of the overview does not ask for {asked}");
    }
    assert!(first.contains("/d/postback-account?var-account=${__field.labels.account}"));
    let links = find("account").json["links"].to_string();
    for page in ["lanes?account=${account}", "dead-letters?account=${account}", "blocked"] {
        assert!(links.contains(&format!("${{console}}/#/{page}")), "the board of an account does not lead to {page}");
    }
}

#[test]
fn the_compose_file_and_the_provisioning_serve_these_files() {
    let compose = include_str!("../docker-compose.yml");
    assert!(compose.contains("/var/lib/grafana/dashboards/overview.json"), "the home dashboard is not the overview");
    assert!(compose.contains("./deploy/grafana/dashboards:/var/lib/grafana/dashboards:ro"));
    let boards = include_str!("../deploy/grafana/provisioning/dashboards/postback.yml");
    assert!(boards.contains("path: /var/lib/grafana/dashboards"));
    // `$__rate_interval` is made of it: four scrapes.
    let seconds = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap_or_else(|| panic!("no {key}"));
        line.trim().trim_matches('"').to_owned()
    };
    let source = include_str!("../deploy/grafana/provisioning/datasources/prometheus.yml");
    let scrape = include_str!("../deploy/prometheus/prometheus.yml");
    assert_eq!(seconds(source, "timeInterval:"), seconds(scrape, "scrape_interval:"));
}

#[test]
fn the_links_of_alerts_lead_to_boards_pages_and_filters_that_exist() {
    let known = Known::new(&board::all());
    let alerts = include_str!("../deploy/prometheus/alerts.yml");
    let of = |key: &str| -> Vec<&str> {
        let lines = alerts.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.map(|url| url.trim().trim_matches('\'')).collect()
    };
    let names = |query: &str| -> Vec<String> {
        // An alert without the label writes no `account=`: the template that decides so is no part of the name.
        let plain = regex::Regex::new(r"\{\{[^}]*\}\}").unwrap().replace_all(query, "").into_owned();
        let pairs = plain.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split('=').next().unwrap().to_owned()).collect()
    };
    let (boards, consoles) = (of("dashboard_url:"), of("console_url:"));
    assert!(boards.len() >= 30 && boards.len() == consoles.len() && boards.len() == of("runbook_url:").len());
    for url in boards {
        let rest = url.strip_prefix("http://127.0.0.1:3000/d/").unwrap_or_else(|| panic!("{url}"));
        let (uid, query) = rest.split_once('?').unwrap_or((rest, ""));
        let variables = known.boards.get(uid).unwrap_or_else(|| panic!("no board {uid}"));
        for name in names(query) {
            assert!(name.strip_prefix("var-").is_some_and(|name| variables.contains(name)), "{url}: {name}");
        }
    }
    for url in consoles {
        let rest = url.strip_prefix("http://127.0.0.1:9464/#/").unwrap_or_else(|| panic!("{url}"));
        let (route, query) = rest.split_once('?').unwrap_or((rest, ""));
        let reads = known.routes.get(route).unwrap_or_else(|| panic!("the console has no page {route}"));
        for name in names(query) {
            assert!(reads.contains(&name), "{url}: the console's page does not read {name}");
        }
    }
    for url in of("runbook_url:") {
        let page = url.strip_prefix("http://127.0.0.1:9464/runbook/").unwrap_or_else(|| panic!("{url}"));
        assert!(known.runbook.contains(page), "the runbook has no page {page}");
    }
}

#[test]
fn the_mixin_holds_every_board_and_every_rule() {
    let mixin = include_str!("../deploy/mixin.libsonnet");
    for name in NAMES {
        assert!(mixin.contains(&format!("'{name}.json': importstr 'grafana/dashboards/{name}.json'")), "{name}");
    }
    for rules in ["recording.yml", "alerts.yml"] {
        assert!(mixin.contains(&format!("importstr 'prometheus/{rules}'")), "{rules}");
    }
}

/// The first panel of this kind.
fn first<'a>(board: &'a mut Value, kind: &str) -> &'a mut Value {
    board["panels"].as_array_mut().unwrap().iter_mut().find(|panel| panel["type"] == kind).unwrap()
}

/// The panel of this title.
fn panel<'a>(board: &'a mut Value, title: &str) -> &'a mut Value {
    board["panels"].as_array_mut().unwrap().iter_mut().find(|panel| panel["title"] == title).unwrap()
}

fn query(board: &mut Value) -> &mut Value {
    &mut panel(board, "How do events end?")["targets"][0]["expr"]
}

fn variable<'a>(board: &'a mut Value, name: &str) -> &'a mut Value {
    board["templating"]["list"].as_array_mut().unwrap().iter_mut().find(|one| one["name"] == name).unwrap()
}

/// A name for a fault, the words in which it is told, and how the overview comes to have it.
type Planted = (&'static str, fn(&mut Value));

const ENDS: &str =
    r#"sum by (outcome) (rate(postback_events_finished_total{job=~"$job",instance=~"$instance"}[$__rate_interval]))"#;

#[rustfmt::skip]
const PLANTED: &[Planted] = &[
    ("its uid is not its file's name", |b| b["uid"] = "postback".into()),
    ("its title does not begin", |b| b["title"] = "Overview".into()),
    ("it has no description", |b| b["description"] = "".into()),
    ("it can be edited", |b| b["editable"] = true.into()),
    ("it has no tag", |b| b["tags"] = json!([])),
    ("it holds the id of some installation", |b| b["id"] = 7.into()),
    ("its schema is not the one", |b| b["schemaVersion"] = 16.into()),
    ("it does not lead to the other boards", |b| b["links"] = json!([])),
    ("there is no variable job", |b| variable(b, "job")["name"] = "task".into()),
    ("$job is no variable", |b| variable(b, "job")["name"] = "task".into()),
    ("variable task is used nowhere", |b| variable(b, "job")["name"] = "task".into()),
    ("reload on time change is wrong", |b| variable(b, "instance")["refresh"] = 1.into()),
    ("variable job: its type", |b| variable(b, "job")["datasource"]["uid"] = "prometheus".into()),
    ("variable console: its type", |b| variable(b, "console")["query"] = "http://example.com".into()),
    ("variable instance: it cannot be All", |b| variable(b, "instance")["includeAll"] = false.into()),
    ("the title asks no question", |b| first(b, "stat")["title"] = "Unaccounted".into()),
    ("the title is wider than the panel", |b| first(b, "stat")["gridPos"]["w"] = 2.into()),
    ("the description says not both", |b| first(b, "stat")["description"] = "Normal: 0.".into()),
    ("this kind of panel is not in use", |b| first(b, "stat")["type"] = "singlestat".into()),
    ("it has no unit", |b| first(b, "timeseries")["fieldConfig"]["defaults"]["unit"] = "".into()),
    ("it has no unit", |b| first(b, "timeseries")["fieldConfig"]["defaults"]["unit"] = "events".into()),
    ("a field's unit is not one", |b| first(b, "table")["fieldConfig"]["overrides"][0]["properties"][0] = json!({"id": "unit", "value": "sec"})),
    ("it has no query", |b| first(b, "stat")["targets"] = json!([])),
    ("a query is empty", |b| first(b, "stat")["targets"][0]["expr"] = " ".into()),
    ("its data source is not the variable", |b| first(b, "stat")["datasource"]["uid"] = "prometheus".into()),
    ("its data source is not the variable", |b| first(b, "stat")["targets"][0]["datasource"]["uid"] = "prometheus".into()),
    ("two queries have one letter", |b| { let p = first(b, "stat"); let t = p["targets"][0].clone(); p["targets"] = json!([t, t]); }),
    ("a range is neither", |b| *query(b) = ENDS.replace("$__rate_interval", "5m").into()),
    ("a range is neither", |b| *query(b) = ENDS.replace("$__rate_interval", "$__range").into()),
    ("it does not parse", |b| *query(b) = "sum(rate(".into()),
    ("there is no metric \"postback_events_ended_total\"", |b| *query(b) = ENDS.replace("finished", "ended").into()),
    ("postback_events_finished_total has no label state", |b| *query(b) = ENDS.replace("{job", "{state=\"open\",job").into()),
    ("job or instance is not matched", |b| *query(b) = ENDS.replace("job=~\"$job\",", "").into()),
    ("is read without rate or increase", |b| *query(b) = ENDS.replace("rate(", "(").replace("[$__rate_interval]", "").into()),
    ("is read without rate or increase", |b| *query(b) = ENDS.replace("rate(", "max_over_time(").into()),
    ("is no counter, so that its rate says nothing", |b| *query(b) = ENDS.replace("events_finished_total", "events_open").replace("(outcome)", "(account)").into()),
    ("it groups by reason", |b| *query(b) = ENDS.replace("(outcome)", "(reason)").into()),
    ("its legend names outcome", |b| *query(b) = ENDS.replace("by (outcome) ", "").into()),
    ("a heat map needs le", |b| panel(b, "How do events end?")["type"] = "heatmap".into()),
    ("it lies outside of the board", |b| first(b, "stat")["gridPos"]["x"] = 23.into()),
    ("it overlaps another panel", |b| first(b, "table")["gridPos"]["w"] = 12.into()),
    ("the file has it in another order", |b| b["panels"].as_array_mut().unwrap().swap(1, 2)),
    ("is not filled", |b| _ = b["panels"].as_array_mut().unwrap().pop()),
    ("it is no open question", |b| first(b, "row")["collapsed"] = true.into()),
    ("it does not begin with a row", |b| _ = b["panels"].as_array_mut().unwrap().remove(0)),
    ("two panels have one id", |b| first(b, "stat")["id"] = 1.into()),
    ("two panels have one title", |b| first(b, "stat")["title"] = "How do events end?".into()),
    ("there is no board \"postback-accounts\"", |b| link(b, "/d/postback-accounts?${datasource:queryparam}")),
    ("it does not carry $console", |b| link(b, "/d/postback-account?${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}")),
    ("it does not carry the time", |b| link(b, "/d/postback-account?${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${console:queryparam}")),
    ("board \"postback-capacity\" has no variable \"account\"", |b| link(b, "/d/postback-capacity?var-account=x&${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${console:queryparam}&${__url_time_range}")),
    ("the console has no page \"lane\"", |b| link(b, "${console}/#/lane")),
    ("the console's page \"lanes\" does not read \"name\"", |b| link(b, "${console}/#/lanes?name=x")),
    ("the runbook has no page \"PostbackNothing\"", |b| link(b, "${console}/runbook/PostbackNothing")),
    ("it leads neither to a board nor to the console", |b| link(b, "http://127.0.0.1:9464/#/lanes")),
    ("no query of the panel returns account", |b| link(b, "${console}/#/lanes?account=${__field.labels.account}")),
];

/// Gives a panel whose query returns only `outcome` a link.
fn link(board: &mut Value, url: &str) {
    panel(board, "How do events end?")["links"] = json!([{"title": "planted", "url": url}]);
}

#[test]
fn every_rule_finds_what_breaks_it() {
    let boards = board::all();
    let known = Known::new(&boards);
    let overview = boards.iter().find(|board| board.name == "overview").unwrap();
    for (says, plant) in PLANTED {
        let mut planted = overview.clone();
        plant(&mut planted.json);
        assert_ne!(planted.json, overview.json, "nothing was planted for: {says}");
        let faults = rules::faults(&planted, &known);
        assert!(faults.iter().any(|fault| fault.contains(says)), "not found: {says}: {faults:#?}");
    }
}

#[test]
fn the_pages_of_the_console_are_read_off_the_console() {
    let known = Known::new(&board::all());
    let reads = |route: &str| known.routes[route].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(reads("lanes"), ["account", "platform", "state"]);
    assert!(reads("audit").contains(&"what"));
    assert!(reads("dead-letters").contains(&"reason") && reads("dead-letters").contains(&"account"));
    assert_eq!(reads("blocked"), ["all"]);
    assert!(known.routes.contains_key("") && known.routes.contains_key("replays"));
    assert!(list(&Value::Null).is_empty() && text(&Value::Null).is_empty());
}
