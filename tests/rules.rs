//! The recording and alert rules, the Alertmanager example and the scrape of `deploy/prometheus`. Each alert has unit
//! tests, and each fault that is planted in a rule makes one of them fail. Nothing runs but promtool and amtool.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the tests read the table; making metrics of it is the worker's business")]
#[path = "../src/metrics/families.rs"]
mod families;
#[path = "rules/files.rs"]
mod files;
#[path = "rules/lint.rs"]
mod lint;
#[path = "rules/mutants.rs"]
mod mutants;
#[path = "dashboards/promql.rs"]
mod promql;
#[path = "rules/promtool.rs"]
mod promtool;
#[path = "rules/routes.rs"]
mod routes;

use std::collections::BTreeSet;
use std::path::Path;

use files::{ROOT, Rule, Rules, Tests, read};
use lint::{Known, faults, pages_are_as_said};

/// What the alerts are about and whom they wake. The contract between rules, runbook and Alertmanager.
const ALERTS: [(&str, &str); 31] = [
    ("PostbackFreshnessBurn", "critical"),
    ("PostbackFreshnessBurnSlow", "warning"),
    ("PostbackSuccessBurn", "critical"),
    ("PostbackSuccessBurnSlow", "warning"),
    ("PostbackStuckLowTraffic", "critical"),
    ("PostbackErrorShareHigh", "warning"),
    ("PostbackDeliverySlow", "warning"),
    ("PostbackAmbiguousResends", "warning"),
    ("PostbackUnclassifiedCode", "warning"),
    ("PostbackOldestEventOld", "warning"),
    ("PostbackLaneHalted", "critical"),
    ("PostbackLanePaused", "info"),
    ("PostbackParkedTooLong", "critical"),
    ("PostbackBreakerOpen", "warning"),
    ("PostbackRolloutOld", "warning"),
    ("PostbackDeadLettersGrow", "warning"),
    ("PostbackReplayStopped", "warning"),
    ("PostbackEventsUnaccounted", "critical"),
    ("PostbackTargetAbsent", "critical"),
    ("PostbackReloadFailed", "warning"),
    ("PostbackClockOff", "warning"),
    ("PostbackClockHeld", "critical"),
    ("PostbackSecretOld", "warning"),
    ("PostbackRedisAway", "critical"),
    ("PostbackDedupeHeld", "critical"),
    ("PostbackKafkaAway", "critical"),
    ("PostbackCommitStuck", "critical"),
    ("PostbackRetentionClose", "critical"),
    ("PostbackStormStopped", "critical"),
    ("PostbackTopicRefused", "critical"),
    ("PostbackPartitionUnplaced", "critical"),
];

#[test]
fn the_alerts_and_their_severities_are_these() {
    let rules = Rules::read();
    let found: Vec<(&str, &str)> =
        rules.alerts.rules().map(|rule| (rule.name(), rule.labels["severity"].as_str())).collect();
    assert_eq!(found, ALERTS);
}

#[test]
fn promtool_finds_nothing_to_say_about_the_rules_and_the_scrape() {
    let dir = Path::new(ROOT).join("deploy/prometheus");
    for args in [
        &["check", "rules", "--lint=all", "--lint-fatal", "recording.yml", "alerts.yml"][..],
        &["check", "config", "--lint=all", "--lint-fatal", "prometheus.yml"],
    ] {
        let answer = promtool::promtool(args, &dir);
        assert!(answer.is_good, "{}", answer.text);
    }
}

#[test]
fn every_alert_has_a_file_of_tests_in_which_it_fires_stays_silent_and_clears() {
    let rules = Rules::read();
    let named: BTreeSet<String> = rules.alert_names().into_iter().map(str::to_owned).collect();
    let files = std::fs::read_dir(format!("{ROOT}/deploy/prometheus/tests")).unwrap();
    let files: BTreeSet<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(files, named);
    for alert in &named {
        let tests: Tests = serde_yaml_ng::from_str(&read(&format!("deploy/prometheus/tests/{alert}.yml"))).unwrap();
        let fires =
            |case: &files::Case| case.alert_rule_test.iter().map(|at| !at.exp_alerts.is_empty()).collect::<Vec<_>>();
        let kind =
            |word: &str| tests.tests.iter().filter(|case| case.name.starts_with(word)).map(fires).collect::<Vec<_>>();
        assert!(tests.tests.iter().all(|case| case.alert_rule_test.iter().all(|at| at.alertname == *alert)), "{alert}");
        let [firing, silent, clearing] = ["fires", "stays silent", "clears"].map(kind);
        assert_eq!(firing.len() + silent.len() + clearing.len(), tests.tests.len(), "{alert}: a test of no kind");
        // It waits before it fires, for as long as `for` says.
        assert!(
            firing.iter().any(|fires| fires.first() == Some(&false) && fires.last() == Some(&true)),
            "{alert} fires"
        );
        assert!(firing.iter().all(|fires| fires.last() == Some(&true)), "{alert} fires");
        assert!(!silent.is_empty() && silent.iter().flatten().all(|fires| !fires), "{alert} stays silent");
        let ends = |fires: &Vec<bool>| fires.first() == Some(&true) && fires.last() == Some(&false);
        assert!(!clearing.is_empty() && clearing.iter().all(ends), "{alert} clears");
    }
}

