//! What a board may name: metrics and their labels, boards, pages of the console, pages of the runbook.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::board::Board;
use super::families::{self, Kind};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What a metric is, and its labels.
pub struct Metric {
    pub is_counter: bool,
    pub labels: BTreeSet<String>,
}

/// Everything that exists.
pub struct Known {
    metrics: BTreeMap<String, Metric>,
    /// Series that the recording rules make.
    recorded: BTreeSet<String>,
    /// The variables of each board, by its uid.
    pub boards: BTreeMap<String, BTreeSet<String>>,
    /// The pages of the console, and the names in the query that each of them reads.
    pub routes: BTreeMap<String, BTreeSet<String>>,
    pub runbook: BTreeSet<String>,
}

fn names(labels: &[&str]) -> BTreeSet<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(format!("{ROOT}/{path}")).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl Known {
    pub fn new(boards: &[Board]) -> Self {
        let variables = |board: &Board| {
            let list = super::board::list(&board.json["templating"]["list"]).iter();
            list.map(|variable| super::board::text(&variable["name"]).to_owned()).collect()
        };
        Known {
            metrics: metrics(),
            recorded: recorded(),
            boards: boards.iter().map(|b| (super::board::text(&b.json["uid"]).to_owned(), variables(b))).collect(),
            routes: routes(),
            runbook: runbook(),
        }
    }

    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.get(name)
    }

    pub fn is_recorded(&self, name: &str) -> bool {
        self.recorded.contains(name)
    }

    /// The labels of a series, those of the scrape included. The name of a recorded one begins with them:
    /// `job_platform:…`.
    pub fn labels(&self, name: &str) -> BTreeSet<String> {
        if self.is_recorded(name) {
            let level = name.split(':').next().unwrap_or_default();
            return level.split('_').map(str::to_owned).collect();
        }
        let mut labels = self.metrics.get(name).map(|metric| metric.labels.clone()).unwrap_or_default();
        labels.extend(names(&["job", "instance"]));
        labels
    }

    /// Families that no query of these boards names.
    pub fn unused(&self, used: &BTreeSet<String>) -> Vec<&'static str> {
        let is_used = |name: &str| {
            ["", "_bucket", "_count", "_sum"].iter().any(|suffix| used.contains(&format!("{name}{suffix}")))
        };
        families::ALL.iter().map(|family| family.name).filter(|name| !is_used(name)).collect()
    }
}

fn metrics() -> BTreeMap<String, Metric> {
    let mut metrics = BTreeMap::new();
    for family in families::ALL {
        let labels = names(family.labels);
        match family.kind {
            Kind::Histogram => {
                for suffix in ["_bucket", "_count", "_sum"] {
                    let mut labels = labels.clone();
                    labels.extend((suffix == "_bucket").then(|| "le".to_owned()));
                    metrics.insert(format!("{}{suffix}", family.name), Metric { is_counter: true, labels });
                }
            }
            kind => {
                metrics.insert(family.name.to_owned(), Metric { is_counter: kind == Kind::Counter, labels });
            }
        }
    }
    // What Prometheus itself adds to each target.
    metrics.insert("up".to_owned(), Metric { is_counter: false, labels: BTreeSet::new() });
    metrics
}

fn recorded() -> BTreeSet<String> {
    let text = fs::read_to_string(format!("{ROOT}/deploy/prometheus/recording.yml")).unwrap_or_default();
    let record = |line: &str| {
        let name = line.trim().trim_start_matches("- ").strip_prefix("record:")?.trim().trim_matches('"').to_owned();
        Some(name)
    };
    text.lines().filter_map(record).collect()
}

/// The console's own list, and what each page reads of the URL's query.
fn routes() -> BTreeMap<String, BTreeSet<String>> {
    let folder = "src/admin/console";
    let pages = read(&format!("{folder}/pages/list.js"));
    let path = regex::Regex::new(r#"path: "([a-z-]*)".*Page: (\w+) "#).unwrap();
    let file = |page: &str| {
        let import = regex::Regex::new(&format!(r#"import \{{ {page} \}} from "\./(\w+\.js)""#)).unwrap();
        let found = import.captures(&pages).unwrap_or_else(|| panic!("list.js imports no {page}"));
        read(&format!("{folder}/pages/{}", &found[1]))
    };
    // `query.name`, or `{ a, b } = query`, or `["a", "b"].filter((name) => query[name])`, or the filter of dead
    // letters.
    let member = regex::Regex::new(r"\bquery\.(\w+)").unwrap();
    let members = regex::Regex::new(r"\{ ([\w, ]+) \} = query\b").unwrap();
    let chosen = regex::Regex::new(r#"\[([\w", ]+)\]\.filter\(\(name\) => query\[name\]\)"#).unwrap();
    let filters = regex::Regex::new(r"const NAMES = \[(.*?)\];").unwrap();
    let word = regex::Regex::new(r"\w+").unwrap();
    let reads = |source: &str| {
        let mut names: BTreeSet<String> = member.captures_iter(source).map(|found| found[1].to_owned()).collect();
        let mut add = |text: &str| names.extend(word.find_iter(text).map(|found| found.as_str().to_owned()));
        members.captures_iter(source).chain(chosen.captures_iter(source)).for_each(|found| add(&found[1]));
        if source.contains("fromUrl(query)") {
            let filter = read(&format!("{folder}/lib/filter.js"));
            add(&filters.captures(&filter).expect("filter.js lists the filters")[1]);
        }
        names
    };
    path.captures_iter(&pages).map(|found| (found[1].to_owned(), reads(&file(&found[2])))).collect()
}

fn runbook() -> BTreeSet<String> {
    let Ok(folder) = fs::read_dir(format!("{ROOT}/deploy/runbook")) else { return BTreeSet::new() };
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry.unwrap().file_name().to_string_lossy().strip_suffix(".md").map(str::to_owned)
    };
    folder.filter_map(name).collect()
}
