//! Formats tables and times for people.

use chrono::{DateTime, SecondsFormat};
use comfy_table::{ColumnConstraint, Table, Width, presets};

/// Lays out columns under their headings, two spaces apart. Control characters do not reach the terminal.
pub fn render(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headings);
    table.add_rows(rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect::<Vec<String>>()));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt() + "\n"
}

/// A table that is written in several parts: a column keeps the width that it had before, or grows.
pub struct Wide {
    headings: Vec<&'static str>,
    widths: Vec<u16>,
    any: bool,
}

impl Wide {
    pub fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), widths: vec![0; headings.len()], any: false }
    }

    /// Whether no row was written.
    pub fn is_empty(&self) -> bool {
        !self.any
    }

    /// The next rows, under the headings if they are the first ones.
    pub fn rows(&mut self, rows: &[Vec<String>]) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if !std::mem::replace(&mut self.any, true) {
            table.set_header(&self.headings);
        }
        table.add_rows(rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect::<Vec<String>>()));
        let content = table.column_max_content_widths();
        for (n, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            let width = self.widths[n].max(content.get(n).copied().unwrap_or(0));
            self.widths[n] = width;
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width + 2)));
        }
        table.trim_fmt() + "\n"
    }
}

/// The cell with secrets masked and control characters replaced, at most 120 characters; an empty cell is `-`.
fn plain(cell: &str) -> String {
    if cell.is_empty() {
        return "-".to_owned();
    }
    crate::redact::mask_text(cell).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(120).collect()
}

/// Formats a time in UTC, to the second.
pub fn time(ms: Option<i64>) -> String {
    ms.and_then(DateTime::from_timestamp_millis)
        .map(|t| t.to_rfc3339_opts(SecondsFormat::Secs, true))
        .unwrap_or_default()
}

/// Formats a number; empty without one.
pub fn number(value: Option<i64>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_hostile_cells_stay_in_theirs() {
        let rows = [vec!["acme".into(), "tel 13812345678\n\u{1b}[2J".into()], vec!["a".into(), String::new()]];
        let text = render(&["ACCOUNT", "WHY"], &rows);
        assert_eq!(text, "ACCOUNT  WHY\nacme     tel 138****5678\u{fffd}\u{fffd}[2J\na        -\n");
    }

    #[test]
    fn a_table_in_parts_keeps_its_columns_and_has_its_headings_once() {
        let mut table = Wide::new(&["A", "B"]);
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert!(table.is_empty());
        assert_eq!(table.rows(&[row("one", "x")]), "A    B\none  x\n");
        assert_eq!(table.rows(&[row("a", "y")]), "a    y\n");
        assert_eq!(table.rows(&[row("three", "z")]), "three  z\n");
    }

    #[test]
    fn a_time_is_shown_in_utc_and_none_is_nothing() {
        assert_eq!(time(Some(1_736_956_740_000)), "2025-01-15T15:59:00Z");
        assert_eq!(time(None), "");
    }
}
