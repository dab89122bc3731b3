//! The state of one account's lane, whether a record may go on in it, and how it halts.

use std::cell::{Cell, OnceCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use crate::account::Account;
use crate::account::Halted;
use crate::claim::Dedupe;
use crate::delivery::{Delivery, Subject};
use crate::error::{DeliveryError, Disposition};
use crate::lane::chunks::KeptChunks;
use crate::lane::handle::LaneHandle;
use crate::lane::joining::Batches;
use crate::lane::retry_budget::RetryBudget;
use crate::metrics::{AccountMetrics, Metrics};
use crate::send::Dispatcher;
use crate::send::quota::Quota;
use crate::send::rate::Limiter;
use crate::send::token::Tokens;
use crate::settle::Attempted;
use crate::settle::context::StageContext;
use crate::settle::outbox::Outbox;
use crate::settle::policy::Policy;

/// One account on its runtime thread, with the settings of one moment.
///
/// When its settings change, another value takes the place of this one in the lane's task. It shares what was counted
/// and the batches. An attempt that has sent its request ends with the settings that it began with; any other one is
/// given back to the queue and begins anew.
pub struct Lane {
    /// The lane as other threads see it.
    pub handle: Arc<LaneHandle>,
    pub account: Arc<Account>,
    /// Publishes and finishes its records.
    pub outbox: Rc<Outbox>,
    /// The claims of this thread.
    pub dedupe: Rc<Dedupe>,
    /// What all lanes share.
    pub context: Arc<StageContext>,
    pub dispatcher: Rc<Dispatcher>,
    /// Takes slots from the shared rate.
    pub limiter: Rc<Limiter>,
    /// What its platform allows beside the rate.
    pub quota: Quota,
    /// Its access tokens, if its platform has tokens.
    pub tokens: Option<Rc<Tokens>>,
    pub(super) batches: Rc<Batches>,
    /// What calls in several chunks have brought so far.
    pub(super) chunks: Rc<KeptChunks>,
    /// Permanent answers in a row.
    pub(crate) permanents: Rc<Cell<u32>>,
    /// Push-backs with no other answer in between.
    pub(crate) throttles: Rc<Cell<u32>>,
    /// How many inline retries may begin.
    pub(crate) retry_budget: Rc<RetryBudget>,
    /// Since when the account has got nothing but throttled answers.
    pub(crate) throttled_since: Rc<Cell<Option<Instant>>>,
    /// When the push-back of the last throttled answer ends.
    pub(crate) throttled_until: Rc<Cell<Option<Instant>>>,
    /// The same lane with the settings that replaced these.
    replaced_by: OnceCell<Rc<Lane>>,
}

/// What the settings of an account decide.
pub struct LaneParts {
    pub account: Arc<Account>,
    pub dispatcher: Rc<Dispatcher>,
    pub limiter: Rc<Limiter>,
    pub quota: Quota,
    pub tokens: Option<Rc<Tokens>>,
}

impl Lane {
    pub fn new(handle: Arc<LaneHandle>, outbox: Rc<Outbox>, parts: LaneParts) -> Rc<Self> {
        let LaneParts { account, dispatcher, limiter, quota, tokens } = parts;
        let batches = Rc::new(Batches::new(account.batch()));
        Rc::new(Self {
            account,
            handle,
            dedupe: outbox.dedupe.clone(),
            context: outbox.context.clone(),
            outbox,
            dispatcher,
            limiter,
            quota,
            tokens,
            batches,
            chunks: Rc::default(),
            permanents: Rc::default(),
            throttles: Rc::default(),
            retry_budget: Rc::default(),
            throttled_since: Rc::default(),
            throttled_until: Rc::default(),
            replaced_by: OnceCell::new(),
        })
    }

    /// The same lane with other settings.
    pub(super) fn with(&self, parts: LaneParts) -> Rc<Self> {
        let LaneParts { account, dispatcher, limiter, quota, tokens } = parts;
        self.batches.set_limits(account.batch());
        Rc::new(Self {
            account,
            handle: self.handle.clone(),
            outbox: self.outbox.clone(),
            dedupe: self.dedupe.clone(),
            context: self.context.clone(),
            dispatcher,
            limiter,
            quota,
            tokens,
            batches: self.batches.clone(),
            chunks: self.chunks.clone(),
            permanents: self.permanents.clone(),
            throttles: self.throttles.clone(),
            retry_budget: self.retry_budget.clone(),
            throttled_since: self.throttled_since.clone(),
            throttled_until: self.throttled_until.clone(),
            replaced_by: OnceCell::new(),
        })
    }

    /// Puts another value in the place of this one: from now on nothing is sent with these settings that has not gone
    /// out already.
    pub(super) fn replace(&self, new: Rc<Self>) {
        // A value is replaced once: its thread replaces the latest one.
        let _ = self.replaced_by.set(new);
        self.handle.changes.touch();
    }

    /// The result of an attempt that these settings made. If they are the reason why the account cannot send, and were
    /// replaced meanwhile, the record begins anew with the present ones.
    pub(super) fn with_present_settings(&self, result: Attempted) -> Attempted {
        match result {
            Err(error) if self.replaced_by().is_some() && error.disposition() == Disposition::Halt => {
                Err(DeliveryError::Replaced)
            }
            result => result,
        }
    }

    /// The value that has taken the place of this one.
    pub(super) fn replaced_by(&self) -> Option<&Rc<Self>> {
        self.replaced_by.get()
    }

    /// Counters of the process.
    pub fn metrics(&self) -> &Metrics {
        &self.context.metrics
    }

    /// Counters of the account.
    pub fn account_metrics(&self) -> &AccountMetrics {
        self.context.metrics.account(self.handle.id.account_index)
    }

    /// Why the attempt of this record must not go on now. `None`: it may.
    pub fn interruption(&self, delivery: &Delivery) -> Option<DeliveryError> {
        self.shut_out(delivery).or_else(|| self.replaced_by().map(|_| DeliveryError::Replaced))
    }

    /// Why this record must not be in the lane now. `None`: it may.
    pub(super) fn shut_out(&self, delivery: &Delivery) -> Option<DeliveryError> {
        if delivery.ack.assignment().is_leaving() {
            return Some(DeliveryError::Returned);
        }
        if delivery.ack.open().leaves() {
            return Some(DeliveryError::Closed);
        }
        let is_tried = delivery.probe.as_ref().is_some_and(|probe| self.handle.is_open_for(probe));
        // A request that is counted has its place in the day, whoever comes after the last one.
        let is_open = match delivery.is_counted() {
            true => self.handle.is_open_within_the_day(),
            false => self.handle.is_open(),
        };
        let is_open = is_open || is_tried;
        (!is_open && !self.is_overdue(delivery)).then_some(DeliveryError::Closed)
    }

    /// Waits until this record must not go on, and returns why.
    pub async fn interrupted(&self, delivery: &Delivery) -> DeliveryError {
        loop {
            let mut changed = pin!(self.handle.changes.changed());
            changed.as_mut().enable();
            if let Some(why) = self.interruption(delivery) {
                return why;
            }
            changed.await;
        }
    }

    /// Whether the record has been parked for too long. Then it ends, whether the lane is open or not.
    pub(super) fn is_overdue(&self, delivery: &Delivery) -> bool {
        let Subject::Ready(ready) = &delivery.subject else { return false };
        Policy::of(ready).parked_too_long(&delivery.envelope, self.context.health.clock.now_ms())
    }

    /// Halts the account for every replica. An answer to a request that went out with settings which were replaced
    /// since halts nothing: it says nothing about the present ones.
    pub fn halt(&self, reason: &str) {
        self.halt_until(reason, false);
    }

    /// The same; `by_hand`: only an operator may end the halt.
    pub fn halt_until(&self, reason: &str, by_hand: bool) {
        let reason = crate::redact::mask_text(reason).into_owned();
        if self.replaced_by().is_some() {
            let account = &*self.account.name;
            tracing::warn!(account, reason, "the settings that would have halted the account were replaced meanwhile");
            return;
        }
        if self.handle.switches.halt(&reason, by_hand) {
            tracing::error!(account = &*self.account.name, reason = reason.as_str(), "account halted; its events park");
            let _ = self.context.halts.send(Halted { index: self.handle.id.account_index, reason, by_hand });
        }
    }
}
