//! Attempts to deliver a batch: several records of one route share a permit, a slot and a request. Each record is
//! claimed, judged, counted and settled separately.
//!
//! A record that ends without being sent leaves at once. A record that arrives while the batch waits for its slot joins
//! it after its own claim. If it is not claimed when the slot is there, it goes with the next request of the same
//! permit.

mod claims;
mod request;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until};

use crate::claim::ClaimGuard;
use crate::claim::rules::Key;
use crate::delivery::Delivery;
use crate::error::DeliveryError;
use crate::lane::attempted::AttemptedDelivery;
use crate::lane::batch::claims::{Claimed, To, be_ready};
use crate::lane::claiming::{LONGEST_WAIT, event, spare_lease};
use crate::lane::counting::panicked;
use crate::lane::joining::{OpenBatch, load};
use crate::lane::queue::HandedOut;
use crate::lane::sending::priority_of;
use crate::lane::state::Lane;
use crate::send::Destination;
use crate::send::rate::{Priority, Slot};
use crate::send::ready::{Ready, ready};
use crate::send::token::Turn;
use crate::settle::Attempted;
use crate::settle::policy::InlineDelays;

/// How long the first claimed record waits for the claims of the others.
const PATIENCE: Duration = Duration::from_millis(50);

/// One record of a batch.
struct Member {
    delivery: Box<Delivery>,
    key: Option<Key>,
    guard: Option<ClaimGuard>,
    /// The delays between its inline tries.
    delays: Option<InlineDelays>,
    /// The failure of its previous try.
    failed: Option<DeliveryError>,
    /// When it may be tried again.
    not_before: Option<Instant>,
    /// What it has done to get a token.
    turn: Turn,
}

type Claiming = Pin<Box<dyn Future<Output = (Member, Claimed)>>>;

struct Batch<'a> {
    lane: &'a Rc<Lane>,
    joining: Rc<OpenBatch>,
    /// Where the requests go. Records of one route have one destination.
    to: Destination,
    /// The records that wait for their claims.
    claiming: FuturesUnordered<Claiming>,
    /// The number and the bytes of these records.
    claims: (usize, usize),
    /// The records that are claimed and to be sent.
    ready: Vec<Member>,
    ready_since: Option<Instant>,
    /// The records that wait for their next inline try.
    waiting: Vec<Member>,
    /// The records that have to be sent alone.
    alone: VecDeque<Member>,
    /// The last answer is not counted yet, because all records of its request are to be tried again.
    is_uncounted: bool,
}

/// Attempts the records of one permit and those that join them, until none is left. Each record leaves the batch by
/// itself, so nothing is returned.
pub(super) async fn attempt_batch(lane: Rc<Lane>, first: Vec<HandedOut>) -> Option<AttemptedDelivery> {
    let joining = match first.first() {
        Some((delivery, _)) => lane.batches.open(load(delivery).0),
        None => return None,
    };
    let prepared = first.first().and_then(|(delivery, _)| event(delivery).ok()).map(|ready| &ready.prepared);
    let mut batch = Batch {
        lane: &lane,
        joining,
        to: prepared.map_or(Destination::BaseUrl, |prepared| lane.dispatcher.destination(prepared)),
        claiming: FuturesUnordered::new(),
        claims: (0, 0),
        ready: Vec::new(),
        ready_since: None,
        waiting: Vec::new(),
        alone: VecDeque::new(),
        is_uncounted: false,
    };
    batch.take_in(first);
    let mut unused = None;
    loop {
        match AssertUnwindSafe(batch.wait_for_slot(unused.take())).catch_unwind().await {
            Ok(Some(ready)) => unused = batch.send(ready).await,
            Ok(None) => break,
            Err(_) => batch.panicked_before_sending(),
        }
    }
    lane.batches.remove(&batch.joining);
    None
}

