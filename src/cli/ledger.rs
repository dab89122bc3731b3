//! Formats the ledger for people.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};

use crate::inspect::ledger::{Ledger, reasons};
use crate::units::show_count;

/// The width of the text in columns.
const WIDTH: u16 = 80;

/// A name, its number and what the number means.
pub type Row = (&'static str, String, String);

/// A row of a count.
pub fn count(name: &'static str, count: u64, words: &str) -> Row {
    (name, show_count(count), words.to_owned())
}

/// One line per count, then whether the ledger balances.
pub fn text(ledger: &Ledger) -> String {
    let different = format!("in the input topic, {} of them different", show_count(ledger.distinct));
    let why = if ledger.dead_letters.is_empty() {
        "can never be delivered".to_owned()
    } else {
        reasons(&ledger.dead_letters)
    };
    let verdict = if ledger.balanced {
        "one end per event, no undeclared second send".to_owned()
    } else {
        ledger.faults().join("; ")
    };
    let accepted = ledger.platform_accepted.map_or("-".to_owned(), show_count);
    let accepted = ("platform_accepted", accepted, "requests that the platforms took".to_owned());
    let rows = [
        count("produced", ledger.produced, &different),
        count("delivered", ledger.delivered, "accepted by their platform"),
        count("duplicate", ledger.duplicate, "copies of a delivered one, not sent again"),
        count("suppressed", ledger.suppressed, "the user opted out"),
        count("dead_lettered", ledger.dead_lettered, &why),
        count("open", ledger.open, "still on their way"),
        count("lost", ledger.lost, "without a trace"),
        accepted,
        count("declared_resends", ledger.declared_resends, "sends that could be a second one"),
        count("results", ledger.results, &format!("final ones, of {} calls", show_count(ledger.calls))),
        ("balanced", if ledger.balanced { "yes" } else { "NO" }.to_owned(), verdict),
        ("seconds", ledger.seconds.to_string(), format!("{} events per second", ledger.events_per_second)),
    ];
    table(rows)
}

/// The rows as text in columns.
pub fn table(rows: impl IntoIterator<Item = Row>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.add_rows(rows.into_iter().map(|(name, count, words)| [name.to_owned(), count, words]));
    for (column, width) in table.column_iter_mut().zip([18, 10]) {
        column.set_padding((0, 0)).set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
        column.set_cell_alignment(if width == 18 { CellAlignment::Left } else { CellAlignment::Right });
    }
    if let Some(words) = table.column_mut(2) {
        words.set_padding((3, 0));
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::ledger::tests::{closed, sound};

    #[test]
    fn the_text_says_whether_it_balances_and_why_not() {
        assert!(text(&closed(sound(), 32.3)).contains("balanced                 yes"));
        assert!(text(&closed(sound(), 32.3)).contains("final ones, of 300 calls"));
        let text = text(&closed(Ledger { lost: 3, ..sound() }, 1.0));
        assert!(text.contains(" NO ") && text.contains("lost is 3"), "{text}");
    }
}
