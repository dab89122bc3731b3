//! The faults of a demo: what goes wrong, when, and the words for it (pure).
//!
//! A chapter begins when the generator has published its first share of the events and ends at its last share; all end
//! before 60 %. With few events a chapter lasts at least a moment, so that people see it. With very many events or on a
//! slow machine it ends after a fixed time: otherwise the generator could wait for the end of a fault that waits for
//! the generator.

use std::time::Duration;

use serde_json::{Value, json};

use super::accounts;

/// The number of events over which the scenario plays if the user gave no number.
pub const SCENARIO_EVENTS: u64 = 20_000;
/// The share of the events by which every fault has ended.
pub const LAST_SHARE: f64 = 0.6;

/// The shortest time of a fault, unless the last share comes first.
const AT_LEAST: Duration = Duration::from_secs(1);

/// The share of all events that is published.
pub fn share(published: u64, total: u64) -> f64 {
    if total == 0 { 1.0 } else { published as f64 / total as f64 }
}

/// One fault of one platform.
#[derive(Clone, Debug)]
pub struct Chapter {
    /// The account whose platform fails.
    pub account: &'static str,
    /// The share of the events at which the fault begins.
    pub from: f64,
    pub until: f64,
    /// The longest time of the fault.
    pub at_most: Duration,
    /// The fault makes the worker halt the account, and the demo resumes it.
    pub halts: bool,
    /// The fault in a word, for a column of the live view.
    pub tag: &'static str,
    /// The text at the beginning: what happens, and what the worker does about it.
    pub begins: &'static str,
    pub ends: &'static str,
    fault: fn() -> Value,
}

impl Chapter {
    /// The fault as `PUT /_faults` of the sandbox takes it.
    pub fn fault(&self) -> Value {
        (self.fault)()
    }
}

/// Every chapter, in order.
pub fn chapters() -> Vec<Chapter> {
    vec![
        Chapter {
            account: accounts::SEARCH.name,
            from: 0.05,
            until: 0.19,
            at_most: Duration::from_secs(10),
            halts: false,
            tag: "answers 500",
            begins: "its platform fails: 500 on every request. After ten failures of its last 20 requests the worker stops \
                     calling it for 30 s: its events are parked, and none uses up a try; the other accounts flow on",
            ends: "its platform works again; after the 30 s the worker tries one event, then more step by step, and \
                   delivers what is parked",
            fault: || json!({ "status": 500 }),
        },
        Chapter {
            account: accounts::UNION.name,
            from: 0.16,
            until: 0.28,
            at_most: Duration::from_secs(8),
            halts: false,
            tag: "answers 429",
            begins: "its platform throttles: 429, Retry-After 7. The worker sends this account's events no sooner, \
                     parks what arrives meanwhile, and counts no attempt",
            ends: "its platform no longer throttles; the worker keeps to the last Retry-After, then sends what waits",
            fault: || json!({ "status": 429, "retry_after": 7 }),
        },
        Chapter {
            account: accounts::MOBILE.name,
            from: 0.28,
            until: 0.35,
            at_most: Duration::from_secs(5),
            halts: false,
            tag: "answers nothing",
            begins: "its platform takes requests and answers nothing. After 2 s nobody knows whether it took them: \
                     the worker sends them again, and declares each as a possible second send",
            ends: "its platform answers again",
            fault: || json!({ "hang": true }),
        },
        Chapter {
            account: accounts::DISPLAY.name,
            from: 0.36,
            until: 0.55,
            at_most: Duration::from_secs(10),
            halts: true,
            tag: "refuses the secret",
            begins: "its platform does not accept the secret any more. The first refusal halts the account: its \
                     events are parked in a topic of their own, none is lost and none counts as tried",
            ends: "the secret is corrected",
            fault: || json!({ "body": 2 }),
        },
        Chapter {
            account: accounts::TENCENT.name,
            from: 0.42,
            until: 0.5,
            at_most: Duration::from_secs(5),
            halts: false,
            tag: "expires the token",
            begins: "its platform expires the access token. The worker asks for a new one, once, and sends the refused \
                     requests again: no attempt counts, and nothing waits in a retry topic",
            ends: "the new token goes on",
            fault: || json!({ "expired_token": true }),
        },
        Chapter {
            account: accounts::WEB.name,
            from: 0.51,
            until: 0.59,
            at_most: Duration::from_secs(5),
            halts: false,
            tag: "refuses events",
            begins: "its platform refuses two of five events for good (errno 3). The worker does not try them again: \
                     each becomes a dead letter of reason rejected",
            ends: "its platform takes such events again; those that it refused stay in the dead letters until somebody \
                   replays them",
            fault: || json!({ "body": 3, "share": 0.4 }),
        },
    ]
}

