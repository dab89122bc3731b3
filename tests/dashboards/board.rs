//! The boards of `deploy/grafana/dashboards`, their panels and queries.

use serde_json::Value;

/// One dashboard as its file holds it.
#[derive(Clone)]
pub struct Board {
    /// The file's name without `.json`.
    pub name: String,
    pub json: Value,
}

/// One query of a panel.
#[derive(Debug)]
pub struct Query {
    pub panel: String,
    pub expr: String,
    pub legend: String,
    /// Asked for one moment, not over the time that the board shows.
    pub is_instant: bool,
}

/// Every board, by name.
pub fn all() -> Vec<Board> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grafana/dashboards");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: std::path::PathBuf| {
        let json = serde_json::from_slice(&std::fs::read(&path).unwrap());
        let json = json.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Board { name: path.file_stem().unwrap().to_string_lossy().into_owned(), json }
    };
    paths.into_iter().map(read).collect()
}

/// A text member; nothing where there is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A list member; nothing where there is none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl Board {
    /// All panels, rows included.
    pub fn panels(&self) -> &[Value] {
        list(&self.json["panels"])
    }

    /// All panels that show something.
    pub fn shown(&self) -> impl Iterator<Item = &Value> {
        self.panels().iter().filter(|panel| panel["type"] != "row")
    }

    pub fn queries(&self) -> Vec<Query> {
        self.shown().flat_map(of_panel).collect()
    }
}

/// The queries of one panel.
pub fn of_panel(panel: &Value) -> Vec<Query> {
    let query = |target: &Value| Query {
        panel: text(&panel["title"]).to_owned(),
        expr: text(&target["expr"]).to_owned(),
        legend: text(&target["legendFormat"]).to_owned(),
        is_instant: target["instant"] == true,
    };
    list(&panel["targets"]).iter().map(query).collect()
}

/// The query as Grafana sends it where "All" is chosen everywhere, for these two durations.
pub fn with_all_chosen(expr: &str, rate_interval: &str, range: &str) -> String {
    let mut plain = expr.replace("$__rate_interval", rate_interval).replace("$__range", range);
    for variable in ["job", "instance", "platform", "account", "topic"] {
        plain = plain.replace(&format!("\"${variable}\""), "\".*\"");
    }
    plain
}
