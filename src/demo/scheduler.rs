//! Plays the scenario: says when to set and to lift each fault, and resumes an account that the worker has halted
//! (pure).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::demo::scenario::{Chapter, Stage, chapters};

/// For this long after a fault has ended, a request that it hit may still halt the account: the timeout of a request,
/// and some more.
const AFTERMATH: Duration = Duration::from_secs(4);
/// Time between two resumes of one account. The state of the lane may have been read before the first of them.
const BETWEEN: Duration = Duration::from_secs(2);

/// What the worker's API says about a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneSeen {
    /// `flowing`, `throttled`, `halted`, `paused`.
    pub state: String,
    /// Why the lane does not flow.
    pub why: String,
    /// Records in its parking topic that have not ended.
    pub parked: u64,
}

/// Something that the demo has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    Say(&'static str, String),
    /// Set this fault for the account, or lift it (`None`).
    Fault(&'static str, Option<Value>),
    /// Resume the account.
    Resume(&'static str),
}

struct Part {
    chapter: Chapter,
    stage: Stage,
    since: Instant,
    told_halt: bool,
    resumed: Option<Instant>,
}

pub struct Scheduler {
    parts: Vec<Part>,
}

impl Scheduler {
    /// The scheduler before the first event.
    pub fn new(now: Instant) -> Self {
        let part = |chapter| Part { chapter, stage: Stage::Ahead, since: now, told_halt: false, resumed: None };
        Self { parts: chapters().into_iter().map(part).collect() }
    }

    /// Says what to do at `now`, after `published` of `total` events. `stop` ends every fault.
    pub fn step(
        &mut self,
        now: Instant,
        (published, total): (u64, u64),
        stop: bool,
        lanes: &BTreeMap<String, LaneSeen>,
    ) -> Vec<Act> {
        let mut acts = Vec::new();
        for part in &mut self.parts {
            let on_for = now.duration_since(part.since);
            if let Some(next) = part.chapter.next(part.stage, published, total, on_for, stop) {
                part.enter(next, now, &mut acts);
            }
            if part.chapter.halts && part.stage != Stage::Ahead {
                part.look_at_halt(now, lanes, &mut acts);
            }
        }
        acts
    }

    /// Whether a fault is on at present.
    pub fn is_on(&self) -> bool {
        self.parts.iter().any(|part| part.stage == Stage::On)
    }

    /// The fault of an account's platform at present.
    pub fn tag(&self, account: &str) -> Option<&'static str> {
        let on = self.parts.iter().find(|p| p.stage == Stage::On && p.chapter.account == account);
        on.map(|p| p.chapter.tag)
    }
}

impl Part {
    fn enter(&mut self, next: Stage, now: Instant, acts: &mut Vec<Act>) {
        let account = self.chapter.account;
        match next {
            Stage::On => {
                acts.push(Act::Fault(account, Some(self.chapter.fault())));
                acts.push(Act::Say(account, self.chapter.begins.to_owned()));
            }
            // The chapter never began: there were too few events, or the demo was stopped early.
            Stage::Over if self.stage == Stage::Ahead => {}
            Stage::Over | Stage::Ahead => {
                acts.push(Act::Fault(account, None));
                acts.push(Act::Say(account, self.chapter.ends.to_owned()));
            }
        }
        (self.stage, self.since) = (next, now);
    }

