//! The ledger of a run, and the rule by which it balances (contract section 1; pure).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::layout::{grouped, wrap};

/// Columns of the text, and where a line that goes on begins.
const WIDTH: usize = 80;
const INDENT: usize = 31;

/// What became of every event. Counts are of input records; `distinct` is of keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ledger {
    /// Records in the input topic.
    pub produced: u64,
    /// Different events among them: copies and conflicting copies are left out.
    pub distinct: u64,
    /// Ended as accepted by their platform.
    pub delivered: u64,
    /// Ended as a copy of an accepted one.
    pub duplicate: u64,
    /// Ended as opted out.
    pub suppressed: u64,
    /// Ended in the dead-letter topic.
    pub dead_lettered: u64,
    /// Without an end, and still held somewhere.
    pub open: u64,
    /// Without an end, and held nowhere.
    pub lost: u64,
    /// Requests that the platforms took.
    pub platform_accepted: u64,
    /// Sends that could be a second one, as the receipts declare them.
    pub declared_resends: u64,
    /// Dead letters by reason.
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// Whether every line of [`Ledger::faults`] holds.
    pub balanced: bool,
    /// From the first event to the last end.
    pub seconds: f64,
    /// Events that ended, by that time.
    pub events_per_second: u64,
}

impl Ledger {
    /// Judges the counts, and works out what follows from them.
    pub fn close(mut self, seconds: f64) -> Self {
        let ended = self.produced.saturating_sub(self.open + self.lost);
        self.seconds = (seconds * 10.0).round() / 10.0;
        // Rounded, never negative, far below 2^53.
        self.events_per_second = if seconds > 0.0 { (ended as f64 / seconds).round() as u64 } else { 0 };
        self.balanced = self.faults().is_empty();
        self
    }

    /// Each line that does not balance, in words.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, count) in [("open", self.open), ("lost", self.lost)] {
            if count > 0 {
                faults.push(format!("{name} is {count}, not 0"));
            }
        }
        let ended = self.delivered + self.duplicate + self.suppressed + self.dead_lettered;
        if self.produced != ended {
            faults.push(format!(
                "produced {} is not delivered {} + duplicate {} + suppressed {} + dead_lettered {} = {ended}",
                self.produced, self.delivered, self.duplicate, self.suppressed, self.dead_lettered
            ));
        }
        let (accepted, most) = (self.platform_accepted, self.most_accepted());
        if accepted < self.delivered {
            faults.push(format!("platform_accepted {accepted} is less than delivered {}", self.delivered));
        }
        if accepted > most {
            faults.push(format!(
                "platform_accepted {accepted} is more than delivered {} + declared_resends {} + unknown_outcome {} = \
                 {most}: a send was repeated and not declared",
                self.delivered,
                self.declared_resends,
                self.unknown_outcome()
            ));
        }
        faults
    }

    /// The most that the platforms may have accepted.
    fn most_accepted(&self) -> u64 {
        self.delivered + self.declared_resends + self.unknown_outcome()
    }

    fn unknown_outcome(&self) -> u64 {
        self.dead_letters.get("unknown_outcome").copied().unwrap_or_default()
    }

    fn why_dead(&self) -> String {
        if self.dead_letters.is_empty() { "can never be delivered".to_owned() } else { reasons(&self.dead_letters) }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let rows = [
            ("produced", self.produced, format!("in the input topic, {} of them different", grouped(self.distinct))),
            ("delivered", self.delivered, "accepted by their platform".to_owned()),
            ("duplicate", self.duplicate, "copies of a delivered one, not sent again".to_owned()),
            ("suppressed", self.suppressed, "the user opted out".to_owned()),
            ("dead_lettered", self.dead_lettered, self.why_dead()),
            ("open", self.open, "still on their way".to_owned()),
            ("lost", self.lost, "without a trace".to_owned()),
            ("platform_accepted", self.platform_accepted, "requests that the platforms took".to_owned()),
            ("declared_resends", self.declared_resends, "sends that could be a second one".to_owned()),
        ];
        let mut row = |name: &str, count: &str, words: &str| {
            for line in wrap(&format!("{name:<18}{count:>10}   {words}"), WIDTH, INDENT) {
                let _ = writeln!(text, "{line}");
            }
        };
        for (name, count, words) in rows {
            row(name, &grouped(count), &words);
        }
        let verdict = if self.balanced { "yes" } else { "NO" };
        row(
            "balanced",
            verdict,
            &if self.balanced {
                "one end per event, no undeclared second send".to_owned()
            } else {
                self.faults().join("; ")
            },
        );
        row("seconds", &self.seconds.to_string(), &format!("{} events per second", self.events_per_second));
        text
    }
}

