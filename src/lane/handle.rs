//! A lane as other threads see it: its inbox, how full it is, and whether it is open.

pub mod breaker;
mod caps;
mod changes;
mod fill;
pub mod halt_probe;
pub mod known;
pub mod lanes;
mod openness;
mod probes;
mod rollout;
mod room;
mod share;
pub mod switches;
pub mod throttle;
pub mod unclassified;
mod until;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::mpsc::UnboundedSender;

use self::breaker::shared::SharedBreaker;
use self::breaker::{BreakerInput, Change};
use self::caps::Caps;
pub(crate) use self::caps::PARKS;
use self::changes::Changes;
pub use self::fill::Fill;
use self::fill::{All, Released, SetAside};
use self::probes::Probes;
pub use self::share::ASIDE_RELEASED;
use self::switches::in_force::SwitchesInForce;
use self::throttle::Throttle;
use self::unclassified::Unclassified;
use crate::account::{Account, Intake, WhenUnavailable};
use crate::delivery::Delivery;
use crate::metrics::LaneState;

/// A message to a lane's task.
pub enum LaneMessage {
    /// Add these records to the queue, in this order.
    Deliver(Vec<Box<Delivery>>),
    /// Send this record straight to the parking topic, because the lane is full while others flow.
    Park(Box<Delivery>),
    /// Send the queue of live records to the parking topic.
    ParkQueue,
}

/// A lane's handle. Every thread may use it.
pub struct LaneHandle {
    /// The index of the lane.
    pub index: usize,
    /// The index of its account in the metrics.
    pub account_index: usize,
    /// The number of the thread that runs it.
    pub(super) thread: usize,
    /// The lane for the calls of the same account, if this one is for its conversions alone.
    calls: OnceLock<Arc<LaneHandle>>,
    /// The name of the account that the lane sends for.
    pub account_name: Arc<str>,
    /// The name of its platform.
    pub platform: &'static str,
    /// The account as it is configured now.
    account: ArcSwap<Account>,
    /// The configuration names the account no longer.
    removed: AtomicBool,
    /// Records from input topics that wait for a permit.
    pub live: Fill,
    /// Records from tiers and the parking topic that wait for a permit.
    pub released: Fill,
    /// The records of `released` that come from the parking topic.
    parked: Fill,
    /// Records from tiers and the parking topic that wait for a permit or have one, by kind.
    holds: Released,
    /// What all lanes of the process hold together.
    all: OnceLock<Arc<All>>,
    /// Records that have a permit, or wait for their confirmation.
    pub in_flight: AtomicUsize,
    /// Records that are set aside for parking, until their copies are acknowledged.
    pub aside: SetAside,
    /// Whether the lane was told to park its queue and has not done so yet.
    emptying: AtomicBool,
    inbox: UnboundedSender<LaneMessage>,
    caps: Caps,
    pub switches: SwitchesInForce,
    pub throttle: Throttle,
    pub breaker: SharedBreaker,
    probes: Probes,
    /// The kinds of answers that no table lists and that this lane has seen.
    pub unclassified: Unclassified,
    pub changes: Arc<Changes>,
}

impl LaneHandle {
    /// Builds the handle. `inbox` leads to the lane's task.
    pub fn new(index: usize, account: Arc<Account>, inbox: UnboundedSender<LaneMessage>, intake: &Intake) -> Self {
        let changes = Arc::<Changes>::default();
        Self {
            index,
            account_index: index,
            thread: 0,
            calls: OnceLock::new(),
            caps: Caps::new(&account, intake),
            account_name: account.name.clone(),
            platform: account.platform,
            account: ArcSwap::new(account),
            removed: AtomicBool::new(false),
            live: Fill::default(),
            released: Fill::default(),
            parked: Fill::default(),
            holds: Released::default(),
            all: OnceLock::new(),
            in_flight: AtomicUsize::new(0),
            aside: SetAside::default(),
            emptying: AtomicBool::new(false),
            inbox,
            switches: SwitchesInForce::new(changes.clone()),
            throttle: Throttle::new(changes.clone()),
            breaker: SharedBreaker::new(changes.clone()),
            probes: Probes::default(),
            unclassified: Unclassified::default(),
            changes,
        }
    }

    /// Says which account it is of, where that has another lane before this one, and which thread runs it.
    pub(super) fn of_account(mut self, index: usize, thread: usize) -> Self {
        (self.account_index, self.thread) = (index, thread);
        self
    }

    /// Its name where lanes are told apart: the account's, with a mark for a second lane.
    pub fn name(&self) -> Cow<'_, str> {
        if self.index == self.account_index {
            Cow::Borrowed(&self.account_name)
        } else {
            format!("{}:calls", self.account_name).into()
        }
    }

    /// The account as it is configured now.
    pub fn account(&self) -> Guard<Arc<Account>> {
        self.account.load()
    }

    /// Sends for the account as it is configured from now on. The lane's task takes it by itself, from its thread.
    pub(crate) fn set_account(&self, account: Arc<Account>) {
        self.caps.set(&account);
        self.account.store(account);
        self.throttle.forget_day();
        self.changes.touch();
    }

    /// Says whether the configuration still names the account.
    pub(crate) fn set_removed(&self, removed: bool) {
        if self.removed.swap(removed, SeqCst) != removed {
            self.changes.touch();
        }
    }

    /// Whether the configuration names the account no longer. What is open of it is still sent.
    pub fn is_removed(&self) -> bool {
        self.removed.load(SeqCst)
    }

    /// Adds the lane for the calls of its account.
    pub(crate) fn set_calls(&self, calls: Arc<LaneHandle>) {
        self.probes.share_halt(&calls.probes);
        // An account has at most one, so a second call would change nothing.
        let _ = self.calls.set(calls);
    }

    /// All lanes of its account: this one, and the one for calls if there is another.
    pub fn both(&self) -> impl Iterator<Item = &LaneHandle> {
        std::iter::once(self).chain(self.calls.get().map(|calls| &**calls))
    }

    /// The lane that tells how its account does: this one, unless only the one for calls does not flow.
    pub fn shown(&self) -> &LaneHandle {
        let flows = |lane: &&LaneHandle| lane.state() == LaneState::Flowing;
        self.both().find(|lane| !flows(lane)).unwrap_or(self)
    }

    /// Whether the lane can send: it is open, and a Redis that is away does not keep it from sending.
    pub fn can_send(&self, holds: bool) -> bool {
        self.is_open() && (!holds || self.account().when_unavailable == WhenUnavailable::Deliver)
    }

    /// Tells the breaker of the answer to one request. `is_probe`: it was the one record that is tried. `what` says what the
    /// request came to, in words that are safe to show.
    pub fn report(&self, input: BreakerInput, is_probe: bool, what: impl FnOnce() -> String) -> Change {
        self.breaker.report((input, is_probe), self.account().limits.concurrency, what)
    }

    /// Halts the lane until an operator or a probe ends it.
    #[cfg(test)]
    pub(crate) fn halt(&self, reason: &str) -> bool {
        self.switches.halt(reason, false)
    }
}

#[cfg(test)]
mod tests;
