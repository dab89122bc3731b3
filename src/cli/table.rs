//! Formats tables and times for people.

use chrono::{DateTime, SecondsFormat};
use comfy_table::{Table, presets};

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
    fn a_time_is_shown_in_utc_and_none_is_nothing() {
        assert_eq!(time(Some(1_736_956_740_000)), "2025-01-15T15:59:00Z");
        assert_eq!(time(None), "");
    }
}