/// `invalid 200, malformed 90`.
pub fn reasons(counts: &BTreeMap<&'static str, u64>) -> String {
    let mut sorted: Vec<_> = counts.iter().filter(|(_, count)| **count > 0).collect();
    sorted.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
    sorted.iter().map(|(name, count)| format!("{name} {}", grouped(**count))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Ledger {
        Ledger {
            produced: 20_000,
            distinct: 18_950,
            delivered: 18_500,
            duplicate: 1_000,
            suppressed: 20,
            dead_lettered: 480,
            platform_accepted: 18_503,
            declared_resends: 5,
            dead_letters: BTreeMap::from([("invalid", 478), ("unknown_outcome", 2)]),
            ..Ledger::default()
        }
    }

    fn fault(change: impl FnOnce(&mut Ledger)) -> String {
        let mut ledger = sound();
        change(&mut ledger);
        let closed = ledger.close(1.0);
        assert!(!closed.balanced);
        closed.faults().join("\n")
    }

    #[test]
    fn a_sound_ledger_balances_up_to_the_last_declared_send() {
        for accepted in [18_500, 18_505, 18_507] {
            let ledger = Ledger { platform_accepted: accepted, ..sound() }.close(32.31);
            assert!(ledger.balanced, "{:?}", ledger.faults());
            assert_eq!((ledger.seconds, ledger.events_per_second), (32.3, 619));
        }
        assert!(Ledger::default().close(0.0).balanced, "a run without an event");
    }

    #[test]
    fn each_line_that_does_not_balance_is_named() {
        assert!(fault(|l| l.platform_accepted = 18_499).contains("less than delivered"));
        assert!(fault(|l| l.platform_accepted = 18_508).contains("not declared"));
        assert!(fault(|l| l.duplicate -= 1).contains("produced 20000 is not"));
        assert!(fault(|l| (l.delivered, l.open) = (l.delivered - 1, 1)).contains("open is 1"));
        assert!(fault(|l| (l.delivered, l.lost) = (l.delivered - 1, 1)).contains("lost is 1"));
    }

    #[test]
    fn the_names_are_those_of_the_contract() {
        let json = serde_json::to_value(sound().close(32.3)).unwrap();
        let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut wanted = [
            "produced",
            "distinct",
            "delivered",
            "duplicate",
            "suppressed",
            "dead_lettered",
            "open",
            "lost",
            "platform_accepted",
            "declared_resends",
            "dead_letters",
            "balanced",
            "seconds",
            "events_per_second",
        ];
        wanted.sort_unstable();
        assert_eq!(names.iter().copied().collect::<std::collections::BTreeSet<_>>(), wanted.into());
        assert_eq!(json["dead_letters"]["invalid"], 478);
        assert!(json["events_per_second"].is_u64());
    }

    #[test]
    fn the_text_says_whether_it_balances_and_why_not() {
        assert!(sound().close(32.3).text().contains("balanced                 yes"));
        let text = Ledger { lost: 3, ..sound() }.close(1.0).text();
        assert!(text.contains(" NO ") && text.contains("lost is 3"), "{text}");
    }
}
