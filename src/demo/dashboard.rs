//! The state of a running demo as text: a live view for a terminal, one line for a pipe (pure).

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::CellAlignment::{self, Left, Right};
use comfy_table::ColumnConstraint::LowerBoundary;
use comfy_table::{ContentArrangement, Table, Width, presets};
use console::{Style, truncate_str};

use crate::inspect::ledger::reasons;
use crate::units::show_count;

/// The figures of one account.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub account: String,
    pub state: String,
    /// Events that its platform accepted.
    pub delivered: u64,
    /// Events that its platform accepted per second, lately.
    pub per_second: u64,
    /// Events that are published and have not ended.
    pub waiting: u64,
    /// The part of `waiting` that lies in its parking topic.
    pub parked: u64,
    /// What is wrong with its platform.
    pub note: String,
}

/// Everything that the dashboard shows.
#[derive(Clone, Debug, Default)]
pub struct Dashboard {
    /// Time since the first event.
    pub elapsed: Duration,
    /// Events that the generator has published.
    pub published: u64,
    /// Events that the generator will publish in all, where that is known.
    pub total: Option<u64>,
    pub rows: Vec<Row>,
    pub delivered: u64,
    pub duplicate: u64,
    pub suppressed: u64,
    /// Dead letters by reason.
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// Records that are published and have not ended.
    pub open: u64,
    /// Declared sends that could be a second one.
    pub resends: u64,
    /// What the generator does at present; empty while it simply publishes.
    pub doing: String,
}

/// Formats a time as minutes and seconds.
pub fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

impl Dashboard {
    /// The time that the demo has run.
    pub fn clock(&self) -> String {
        clock(self.elapsed)
    }

    fn dead(&self) -> u64 {
        self.dead_letters.values().sum()
    }

    fn per_second(&self) -> u64 {
        self.rows.iter().map(|row| row.per_second).sum()
    }

    fn of_total(&self) -> String {
        let total = self.total.map(|n| format!(" of {}", show_count(n))).unwrap_or_default();
        format!("{}{total}", show_count(self.published))
    }

    /// One line, for an output that is no terminal.
    pub fn line(&self) -> String {
        let mut line = format!(
            "{}  published {}, delivered {} ({}/s), duplicate {}, suppressed {}, dead letters {}, waiting {}",
            self.clock(),
            self.of_total(),
            show_count(self.delivered),
            self.per_second(),
            show_count(self.duplicate),
            show_count(self.suppressed),
            show_count(self.dead()),
            show_count(self.open)
        );
        let closed = self.rows.iter().filter(|row| row.state != "flowing" && !row.state.is_empty());
        for row in closed {
            line.push_str(&format!("; {} {}", row.account, row.state));
        }
        if !self.doing.is_empty() {
            line.push_str(&format!("; {}", self.doing));
        }
        line
    }

    /// The text beside the progress bar.
    pub fn headline(&self) -> String {
        format!("{} published, {}/s delivered", self.of_total(), show_count(self.per_second()))
    }

    /// The lines below the bar: what the generator does, the accounts, the sums. No line is longer than `width`.
    pub fn lines(&self, width: u16, colors: bool) -> Vec<String> {
        let cut = |line: &str| truncate_str(line.trim_end(), width.into(), "").into_owned();
        let mut lines = vec![cut(&self.doing)];
        let states = std::iter::once("").chain(self.rows.iter().map(|row| row.state.as_str()));
        lines.extend(
            self.accounts()
                .lines()
                .zip(states)
                .map(|(line, state)| paint(state).force_styling(colors).apply_to(cut(&line)).to_string()),
        );
        lines.push(String::new());
        lines.extend(self.sums(width).lines().map(|line| cut(&line)));
        lines
    }