impl<'a> Batch<'a> {
    /// Waits for a connection and a slot for the records that are ready. `None`: no record is left.
    async fn wait_for_slot(&mut self, mut unused: Option<Slot>) -> Option<Ready<'a>> {
        let lane = self.lane;
        let mut going: Option<Pin<Box<dyn Future<Output = Ready<'a>> + 'a>>> = None;
        let mut goes_as = Priority::Replayed;
        loop {
            let mut changed = pin!(lane.handle.changes.changed());
            changed.as_mut().enable();
            let arrivals = self.joining.arrivals();
            self.take_in(arrivals);
            self.look();
            if self.ready.is_empty() && self.waiting.is_empty() && self.claiming.is_empty() {
                return None;
            }
            let (items, bytes) = self.load();
            lane.batches.set_room(&self.joining, items, bytes);
            let now = Instant::now();
            let patience = self.ready_since.map(|since| since + PATIENCE);
            let priority = self.ready.iter().map(|item| priority_of(&item.delivery)).min();
            // It is dropped, so that it costs no slot, or gets one before those of replayed records.
            if priority.is_none_or(|priority| goes_as == Priority::Replayed && priority < goes_as) {
                going = None;
            }
            if let Some(priority) = priority
                && going.is_none()
                && (self.claiming.is_empty() || patience.is_none_or(|until| until <= now))
            {
                // A connection attempt that takes longer counts as failed, as for a single record.
                let connect = self.shortest_lease().mul_f64(0.75);
                let to = (&*lane.dispatcher, self.to);
                going = Some(Box::pin(ready(to, &lane.limiter, priority, connect, unused.take())));
                goes_as = priority;
            }
            let until = self.next_look(now, if going.is_none() { patience } else { None });
            let slot = async {
                match &mut going {
                    Some(going) => going.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(claimed) = self.claiming.next(), if !self.claiming.is_empty() => self.claimed(claimed),
                ready = slot => {
                    lane.account_metrics().rate_wait(ready.waited);
                    return Some(ready);
                }
                () = self.joining.arrival() => {}
                () = changed => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// When the records have to be checked again, because a lease becomes too short or a delay ends.
    fn next_look(&self, now: Instant, patience: Option<Instant>) -> Instant {
        let delays = self.waiting.iter().filter_map(|item| item.not_before);
        // A timer rounds up, so this does too: one that has fired already would make the loop spin.
        let lease = now + self.shortest_lease();
        delays.chain(patience).fold(lease, Instant::min).max(now + Duration::from_millis(1))
    }

    /// The shortest lease of the records that are ready, less what a send needs.
    fn shortest_lease(&self) -> Duration {
        let leases = self.ready.iter().map(|item| spare_lease(self.lane, &item.guard).unwrap_or_default());
        leases.fold(LONGEST_WAIT, Duration::min)
    }

    /// Claims the records that arrived.
    fn take_in(&mut self, arrivals: Vec<HandedOut>) {
        for (delivery, key) in arrivals {
            let turn = Turn::default();
            self.claim(Member { delivery, key, guard: None, delays: None, failed: None, not_before: None, turn });
        }
    }

    /// Claims a record. A claim that it holds is released first.
    fn claim(&mut self, mut item: Member) {
        self.count_failed(&mut item);
        self.get_ready(item, To::Claim);
    }

    /// Counts the last answer, if it is not counted yet: no other try follows it, or only after a new claim.
    fn count_failed(&mut self, item: &mut Member) {
        if let Some(failed) = item.failed.take()
            && std::mem::take(&mut self.is_uncounted)
        {
            self.lane.note(item.delivery.is_replayed(), &Err(failed));
        }
    }

    fn get_ready(&mut self, mut item: Member, to: To) {
        let lane = self.lane.clone();
        self.claims = (self.claims.0 + 1, self.claims.1 + load(&item.delivery).1);
        self.claiming.push(Box::pin(async move {
            let attempts_before = item.delivery.envelope.attempts;
            let Member { delivery, guard, turn, .. } = &mut item;
            let claimed = AssertUnwindSafe(be_ready(delivery, &lane, guard, turn, to)).catch_unwind().await;
            let claimed = claimed.unwrap_or_else(|_| Err(panicked(delivery, &lane, guard, attempts_before)));
            (item, claimed)
        }));
    }

    /// Takes the end of a claim, and of others that ended at the same time, so that all waiting records are checked
    /// once.
    fn claimed(&mut self, first: (Member, Claimed)) {
        let mut next = Some(first);
        while let Some((item, claimed)) = next {
            self.claims = (self.claims.0 - 1, self.claims.1 - load(&item.delivery).1);
            match claimed {
                Ok(None) => {
                    self.ready_since.get_or_insert_with(Instant::now);
                    self.ready.push(item);
                }
                Ok(Some(done)) => self.leave(item, Ok(done)),
                Err(why) => self.leave(item, Err(why)),
            }
            // Claims that are not ready are polled again by the caller, with its own waker.
            next = self.claiming.next().now_or_never().flatten();
        }
    }

    /// Checks all waiting records: those that must not go on leave, those whose lease has become too short are claimed
    /// again, and those whose delay is over are ready.
    fn look(&mut self) {
        let now = Instant::now();
        for item in std::mem::take(&mut self.waiting) {
            if self.lane.interruption(&item.delivery).is_some() {
                // If the lane closes during an inline delay, the record goes to its tier.
                let why = item.failed.clone().unwrap_or(DeliveryError::Closed);
                self.leave(item, Err(why));
            } else if item.not_before.is_some_and(|at| at > now) {
                self.waiting.push(item);
            } else {
                self.ready_since.get_or_insert(now);
                self.ready.push(item);
            }
        }
        for item in std::mem::take(&mut self.ready) {
            if let Some(why) = self.lane.interruption(&item.delivery) {
                self.leave(item, Err(why));
            } else if spare_lease(self.lane, &item.guard).is_none() {
                self.claim(item);
            } else {
                self.ready.push(item);
            }
        }
        for item in std::mem::take(&mut self.alone) {
            match self.lane.interruption(&item.delivery) {
                Some(why) => self.leave(item, Err(why)),
                None => self.alone.push_back(item),
            }
        }
        if self.ready.is_empty() {
            self.ready_since = None;
        }
    }

    /// The number of records in the batch, and their bytes.
    fn load(&self) -> (usize, usize) {
        let here = self.ready.iter().chain(&self.waiting).map(|item| load(&item.delivery).1);
        here.fold(self.claims, |(items, bytes), more| (items + 1, bytes.saturating_add(more)))
    }

    fn leave(&mut self, mut item: Member, result: Attempted) {
        self.count_failed(&mut item);
        let Member { delivery, key, guard, .. } = item;
        let result = self.lane.with_present_settings(result);
        self.lane.batches.leave(AttemptedDelivery { delivery, key, guard, result });
    }
}

#[cfg(test)]
mod tests;
