//! The state of one account's lane, whether a record may go on in it, and how it halts.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use crate::account::Account;
use crate::account::Halted;
use crate::claim::Dedupe;
use crate::clock::now_ms;
use crate::delivery::{Delivery, Subject};
use crate::error::DeliveryError;
use crate::lane::handle::LaneHandle;
use crate::lane::joining::Batches;
use crate::lane::unclassified::Unclassified;
use crate::metrics::{AccountMetrics, Metrics};
use crate::send::Dispatcher;
use crate::send::quota::Quota;
use crate::send::rate::Limiter;
use crate::send::token::Tokens;
use crate::settle::context::StageContext;
use crate::settle::outbox::Outbox;
use crate::settle::policy::Policy;

/// One account on its runtime thread.
pub struct Lane {
    /// The lane as other threads see it.
    pub handle: Arc<LaneHandle>,
    pub account: Arc<Account>,
    /// Publishes and finishes its records.
    pub outbox: Rc<Outbox>,
    /// The claims of this thread.
    pub dedupe: Rc<Dedupe>,
    /// What all lanes share.
    pub shared: Arc<StageContext>,
    pub dispatcher: Rc<Dispatcher>,
    /// Takes slots from the shared rate.
    pub limiter: Rc<Limiter>,
    /// What its platform allows beside the rate.
    pub quota: Quota,
    /// Its access tokens, if its platform has tokens.
    pub tokens: Option<Rc<Tokens>>,
    /// Its batches.
    pub(super) batches: Batches,
    /// Permanent answers in a row.
    pub(crate) permanents: Cell<u32>,
    /// Push-backs with no other answer in between.
    pub(crate) throttles: Cell<u32>,
    /// The kinds of answers that no table lists and that this account has seen.
    pub(crate) unclassified: Unclassified,
    /// Since when the account has got nothing but throttled answers.
    pub(crate) throttled_since: Cell<Option<Instant>>,
    /// When the push-back of the last throttled answer ends.
    pub(crate) throttled_until: Cell<Option<Instant>>,
}

impl Lane {
    pub fn new(
        handle: Arc<LaneHandle>,
        outbox: Rc<Outbox>,
        dispatcher: Rc<Dispatcher>,
        limiter: Rc<Limiter>,
        quota: Quota,
        tokens: Option<Rc<Tokens>>,
    ) -> Rc<Self> {
        let batches = Batches::new(handle.account.batch());
        Rc::new(Self {
            account: handle.account.clone(),
            handle,
            dedupe: outbox.dedupe.clone(),
            shared: outbox.shared.clone(),
            outbox,
            dispatcher,
            limiter,
            quota,
            tokens,
            batches,
            permanents: Cell::new(0),
            throttles: Cell::new(0),
            unclassified: Unclassified::default(),
            throttled_since: Cell::new(None),
            throttled_until: Cell::new(None),
        })
    }

    /// Counters of the process.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Counters of the account.
    pub fn account_metrics(&self) -> &AccountMetrics {
        self.shared.metrics.account(self.handle.account_index)
    }

    /// Why this record must not go on now. `None`: it may.
    pub fn interruption(&self, delivery: &Delivery) -> Option<DeliveryError> {
        if delivery.ack.assignment().is_leaving() {
            return Some(DeliveryError::Returned);
        }
        let is_open = if delivery.trial.is_some() { self.handle.is_open_for_trial() } else { self.handle.is_open() };
        (!is_open && !self.is_overdue(delivery)).then_some(DeliveryError::Closed)
    }

    /// Waits until this record must not go on, and returns why.
    pub async fn interrupted(&self, delivery: &Delivery) -> DeliveryError {
        loop {
            let mut changed = pin!(self.handle.changed());
            changed.as_mut().enable();
            if let Some(why) = self.interruption(delivery) {
                return why;
            }
            changed.await;
        }
    }

    /// Whether the record has been parked for too long. Then it ends, whether the lane is open or not.
    fn is_overdue(&self, delivery: &Delivery) -> bool {
        let Subject::Ready(ready) = &delivery.subject else { return false };
        Policy::of(ready).parked_too_long(&delivery.envelope, now_ms())
    }

    /// Halts the account for every replica.
    pub fn halt(&self, reason: &str) {
        let reason = crate::redact::mask_text(reason).into_owned();
        if self.handle.halt(&reason) {
            tracing::error!(account = &*self.account.name, reason = reason.as_str(), "account halted; its events park");
            let _ = self.shared.halts.send(Halted { index: self.handle.account_index, reason });
        }
    }
}
