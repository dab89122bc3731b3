//! Tables and times for people.

use chrono::{DateTime, SecondsFormat};

/// Columns under their headings, two spaces apart; control characters cannot reach the terminal.
pub fn render(headings: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let mut widths: Vec<usize> = headings.iter().map(|h| h.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut headings.iter().copied());
    for row in &rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// Masked, control characters replaced, at most 120 characters, `-` for nothing.
fn plain(cell: &str) -> String {
    if cell.is_empty() {
        return "-".to_owned();
    }
    crate::redact::mask_text(cell).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(120).collect()
}

/// A time in UTC, to the second.
pub fn time(ms: Option<i64>) -> String {
    ms.and_then(DateTime::from_timestamp_millis)
        .map(|t| t.to_rfc3339_opts(SecondsFormat::Secs, true))
        .unwrap_or_default()
}

/// A number, or nothing.
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