    fn look_at_halt(&mut self, now: Instant, lanes: &BTreeMap<String, LaneSeen>, acts: &mut Vec<Act>) {
        let account = self.chapter.account;
        let Some(lane) = lanes.get(account).filter(|lane| lane.state == "halted") else { return };
        if !self.told_halt {
            self.told_halt = true;
            acts.push(Act::Say(account, format!("halted by the worker ({}); what arrives is parked", lane.why)));
        }
        // Someone else caused any later halt, and has to resume the account.
        let ours = self.stage == Stage::Over && now.duration_since(self.since) < AFTERMATH || self.resumed.is_none();
        let lately = self.resumed.is_some_and(|at| now.duration_since(at) < BETWEEN);
        if self.stage == Stage::Over && ours && !lately {
            self.resumed = Some(now);
            acts.push(Act::Resume(account));
            let text =
                "resumed by the demo, as `postback accounts resume` would; parked events flow back, oldest first";
            acts.push(Act::Say(account, text.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(state: &str) -> BTreeMap<String, LaneSeen> {
        let lane = LaneSeen { state: state.into(), why: "App-Sign is not accepted".into(), parked: 3 };
        BTreeMap::from([("demo-360-zs".to_owned(), lane)])
    }

    fn resumes(acts: &[Act]) -> usize {
        acts.iter().filter(|act| matches!(act, Act::Resume("demo-360-zs"))).count()
    }

    #[test]
    fn the_whole_story_sets_each_fault_once_lifts_it_and_resumes_what_was_halted() {
        let begin = Instant::now();
        let mut scheduler = Scheduler::new(begin);
        let mut acts = Vec::new();
        for n in 0..=200_u64 {
            let now = begin + Duration::from_millis(140 * n);
            let halted = (80..120).contains(&n);
            acts.extend(scheduler.step(
                now,
                (n * 100, 20_000),
                false,
                &lanes(if halted { "halted" } else { "flowing" }),
            ));
        }
        for chapter in chapters() {
            let faults: Vec<_> =
                acts.iter().filter(|a| matches!(a, Act::Fault(account, _) if *account == chapter.account)).collect();
            assert_eq!(
                faults,
                [&Act::Fault(chapter.account, Some(chapter.fault())), &Act::Fault(chapter.account, None)],
            );
        }
        assert!(resumes(&acts) >= 1);
        assert!(acts.iter().any(|a| matches!(a, Act::Say(_, text) if text.contains("App-Sign is not accepted"))));
    }

    #[test]
    fn an_account_is_resumed_only_after_its_fault_and_a_late_halt_that_it_caused_once_more() {
        let begin = Instant::now();
        let mut scheduler = Scheduler::new(begin);
        let at = |secs| begin + Duration::from_secs(secs);
        assert_eq!(resumes(&scheduler.step(at(0), (8_000, 20_000), false, &lanes("halted"))), 0);
        assert_eq!(resumes(&scheduler.step(at(1), (12_000, 20_000), false, &lanes("halted"))), 1);
        assert_eq!(resumes(&scheduler.step(at(2), (12_100, 20_000), false, &lanes("halted"))), 0, "an old look");
        assert_eq!(resumes(&scheduler.step(at(4), (12_200, 20_000), false, &lanes("halted"))), 1, "a late answer");
        assert_eq!(resumes(&scheduler.step(at(9), (12_300, 20_000), false, &lanes("halted"))), 0, "somebody else's");
        assert_eq!(resumes(&scheduler.step(at(99), (20_000, 20_000), false, &lanes("paused"))), 0);
    }

    #[test]
    fn a_stop_lifts_what_is_on_and_begins_nothing() {
        let begin = Instant::now();
        let mut scheduler = Scheduler::new(begin);
        assert!(!scheduler.is_on());
        scheduler.step(begin, (1_000, 20_000), false, &lanes("flowing"));
        assert!(scheduler.is_on());
        assert_eq!(scheduler.tag("demo-360-ps"), Some("answers 500"));
        let acts = scheduler.step(begin, (1_100, 20_000), true, &lanes("flowing"));
        let faults: Vec<_> = acts.into_iter().filter(|a| matches!(a, Act::Fault(..))).collect();
        assert_eq!(faults, [Act::Fault("demo-360-ps", None)]);
        assert_eq!(scheduler.tag("demo-360-ps"), None);
        assert_eq!(scheduler.step(begin, (9_000, 20_000), false, &lanes("flowing")), []);
    }
}
