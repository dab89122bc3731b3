//! Makes realistic events in the order of a seed: good ones, copies, conflicting copies, opt-outs, bad ones.
//!
//! The generator decides the fate of each event when it makes it, so that tests can compare the ledger with it. One
//! seed gives the same events in the same order. Only their times follow the clock, because old events would expire.

mod fresh;
mod made;
mod profiles;
mod spoil;

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

pub use made::{Fate, Made};
pub use profiles::{PROFILES, Profile};

/// The number of good events that the generator remembers; a copy is at most this many events old.
const REMEMBERED: usize = 2_000;

/// The share of each fate in 10,000 events; the rest is fresh.
const SHARES: [(Fate, u32); 8] = [
    (Fate::Duplicate, 500),
    (Fate::Conflict, 60),
    (Fate::OptOut, 50),
    (Fate::Invalid, 110),
    (Fate::Expired, 20),
    (Fate::Malformed, 50),
    (Fate::Unmapped, 50),
    (Fate::UnknownAccount, 20),
];

struct Remembered {
    account: usize,
    event: Value,
}

/// Makes events without end.
pub struct Generator {
    random: StdRng,
    recent: VecDeque<Remembered>,
    made: u64,
    copies: u64,
}

impl Generator {
    /// A generator that makes the events of this seed.
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), recent: VecDeque::new(), made: 0, copies: 0 }
    }

    /// The number of different events so far; copies do not count.
    pub fn distinct(&self) -> u64 {
        self.made - self.copies
    }

    /// Makes the next event, as if it happened now.
    pub fn make(&mut self, now_ms: i64) -> Made {
        self.made += 1;
        let made = match self.draw() {
            Fate::Duplicate => self.copy(),
            Fate::Conflict => self.conflict(),
            Fate::Malformed => Some(spoil::malformed(&mut self.random, now_ms)),
            Fate::Fresh => None,
            fate => Some(spoil::spoilt(&mut self.random, now_ms, fate)),
        };
        let made = made.unwrap_or_else(|| self.fresh(now_ms));
        self.copies += u64::from(matches!(made.fate, Fate::Duplicate | Fate::Conflict));
        made
    }

    fn draw(&mut self) -> Fate {
        let mut point = self.random.random_range(0..10_000);
        for (fate, share) in SHARES {
            if point < share {
                return fate;
            }
            point -= share;
        }
        Fate::Fresh
    }

    fn fresh(&mut self, now_ms: i64) -> Made {
        let account = profiles::draw(&mut self.random);
        let event = fresh::event(&mut self.random, account, now_ms);
        let made = Made::of(account, &event, Fate::Fresh);
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(Remembered { account, event });
        made
    }

    /// Picks an event to copy. Half of the copies follow at once, as when a producer repeats a write without an answer;
    /// the others copy any remembered event.
    fn remembered(&mut self, fits: impl Fn(&Value) -> bool) -> Option<&Remembered> {
        let near = self.random.random_bool(0.5);
        let reach = if near { 20 } else { self.recent.len() };
        let skip = self.random.random_range(0..reach.max(1));
        self.recent.iter().rev().skip(skip).find(|r| fits(&r.event))
    }

    /// Copies an event. Sometimes the copy differs in a member that is not about money.
    fn copy(&mut self) -> Option<Made> {
        let again = self.random.random_bool(0.3);
        let earlier = self.remembered(|_| true)?;
        let mut event = earlier.event.clone();
        if again && let Some(at) = event["produced_at_ms"].as_i64() {
            event["produced_at_ms"] = json!(at + 1_500);
        }
        Some(Made::of(earlier.account, &event, Fate::Duplicate))
    }

    fn conflict(&mut self) -> Option<Made> {
        let more = self.random.random_range(1..=5_000);
        let earlier = self.remembered(|event| event["order"]["amount"].is_object())?;
        let mut event = earlier.event.clone();
        let minor = event["order"]["amount"]["minor"].as_i64()?;
        event["order"]["amount"]["minor"] = json!(minor + more);
        Some(Made::of(earlier.account, &event, Fate::Conflict))
    }
}

#[cfg(test)]
mod tests;
