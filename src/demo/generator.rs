//! Realistic events in the order of a seed: good ones, copies, conflicting copies, opt-outs, bad ones.
//!
//! The generator decides each event's fate when it makes it, so that the ledger can be held against it. One seed gives
//! the same events in the same order; only their times follow the clock, since old events would expire.

mod fresh;
mod profiles;
mod spoil;

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

pub use profiles::{PROFILES, Profile};

/// Good events that may be copied later; copies lie up to so many events behind.
const REMEMBERED: usize = 2_000;

/// What must become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Delivered.
    Fresh,
    /// A copy of an earlier one: one of the two is delivered, the other ends as `duplicate`.
    Duplicate,
    /// The same identity with another amount: one of the two is delivered, the other ends as `conflict`.
    Conflict,
    /// Suppressed.
    OptOut,
    /// Dead letter `invalid`.
    Invalid,
    /// Dead letter `expired`: older than the worker takes.
    Expired,
    /// Dead letter `malformed`.
    Malformed,
    /// Dead letter `unmapped_event`.
    Unmapped,
    /// Dead letter `unknown_account`.
    UnknownAccount,
}

/// Each fate with its share of 10,000 events; what is left is fresh.
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

/// One event, ready to be published.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// Index into [`PROFILES`], where the record can be told to belong to one of them.
    pub account: Option<usize>,
    /// `platform:account:` and the order, else the trans_id.
    pub key: Option<String>,
    /// The bytes; `None` is a record without a value.
    pub value: Option<Vec<u8>>,
    /// What must become of it.
    pub fate: Fate,
}

impl Made {
    fn of(account: usize, event: &Value, fate: Fate) -> Self {
        Self { account: Some(account), key: key(event), value: Some(event.to_string().into_bytes()), fate }
    }
}

/// As `postback send` keys its events.
fn key(event: &Value) -> Option<String> {
    let last = event["order"]["order_id"].as_str().or(event["trans_id"].as_str())?;
    Some(format!("{}:{}:{last}", event["platform"].as_str()?, event["account"].as_str()?))
}

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
    /// The events of this seed.
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), recent: VecDeque::new(), made: 0, copies: 0 }
    }

    /// Different events so far: those that are no copies.
    pub fn distinct(&self) -> u64 {
        self.made - self.copies
    }

    /// The next event, as it would happen now.
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

    /// Half of them at once, as a producer repeats a write whose answer it missed; half from anywhere behind.
    fn remembered(&mut self, fits: impl Fn(&Value) -> bool) -> Option<&Remembered> {
        let near = self.random.random_bool(0.5);
        let reach = if near { 20 } else { self.recent.len() };
        let skip = self.random.random_range(0..reach.max(1));
        self.recent.iter().rev().skip(skip).find(|r| fits(&r.event))
    }

    /// The same event once more, at times with a member changed that is no money.
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
