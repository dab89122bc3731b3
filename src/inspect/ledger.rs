//! The ledger compares what became of the input records with the events that the platforms accepted, and says whether
//! it balances (contract section 1; pure).
//!
//! It counts each distinct `pb-origin-*` once (core.md section 7). [`receipt`] and [`dead_letter`] read what the output
//! topics say about an origin, [`Origins`] keeps it, and a [`Ledger`] sums it up next to the platforms' own count.

mod origins;
mod read;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

pub use origins::{Origin, Origins, Sums};
pub use read::{DeadLetterRecord, Place, ReceiptRecord, Written, dead_letter, final_result, receipt};

use crate::error::Outcome;
use crate::units::show_count;

/// The sums. They count input records; `distinct` counts keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Ledger {
    /// Records in the input topic.
    pub produced: u64,
    /// Different events among them, without copies and conflicting copies.
    pub distinct: u64,
    /// Records that ended as accepted by their platform.
    pub delivered: u64,
    /// Records that ended as a copy of an accepted event.
    pub duplicate: u64,
    /// Records that ended as opted out.
    pub suppressed: u64,
    /// Records that ended in the dead-letter topic.
    pub dead_lettered: u64,
    /// Records that have not ended and are still held somewhere.
    pub open: u64,
    /// Records that have not ended and are held nowhere.
    pub lost: u64,
    /// Requests that the platforms accepted; null: only the platforms know.
    pub platform_accepted: Option<u64>,
    /// Sends that could be a second one, as the receipts declare them.
    pub declared_resends: u64,
    /// Calls that have ended and must have a result, among the records.
    pub calls: u64,
    /// Calls among these whose final result is in the results topic.
    pub results: u64,
    /// Dead letters by reason.
    pub dead_letters: BTreeMap<&'static str, u64>,
    /// Whether [`Ledger::faults`] finds nothing.
    pub balanced: bool,
    /// The time from the first event to the last end.
    pub seconds: f64,
    /// Events that ended, per second of that time.
    pub events_per_second: u64,
}

/// Figures of a ledger that receipts and dead letters do not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside {
    /// Different events among the records.
    pub distinct: u64,
    /// The largest number of records without an end that can still be held somewhere.
    pub unfinished: u64,
    /// Records of which nothing can tell whether they have ended.
    pub unknown: u64,
    /// Requests that the platforms accepted; `None`: only the platforms know.
    pub platform_accepted: Option<u64>,
    /// Calls that must have a result.
    pub calls: u64,
    /// Calls among these that have their final result.
    pub results: u64,
}

impl Ledger {
    /// Sums up the records. `seconds` is the time from the first event to the last end.
    pub fn of(sums: &Sums, beside: Beside, seconds: f64) -> Self {
        let missing = sums.produced.saturating_sub(sums.all_ended()).saturating_sub(beside.unknown);
        let ledger = Ledger {
            produced: sums.produced,
            distinct: beside.distinct,
            delivered: sums.ended(Outcome::Delivered),
            duplicate: sums.ended(Outcome::Duplicate),
            suppressed: sums.ended(Outcome::Suppressed),
            dead_lettered: sums.ended(Outcome::DeadLettered),
            open: missing.min(beside.unfinished),
            lost: missing.saturating_sub(beside.unfinished),
            platform_accepted: beside.platform_accepted,
            declared_resends: sums.resends,
            calls: beside.calls,
            results: beside.results,
            dead_letters: sums.dead_letters(),
            ..Ledger::default()
        };
        ledger.close(seconds)
    }

    /// Computes the figures that follow from the counts, and judges whether they balance.
    fn close(mut self, seconds: f64) -> Self {
        let ended = self.delivered + self.duplicate + self.suppressed + self.dead_lettered;
        self.seconds = (seconds * 10.0).round() / 10.0;
        // The value is rounded, never negative, and far below 2^53.
        self.events_per_second = if seconds > 0.0 { (ended as f64 / seconds).round() as u64 } else { 0 };
        self.balanced = self.faults().is_empty();
        self
    }

    /// Returns a sentence for each rule that does not hold.
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
        if self.results != self.calls {
            faults.push(format!("{} of {} calls have a final result", self.results, self.calls));
        }
        let Some(accepted) = self.platform_accepted else { return faults };
        let most = self.most_accepted();
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

    /// The largest number of requests that the platforms may have accepted.
    fn most_accepted(&self) -> u64 {
        self.delivered + self.declared_resends + self.unknown_outcome()
    }

    fn unknown_outcome(&self) -> u64 {
        self.dead_letters.get("unknown_outcome").copied().unwrap_or_default()
    }
}

/// Formats counts as `invalid 200, malformed 90`.
pub fn reasons(counts: &BTreeMap<&'static str, u64>) -> String {
    let mut sorted: Vec<_> = counts.iter().filter(|(_, count)| **count > 0).collect();
    sorted.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
    sorted.iter().map(|(name, count)| format!("{name} {}", show_count(**count))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sound() -> Ledger {
        Ledger {
            produced: 20_000,
            distinct: 18_950,
            delivered: 18_500,
            duplicate: 1_000,
            suppressed: 20,
            dead_lettered: 480,
            platform_accepted: Some(18_503),
            declared_resends: 5,
            calls: 300,
            results: 300,
            dead_letters: BTreeMap::from([("invalid", 478), ("unknown_outcome", 2)]),
            ..Ledger::default()
        }
    }

    pub(crate) fn closed(ledger: Ledger, seconds: f64) -> Ledger {
        ledger.close(seconds)
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
            let ledger = Ledger { platform_accepted: Some(accepted), ..sound() }.close(32.31);
            assert!(ledger.balanced, "{:?}", ledger.faults());
            assert_eq!((ledger.seconds, ledger.events_per_second), (32.3, 619));
        }
        assert!(Ledger::default().close(0.0).balanced, "a run without an event");
        assert!(Ledger { platform_accepted: None, ..sound() }.close(1.0).balanced, "only the platforms know");
    }

    #[test]
    fn each_line_that_does_not_balance_is_named() {
        assert!(fault(|l| l.platform_accepted = Some(18_499)).contains("less than delivered"));
        assert!(fault(|l| l.platform_accepted = Some(18_508)).contains("not declared"));
        assert!(fault(|l| l.results = 299).contains("299 of 300 calls have a final result"));
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
            "calls",
            "results",
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
}
