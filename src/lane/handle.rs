//! A lane as other threads see it: its inbox, how full it is, and whether it is open.

pub mod breaker;
mod changes;
pub mod halt_probe;
pub mod inbox;
pub mod known;
pub mod lane_id;
pub mod lanes;
pub mod occupancy;
mod openness;
mod probes;
mod rollout;
mod share;
pub mod switches;
pub mod throttle;
pub mod unclassified;
mod until;

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::mpsc::UnboundedSender;

use self::breaker::shared::SharedBreaker;
use self::breaker::{BreakerInput, Change};
use self::changes::Changes;
use self::inbox::{Inbox, LaneMessage};
use self::lane_id::LaneId;
use self::occupancy::Occupancy;
use self::probes::Probes;
use self::switches::in_force::SwitchesInForce;
use self::throttle::Throttle;
use self::unclassified::Unclassified;
use crate::account::{Account, Intake, WhenUnavailable};
use crate::delivery::{Delivery, TopicKind};
use crate::metrics::LaneState;

/// A lane's handle. Every thread may use it.
pub struct LaneHandle {
    pub id: LaneId,
    /// The lane for the calls of the same account, if this one is for its conversions alone.
    calls: OnceLock<Arc<LaneHandle>>,
    /// The account as it is configured now.
    account: ArcSwap<Account>,
    /// The configuration names the account no longer.
    removed: AtomicBool,
    pub occupancy: Occupancy,
    pub inbox: Inbox,
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
            id: LaneId {
                index,
                account_index: index,
                thread: 0,
                account_name: account.name.clone(),
                platform: account.platform,
            },
            calls: OnceLock::new(),
            occupancy: Occupancy::new(&account, intake),
            account: ArcSwap::new(account),
            removed: AtomicBool::new(false),
            inbox: Inbox::new(inbox),
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
        (self.id.account_index, self.id.thread) = (index, thread);
        self
    }

    /// The account as it is configured now.
    pub fn account(&self) -> Guard<Arc<Account>> {
        self.account.load()
    }

    /// Sends for the account as it is configured from now on. The lane's task takes it by itself, from its thread.
    pub(crate) fn set_account(&self, account: Arc<Account>) {
        self.occupancy.set_account(&account);
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

    /// Adds one record to its queue.
    pub fn enqueue(&self, delivery: Box<Delivery>) {
        self.occupancy.enqueued(&delivery);
        self.inbox.deliver(vec![delivery]);
    }

    /// Sends a record to the lane's parking topic.
    pub fn park(&self, delivery: Box<Delivery>) {
        self.occupancy.set_aside(delivery.topic_kind, delivery.record.size());
        self.inbox.park(delivery);
    }

    /// Whether the lane can be given more records to park. It cannot if its parking topic takes nothing.
    pub fn can_park(&self, topic_kind: TopicKind) -> bool {
        !self.is_aside_above(topic_kind, 1, 1)
    }

    /// Whether the lane has set aside at least `part`/`whole` of what it may, and of what other lanes leave it.
    pub fn is_aside_above(&self, topic_kind: TopicKind, part: usize, whole: usize) -> bool {
        self.occupancy.is_aside_above(topic_kind, part, whole, !self.is_open())
    }

    /// Tells the breaker of the answer to one request. `is_probe`: it was the one record that is tried. `what` says
    /// what the request came to, in words that are safe to show.
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
