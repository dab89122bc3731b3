//! Dead letters for other programs and for spreadsheets: the lines of `list --export`, of the API and of the console.

mod walk;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::inspect::dead_letters::dead_letter::DeadLetter;
use crate::inspect::dead_letters::state::State;
use crate::kafka::record::Record;

pub use walk::Walk;

/// The columns that come first; the others follow by name.
const FIRST: [&str; 11] = [
    "partition",
    "offset",
    "state",
    "failed_at",
    "account",
    "event",
    "trans_id",
    "reason",
    "field",
    "last_code",
    "detail",
];

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Export {
    /// One JSON object per line
    Jsonl,
    /// Comma-separated values for a spreadsheet, with headings
    Csv,
}

impl Export {
    /// The form of this name.
    pub fn named(text: &str) -> Option<Self> {
        <Self as clap::ValueEnum>::from_str(text, false).ok()
    }

    /// The ending of a file, and its media type.
    pub fn file(self) -> (&'static str, &'static str) {
        match self {
            Export::Jsonl => ("jsonl", "application/x-ndjson"),
            Export::Csv => ("csv", "text/csv; charset=utf-8"),
        }
    }

    /// The lines of these dead letters, masked, with the headings if they are the first ones, also where there are
    /// none.
    pub fn lines(self, letters: &[(DeadLetter, State)], first: bool) -> String {
        self.write(&letters.iter().map(|(letter, state)| object(letter, *state)).collect::<Vec<_>>(), first)
    }

    fn write(self, objects: &[Map<String, Value>], first: bool) -> String {
        let mut text = String::new();
        if first && self == Export::Csv {
            let none = if objects.is_empty() { blank() } else { Map::new() };
            let names = columns(objects.first().unwrap_or(&none)).map(|(name, _)| name);
            text.push_str(&(names.collect::<Vec<_>>().join(",") + "\r\n"));
        }
        for object in objects {
            match self {
                Export::Jsonl => text.push_str(&Value::Object(object.clone()).to_string()),
                Export::Csv => {
                    text.push_str(&columns(object).map(|(_, value)| cell(value)).collect::<Vec<_>>().join(","));
                    text.push('\r');
                }
            }
            text.push('\n');
        }
        text
    }
}

/// A dead letter in one JSON object, masked.
pub fn object(letter: &DeadLetter, state: State) -> Map<String, Value> {
    let mut members = letter.json();
    members.insert("state".to_owned(), state.as_str().into());
    members
}

/// A dead letter of nothing: every column is in it.
fn blank() -> Map<String, Value> {
    let nothing = Record {
        topic: "".into(),
        partition: 0,
        offset: 0,
        timestamp_ms: None,
        key: None,
        value: None,
        headers: Vec::new(),
        unreadable_headers: 0,
    };
    object(&DeadLetter::read(&nothing), State::Open)
}

fn columns(object: &Map<String, Value>) -> impl Iterator<Item = (&str, &Value)> {
    let first = FIRST.iter().filter_map(|name| Some((*name, object.get(*name)?)));
    let rest = object.iter().filter(|(name, _)| !FIRST.contains(&name.as_str()));
    first.chain(rest.map(|(name, value)| (name.as_str(), value)))
}

/// A cell. A text that a spreadsheet would run as a formula gets a quote before it, which spreadsheets do not show.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.as_str(),
        other => return other.to_string(),
    };
    let first = text.trim_start_matches([' ', '\u{a0}', '\u{3000}']).chars().next();
    let runs = first.is_some_and(|first| "=+-@\t\r\n|%＝＋－＠".contains(first));
    let text = if runs { format!("'{text}") } else { text.to_owned() };
    if runs || text.contains([',', '"', '\n', '\r', ';', '\t']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::inspect::dead_letters::tests::letter;

    fn object(detail: &str) -> Map<String, Value> {
        let Value::Object(object) = json!({"partition": 0, "offset": -1, "detail": detail, "field": null}) else {
            panic!()
        };
        object
    }

    #[test]
    fn a_cell_that_a_spreadsheet_would_run_is_a_text() {
        for (text, wanted) in [
            ("plain", "plain"),
            ("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("  =1", "\"'  =1\""),
            ("＝1", "\"'＝1\""),
            ("a,b", "\"a,b\""),
            ("a\"b\nc", "\"a\"\"b\nc\""),
            ("", ""),
        ] {
            assert_eq!(cell(&text.into()), wanted, "{text}");
        }
        assert_eq!(cell(&json!(-5)), "-5", "a number is none");
    }

    #[test]
    fn an_export_of_nothing_has_its_headings() {
        let csv = Export::Csv.lines(&[], true);
        let one = Export::Csv.lines(&[letter(3, 7, &[("account", "acme-ps")])].map(|l| (l, State::Open)), true);
        assert_eq!(Some(csv.as_str()), one.split_inclusive("\r\n").next(), "{csv}");
        assert!(csv.starts_with("partition,offset,state,failed_at,") && csv.ends_with("\r\n"), "{csv}");
        assert_eq!(Export::Csv.lines(&[], false) + &Export::Jsonl.lines(&[], true), "");
    }

    #[test]
    fn lines_have_their_headings_once() {
        let csv = Export::Csv.write(&[object("a"), object("b")], true) + &Export::Csv.write(&[object("c")], false);
        let lines: Vec<&str> = csv.split("\r\n").collect();
        assert_eq!(lines.len(), 5, "{csv}");
        assert_eq!(lines[0], "partition,offset,field,detail");
        assert_eq!(csv.matches("partition").count(), 1);
        let jsonl = Export::Jsonl.write(&[object("a\nb"), object("=1")], true);
        assert_eq!(jsonl.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>().len(), 2);
        assert_eq!(serde_json::from_str::<Value>(jsonl.lines().nth(1).unwrap()).unwrap()["detail"], "=1");
    }
}
