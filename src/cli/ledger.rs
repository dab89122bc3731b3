//! The ledger for people.

use std::fmt::Write as _;

use crate::demo::layout::wrap;
use crate::inspect::ledger::{Ledger, reasons};
use crate::units::show_count;

/// Columns of the text, and where a line that goes on begins.
const WIDTH: usize = 80;
const INDENT: usize = 31;

/// One line per count, and whether it balances.
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
    let count = |name, count, words: &str| (name, show_count(count), words.to_owned());
    let rows = [
        count("produced", ledger.produced, &different),
        count("delivered", ledger.delivered, "accepted by their platform"),
        count("duplicate", ledger.duplicate, "copies of a delivered one, not sent again"),
        count("suppressed", ledger.suppressed, "the user opted out"),
        count("dead_lettered", ledger.dead_lettered, &why),
        count("open", ledger.open, "still on their way"),
        count("lost", ledger.lost, "without a trace"),
        count("platform_accepted", ledger.platform_accepted, "requests that the platforms took"),
        count("declared_resends", ledger.declared_resends, "sends that could be a second one"),
        ("balanced", if ledger.balanced { "yes" } else { "NO" }.to_owned(), verdict),
        ("seconds", ledger.seconds.to_string(), format!("{} events per second", ledger.events_per_second)),
    ];
    let mut text = String::new();
    for (name, count, words) in rows {
        for line in wrap(&format!("{name:<18}{count:>10}   {words}"), WIDTH, INDENT) {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::ledger::tests::{closed, sound};

    #[test]
    fn the_text_says_whether_it_balances_and_why_not() {
        assert!(text(&closed(sound(), 32.3)).contains("balanced                 yes"));
        let text = text(&closed(Ledger { lost: 3, ..sound() }, 1.0));
        assert!(text.contains(" NO ") && text.contains("lost is 3"), "{text}");
    }
}
