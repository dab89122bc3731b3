//! What is shown while a demo runs: a live picture for a terminal, one line for a pipe (pure).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::demo::layout::{cut, wrap};
use crate::inspect::ledger::reasons;
use crate::units::show_count;

/// One account.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Its name.
    pub account: String,
    /// Its lane.
    pub state: String,
    /// Accepted by its platform.
    pub delivered: u64,
    /// The same, per second of late.
    pub per_second: u64,
    /// Published and not ended.
    pub waiting: u64,
    /// Of these, in its parking topic.
    pub parked: u64,
    /// What is wrong with it.
    pub note: String,
}

/// Everything that is shown.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Since the first event.
    pub elapsed: Duration,
    /// Events that the generator has published.
    pub published: u64,
    /// Events that it will publish, where that is known.
    pub total: Option<u64>,
    /// Each account.
    pub rows: Vec<Row>,
    /// By outcome.
    pub delivered: u64,
    /// By outcome.
    pub duplicate: u64,
    /// By outcome.
    pub suppressed: u64,
    /// By outcome, and by reason.
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// Published and not ended.
    pub open: u64,
    /// Sends that could be a second one.
    pub resends: u64,
    /// What the generator is doing, where it is not simply publishing.
    pub doing: String,
    /// What has happened, newest last.
    pub news: Vec<String>,
}

/// Minutes and seconds.
pub fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

impl Picture {
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

    /// One line, for where there is no terminal.
    pub fn line(&self) -> String {
        let mut line = format!(
            "{}  published {}, delivered {} ({}/s), duplicate {}, suppressed {}, dead letters {}, waiting {}",
            clock(self.elapsed),
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

    /// The lines of the live view, none longer than `width`, no more of them than `height`.
    pub fn draw(&self, width: usize, height: usize, colors: bool) -> Vec<String> {
        let paint = Paint(colors);
        let mut lines = vec![self.headline(width, &paint), String::new()];
        lines.push(paint.bold(&cut(HEAD, width)));
        lines.extend(self.rows.iter().map(|row| row.draw(width, &paint)));
        lines.push(String::new());
        lines.extend(self.sums().iter().flat_map(|line| wrap(line, width, SUMS_INDENT)));
        let left = height.saturating_sub(lines.len() + 1);
        let news: Vec<String> = self.news.iter().flat_map(|text| wrap(text, width, NEWS_INDENT)).collect();
        if left > 0 && !news.is_empty() {
            lines.push(String::new());
            lines.extend(news.into_iter().rev().take(left).rev());
        }
        lines.truncate(height);
        lines
    }

    fn headline(&self, width: usize, paint: &Paint) -> String {
        let bar = self.total.filter(|total| *total > 0).map(|total| bar(self.published, total)).unwrap_or_default();
        let mut text = format!(
            "{}  {bar}{} published, {}/s delivered",
            clock(self.elapsed),
            self.of_total(),
            show_count(self.per_second())
        );
        if !self.doing.is_empty() {
            text.push_str(&format!("; {}", self.doing));
        }
        paint.bold(&cut(&text, width))
    }

    fn sums(&self) -> Vec<String> {
        let dead = self.dead();
        let why = if dead == 0 {
            "what can never be delivered, with a reason".to_owned()
        } else {
            reasons(&self.dead_letters)
        };
        let row = |name: &str, count: u64, words: &str| format!("{name:<14}{:>9}   {words}", show_count(count));
        vec![
            row("delivered", self.delivered, "accepted by their platform"),
            row("duplicate", self.duplicate, "copies of those, known by trans_id, not sent again"),
            row("suppressed", self.suppressed, "the user opted out: nothing is sent"),
            row("dead letters", dead, &why),
            row("waiting", self.open, "in a lane, in a retry topic (1s, 3s, 10s), or parked"),
            row("resends", self.resends, "sends that could be a second one, each declared"),
        ]
    }
}

const HEAD: &str = "ACCOUNT         LANE      DELIVERED    /S WAITING  PARKED  WHY";

impl Row {
    fn draw(&self, width: usize, paint: &Paint) -> String {
        let number = |n: u64| if n == 0 { "-".to_owned() } else { show_count(n) };
        let (before, after) = (
            format!("{:<16}", self.account),
            format!(
                "{:>9} {:>5} {:>7} {:>7}  {}",
                number(self.delivered),
                number(self.per_second),
                number(self.waiting),
                number(self.parked),
                self.note
            ),
        );
        let state = format!("{:<10}", self.state);
        let room = width.saturating_sub(before.len() + state.len());
        format!("{before}{}{}", paint.state(&self.state, &state), cut(&after, room))
    }
}

fn bar(part: u64, whole: u64) -> String {
    const WIDTH: u64 = 20;
    let full = (part.min(whole) * WIDTH / whole) as usize;
    format!("[{}{}]  ", "#".repeat(full), "-".repeat(WIDTH as usize - full))
}

struct Paint(bool);

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.with("1", text)
    }

    fn state(&self, state: &str, text: &str) -> String {
        match state {
            "flowing" => self.with("32", text),
            "throttled" => self.with("33", text),
            "halted" | "broken" => self.with("1;31", text),
            "paused" => self.with("36", text),
            _ => text.to_owned(),
        }
    }
}

/// Below the text of a piece of news, and of a sum.
const NEWS_INDENT: usize = 7;
const SUMS_INDENT: usize = 26;

#[cfg(test)]
mod tests {
    use super::super::layout::columns;
    use super::*;

    fn picture() -> Picture {
        let row = |account: &str, state: &str, note: &str| Row {
            account: account.into(),
            state: state.into(),
            delivered: 1_234,
            per_second: 120,
            waiting: 7,
            parked: 0,
            note: note.into(),
        };
        Picture {
            elapsed: Duration::from_secs(72),
            published: 8_400,
            total: Some(20_000),
            rows: vec![row("demo-360-ps", "flowing", ""), row("demo-360-zs", "halted", "refuses the secret")],
            delivered: 8_011,
            dead_letters: BTreeMap::from([("invalid", 60), ("conflict", 3)]),
            news: (0..30).map(|n| format!("00:{n:02}  demo-360-ps: {}", "something happened ".repeat(9))).collect(),
            ..Picture::default()
        }
    }

    #[test]
    fn the_live_view_fits_every_terminal() {
        for (width, height) in [(80, 24), (120, 50), (40, 10), (1, 1), (0, 0)] {
            let lines = picture().draw(width, height, false);
            assert!(lines.len() <= height, "{} of {height}", lines.len());
            for line in &lines {
                assert!(line.chars().map(columns).sum::<usize>() <= width, "{line:?} in {width}");
            }
        }
    }

    #[test]
    fn the_newest_news_stay_and_every_account_shows() {
        let text = picture().draw(80, 24, false).join("\n");
        for part in
            ["00:29", "demo-360-zs", "halted", "refuses the secret", "invalid 60, conflict 3", "8,400 of 20,000"]
        {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains('\x1b'));
        assert!(picture().draw(80, 24, true).join("\n").contains("\x1b[1;31mhalted"));
    }

    #[test]
    fn a_pipe_gets_one_plain_line() {
        let line = picture().line();
        assert_eq!(
            line,
            "01:12  published 8,400 of 20,000, delivered 8,011 (240/s), duplicate 0, suppressed 0, dead letters 63, \
             waiting 0; demo-360-zs halted"
        );
    }
}