#[test]
fn every_unit_test_of_the_alerts_passes() {
    let rules = Rules::read();
    let failed: Vec<String> =
        promtool::of_each(rules.alert_names(), |alert| promtool::first_failure(&rules.needed_by(alert), &[alert]))
            .into_iter()
            .flatten()
            .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Each comparison turned round, each number halved and doubled, each `for` left out, and more of the kind: at least
/// one unit test fails.
#[test]
fn every_fault_that_is_planted_in_a_rule_is_noticed() {
    let rules = Rules::read();
    let mut all: Vec<(String, Rules, Vec<&str>)> = Vec::new();
    for alert in rules.alerts.rules() {
        let needed = rules.needed_by(alert.name());
        let planted = mutants::mutants(alert).into_iter();
        all.extend(planted.map(|(what, rule)| {
            (what, Rules { alerts: needed.alerts.with(&rule), ..needed.clone() }, vec![alert.name()])
        }));
    }
    for recorded in rules.recording.rules() {
        let reads = |alert: &&str| rules.needed_by(alert).recording.rule(recorded.name()).is_some();
        let alerts: Vec<&str> = rules.alert_names().into_iter().filter(reads).collect();
        assert!(!alerts.is_empty(), "no alert reads {}", recorded.name());
        let names: BTreeSet<String> = alerts.iter().map(|alert| (*alert).to_owned()).collect();
        let needed = alerts.iter().flat_map(|alert| {
            rules.needed_by(alert).recording.rules().map(|r| r.name().to_owned()).collect::<Vec<_>>()
        });
        let needed = Rules { recording: rules.recording.only(&needed.collect()), alerts: rules.alerts.only(&names) };
        let planted = mutants::mutants(recorded).into_iter();
        all.extend(planted.map(|(what, rule)| {
            (what, Rules { recording: needed.recording.with(&rule), ..needed.clone() }, alerts.clone())
        }));
    }
    assert!(all.len() > 200, "{} faults", all.len());
    let unnoticed: Vec<String> = promtool::of_each(all, |(what, rules, alerts)| {
        let Some(failure) = promtool::first_failure(&rules, &alerts) else { return Some(what) };
        // A rule that Prometheus cannot read would prove nothing.
        assert!(failure.contains("got:"), "{what}: {failure}");
        None
    })
    .into_iter()
    .flatten()
    .collect();
    assert!(unnoticed.is_empty(), "no test notices these:\n{}", unnoticed.join("\n"));
}

#[test]
fn every_rule_names_what_exists_and_links_to_what_exists() {
    let rules = Rules::read();
    let known = Known::new(&rules);
    let wrong = faults(&rules, &known);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(pages_are_as_said(&known), Vec::<String>::new());
}

#[test]
fn each_rule_of_the_house_is_broken_by_its_fault() {
    let rules = Rules::read();
    let known = Known::new(&rules);
    let lane = rules.alerts.rule("PostbackLaneHalted").unwrap().clone();
    let annotated = |name: &str, text: &str| {
        let mut rule = lane.clone();
        rule.annotations.insert(name.to_owned(), text.to_owned());
        rule
    };
    let asking = |expr: &str| Rule { expr: expr.to_owned(), ..lane.clone() };
    let rows = [
        (asking("max by (job, account) (postback_lane_states) == 1"), "there is no series postback_lane_states"),
        (asking("max by (job, account) (postback_lane_state{stat=\"halted\"}) == 1"), "has no label stat"),
        (asking("max by (job, accounts) (postback_lane_state) == 1"), "the label accounts that it groups by"),
        (asking("max by (job) (postback_lane_state) == 1"), "uses the label account, which the query drops"),
        (asking("max by (job, account) (rate(postback_lane_state[5m])) == 1"), "is no counter"),
        (asking("sum by (job, account) (postback_attempts_total) > 1"), "is a counter"),
        (asking("max by (job, account) (postback_lane_state{state=~\"halt.*\"}) == 1"), "is no list of names"),
        (asking("max by (job, account) (postback_lane_state)"), "it always fires"),
        (asking("max by (job, account (postback_lane_state)"), "it does not parse"),
        (Rule { lasts: None, ..lane.clone() }, "it has no for"),
        (Rule { labels: [("severity".to_owned(), "page".to_owned())].into(), ..lane.clone() }, "its severity"),
        (annotated("summary", "{{ $labels.account }} is halted."), "no plain sentence"),
        (annotated("description", "An account is halted."), "names nothing"),
        (annotated("runbook_url", "http://127.0.0.1:9464/runbook/Lane"), "its runbook_url"),
        (annotated("console_url", "http://127.0.0.1:9464/#/lane"), "no page lane"),
        (annotated("console_url", "http://127.0.0.1:9464/#/lanes"), "does not filter by account"),
        (annotated("console_url", "http://127.0.0.1:9464/#/lanes?account={{ $labels.account }}"), "as it is"),
        (
            annotated("console_url", "http://127.0.0.1:9464/#/lanes?account={{ $labels.account | urlquery }}&x=1"),
            "read x",
        ),
        (annotated("dashboard_url", "http://127.0.0.1:3000/d/postback-nothing"), "no dashboard postback-nothing"),
        (
            annotated("dashboard_url", "http://127.0.0.1:3000/d/postback-account?var-topic=a"),
            "no variable for var-topic",
        ),
        (annotated("more", "x"), "its annotations"),
    ];
    for (rule, says) in rows {
        let planted = Rules { alerts: rules.alerts.with(&rule), ..rules.clone() };
        let found = faults(&planted, &known).join("\n");
        assert!(found.contains(says), "{says:?} is not said: {found:?}");
    }
}

#[test]
fn the_table_of_the_readme_lists_every_alert_with_its_severity_and_meaning() {
    let readme = read("README.md");
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| [`Postback")).collect();
    let rules = Rules::read();
    let row = |rule: &Rule| {
        let (name, severity) = (rule.name(), &rule.labels["severity"]);
        format!("| [`{name}`](deploy/runbook/{name}.md) | {severity} | {} |", rule.annotations["summary"])
    };
    assert_eq!(rows, rules.alerts.rules().map(row).collect::<Vec<_>>());
}