/// The progress of a chapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The chapter has not begun.
    Ahead,
    /// The fault is on.
    On,
    /// The fault is off.
    Over,
}

impl Chapter {
    /// Returns the next stage if it is time for it: after `published` of `total` events, `on_for` after the fault
    /// began. `stop` ends the chapter in any case.
    pub fn next(&self, stage: Stage, published: u64, total: u64, on_for: Duration, stop: bool) -> Option<Stage> {
        let share = share(published, total);
        let stop = stop || share >= LAST_SHARE;
        match stage {
            Stage::Ahead if stop => Some(Stage::Over),
            Stage::Ahead if share >= self.from => Some(Stage::On),
            Stage::On if stop || on_for >= self.at_most => Some(Stage::Over),
            Stage::On if share >= self.until && on_for >= AT_LEAST => Some(Stage::Over),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(10);

    #[test]
    fn every_fault_ends_by_60_percent_whatever_the_number_of_events() {
        for chapter in chapters() {
            assert!(chapter.from < chapter.until && chapter.until <= LAST_SHARE, "{}", chapter.account);
            for total in [1, 7, 100, 20_000, 10_000_000] {
                let last = (total as f64 * LAST_SHARE).ceil() as u64;
                assert_eq!(chapter.next(Stage::On, last, total, SHORT, false), Some(Stage::Over));
                assert_eq!(chapter.next(Stage::Ahead, last, total, SHORT, false), Some(Stage::Over));
            }
        }
    }

    #[test]
    fn a_chapter_begins_at_its_share_and_ends_by_share_by_time_and_by_a_stop() {
        let chapter = &chapters()[0];
        let next =
            |stage, published, secs, stop| chapter.next(stage, published, 20_000, Duration::from_secs(secs), stop);
        assert_eq!(next(Stage::Ahead, 999, 0, false), None);
        assert_eq!(next(Stage::Ahead, 1_000, 0, false), Some(Stage::On));
        assert_eq!(next(Stage::On, 1_001, 9, false), None);
        assert_eq!(next(Stage::On, 3_800, 0, false), None, "a moment at the least");
        assert_eq!(next(Stage::On, 3_800, 1, false), Some(Stage::Over));
        assert_eq!(next(Stage::On, 12_000, 0, false), Some(Stage::Over));
        assert_eq!(next(Stage::Ahead, 11_999, 0, false), Some(Stage::On), "late, and not left out");
        assert_eq!(next(Stage::On, 1_001, 10, false), Some(Stage::Over));
        assert_eq!(next(Stage::On, 1_001, 0, true), Some(Stage::Over));
        assert_eq!(next(Stage::Ahead, 1_001, 0, true), Some(Stage::Over));
        assert_eq!(next(Stage::Over, 20_000, 99, true), None);
    }

    #[test]
    fn every_fault_is_one_that_the_sandbox_knows_and_each_kind_is_there() {
        let names: Vec<&str> = chapters().iter().map(|c| c.account).collect();
        for chapter in chapters() {
            let json = json!({ chapter.account: chapter.fault() });
            assert!(crate::sandbox::Faults::parse(&json, &names).is_ok(), "{json}");
        }
        assert_eq!(chapters().iter().filter(|c| c.halts).count(), 1);
    }
}