    fn accounts(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(HEADINGS.map(|(name, ..)| name));
        for row in &self.rows {
            let number = |n: u64| if n == 0 { "-".to_owned() } else { show_count(n) };
            let numbers = [row.delivered, row.per_second, row.waiting, row.parked].map(number);
            let names = [row.account.clone(), row.state.clone()];
            table.add_row(names.into_iter().chain(numbers).chain([row.note.clone()]));
        }
        for (column, (_, width, alignment)) in table.column_iter_mut().zip(HEADINGS) {
            column.set_padding((0, 2)).set_constraint(LowerBoundary(Width::Fixed(width + 2)));
            column.set_cell_alignment(alignment);
        }
        table
    }

    fn sums(&self, width: u16) -> Table {
        let dead = self.dead();
        let why = if dead == 0 {
            "what can never be delivered, with a reason".to_owned()
        } else {
            reasons(&self.dead_letters)
        };
        let rows = [
            ("delivered", self.delivered, "accepted by their platform"),
            ("duplicate", self.duplicate, "copies of those, known by trans_id, not sent again"),
            ("suppressed", self.suppressed, "the user opted out: nothing is sent"),
            ("dead letters", dead, &why),
            ("waiting", self.open, "in a lane, in a retry topic (1s, 3s, 10s), or parked"),
            ("resends", self.resends, "sends that could be a second one, each declared"),
        ];
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        table.add_rows(rows.map(|(name, count, words)| [name.to_owned(), show_count(count), words.to_owned()]));
        for (column, (width, alignment)) in table.column_iter_mut().zip([(16, Left), (8, Right), (0, Left)]) {
            column.set_padding((0, 2)).set_cell_alignment(alignment);
            if width > 0 {
                column.set_constraint(LowerBoundary(Width::Fixed(width + 2)));
            }
        }
        table
    }
}

/// The columns of the account table: name, width, alignment.
const HEADINGS: [(&str, u16, CellAlignment); 7] = [
    ("ACCOUNT", 14, Left),
    ("LANE", 9, Left),
    ("DELIVERED", 9, Right),
    ("/S", 4, Right),
    ("WAITING", 7, Right),
    ("PARKED", 6, Right),
    ("WHY", 3, Left),
];

/// The style of the row of a lane in this state; "" is the row of the headings.
fn paint(state: &str) -> Style {
    match state {
        "" => Style::new().bold(),
        "throttled" => Style::new().yellow(),
        "halted" | "broken" => Style::new().red().bold(),
        "paused" => Style::new().cyan(),
        _ => Style::new(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use console::measure_text_width;

    use super::*;

    pub(in crate::demo) fn dashboard() -> Dashboard {
        let row = |account: &str, state: &str, note: &str| Row {
            account: account.into(),
            state: state.into(),
            delivered: 1_234,
            per_second: 120,
            waiting: 7,
            parked: 0,
            note: note.into(),
        };
        Dashboard {
            elapsed: Duration::from_secs(72),
            published: 8_400,
            total: Some(20_000),
            rows: vec![row("demo-360-ps", "flowing", ""), row("demo-360-zs", "halted", "refuses the secret")],
            delivered: 8_011,
            dead_letters: BTreeMap::from([("invalid", 60), ("conflict", 3)]),
            ..Dashboard::default()
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [120, 80, 40, 10, 1, 0] {
            for line in dashboard().lines(width, false) {
                assert!(measure_text_width(&line) <= width.into(), "{line:?} in {width}");
            }
        }
    }

    #[test]
    fn a_lane_that_is_halted_stands_out() {
        let text = dashboard().lines(80, false).join("\n");
        assert!(text.contains("demo-360-zs     halted") && !text.contains('\x1b'), "{text}");
        assert!(dashboard().lines(80, true).join("\n").contains("\x1b[31m\x1b[1mdemo-360-zs     halted"));
    }

    #[test]
    fn a_pipe_gets_one_plain_line() {
        let line = dashboard().line();
        assert_eq!(
            line,
            "01:12  published 8,400 of 20,000, delivered 8,011 (240/s), duplicate 0, suppressed 0, dead letters 63, \
             waiting 0; demo-360-zs halted"
        );
    }
}
