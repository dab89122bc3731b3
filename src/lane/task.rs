//! The task of a lane, which owns its queues and its permits: it takes in what other threads send to the lane, gives
//! permits to the records that wait, and has what was attempted settled.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::future::Either;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::delivery::progress::Stage;
use crate::lane::aside::Aside;
use crate::lane::attempted::{AttemptedDelivery, Settled};
use crate::lane::batch::attempt_batch;
use crate::lane::handle::LaneHandle;
use crate::lane::handle::inbox::LaneMessage;
use crate::lane::queue::{HandedOut, Queues};
use crate::lane::seldom::Seldom;
use crate::lane::state::Lane;

/// The most messages that are taken in at once.
const MESSAGES: usize = 256;

/// A boxed attempt of records that share a permit. Each of them leaves separately, so the attempt itself returns none.
type Shared = Pin<Box<dyn Future<Output = Option<AttemptedDelivery>>>>;

/// How much goes on in a lane at once.
struct Permits {
    concurrency: usize,
    /// The records of a batch share one permit.
    shares: bool,
    /// The most records that have a permit or await their confirmation. A record that was accepted and is not yet
    /// confirmed counts too, so that the number of claims is bounded.
    most: usize,
    /// The most replayed records with a permit: those of half of the permits, so that a live record seldom waits for
    /// the end of a replayed one.
    replayed: usize,
}

impl Permits {
    fn of(lane: &Lane) -> Self {
        let (concurrency, items) = (lane.account.limits.concurrency, lane.batches.limits().items);
        let (most, replayed) = (2 * concurrency * items, (concurrency / 2).max(1) * items);
        Self { concurrency, shares: items > 1, most, replayed }
    }
}

/// What comes from outside the lane.
enum FromOutside {
    /// So many messages; none: nobody can send any more.
    Messages(usize),
    Change,
}

/// What gets a permit.
enum Permitted {
    One(HandedOut),
    /// The first records of a batch.
    Batch(Vec<HandedOut>),
}

/// What the task keeps beside its futures.
struct LaneTask {
    /// The lane with its present settings.
    lane: Rc<Lane>,
    handle: Arc<LaneHandle>,
    permits: Permits,
    queues: Queues,
    aside: Aside,
    /// The number of records that have a permit or share one.
    with_permit: usize,
    /// The changes of the lane that were dealt with.
    seen: u64,
    /// Whether some records that wait were prepared with other settings than the present ones.
    some_are_outdated: bool,
}

impl Lane {
    /// Runs the lane for as long as the process lives.
    pub async fn run(self: Rc<Self>, mut inbox: UnboundedReceiver<LaneMessage>) {
        let mut task = LaneTask::new(self);
        let handle = task.handle.clone();
        let mut attempts = FuturesUnordered::new();
        let mut settles = FuturesUnordered::new();
        let mut messages = Vec::new();
        let mut changed = pin!(handle.changes.changed());
        // Most wake-ups are for attempts and settles. With many lanes each look elsewhere would wait for memory.
        let outside = Seldom::new();
        loop {
            task.take_new_settings();
            settles.extend(task.renew_outdated().into_iter().map(|refused| task.lane.clone().take_out(refused)));
            task.set_aside_what_may_not_go_on();
            while let Some(attempted) = task.next_left() {
                settles.push(task.lane.clone().take_out(attempted));
            }
            while let Some(permitted) = task.next_permitted(attempts.len(), settles.len()) {
                let lane = task.lane.clone();
                attempts.push(match permitted {
                    Permitted::One((delivery, key)) => Either::Left(lane.attempt_one(delivery, key)),
                    Permitted::Batch(first) => Either::Right(Box::pin(attempt_batch(lane, first)) as Shared),
                });
            }
            handle.occupancy.in_flight.store(task.with_permit + settles.len(), Relaxed);
            // The order is harmless: each turn takes one of the ready branches, and taking it makes no other branch
            // ready.
            tokio::select! {
                biased;
                Some(attempted) = attempts.next(), if !attempts.is_empty() => {
                    if let Some(attempted) = attempted {
                        task.with_permit -= 1;
                        settles.push(task.lane.clone().take_out(attempted));
                    }
                }
                () = task.lane.batches.turn(), if task.permits.shares || task.lane.batches.are_used() => {}
                Some(settled) = settles.next(), if !settles.is_empty() => task.settled(settled),
                Some((topic_kind, bytes)) = task.aside.next(), if !task.aside.is_idle() => {
                    handle.occupancy.left_aside(topic_kind, bytes);
                }
                came = poll_fn(|cx| outside.poll(cx, |cx| {
                    match inbox.poll_recv_many(cx, &mut messages, MESSAGES) {
                        Poll::Ready(taken) => Poll::Ready(FromOutside::Messages(taken)),
                        Poll::Pending => changed.as_mut().poll(cx).map(|()| FromOutside::Change),
                    }
                })) => match came {
                    FromOutside::Messages(0) => return,
                    FromOutside::Messages(_) => messages.drain(..).for_each(|message| task.take_in(message)),
                    // It is made before the changes are counted, so that none in between is missed.
                    FromOutside::Change => changed.set(handle.changes.changed()),
                },
            }
        }
    }
}

impl LaneTask {
    fn new(lane: Rc<Lane>) -> Self {
        let permits = Permits::of(&lane);
        let handle = lane.handle.clone();
        Self {
            queues: Queues::new(permits.replayed),
            seen: handle.changes.count(),
            lane,
            handle,
            permits,
            aside: Aside::default(),
            with_permit: 0,
            some_are_outdated: false,
        }
    }

    /// Goes on with the latest settings.
    fn take_new_settings(&mut self) {
        while let Some(new) = self.lane.replaced_by().cloned() {
            self.lane = new;
            self.permits = Permits::of(&self.lane);
            self.queues.set_most_replayed(self.permits.replayed);
            self.some_are_outdated = true;
        }
    }

    /// Prepares the records that wait with the present settings. Returns those that the settings refuse.
    fn renew_outdated(&mut self) -> Vec<AttemptedDelivery> {
        if std::mem::take(&mut self.some_are_outdated) { self.lane.renew(&mut self.queues) } else { Vec::new() }
    }

    /// Sets aside the records that wait and may not go on: because the lane is closed, or because their partition
    /// leaves.
    fn set_aside_what_may_not_go_on(&mut self) {
        let lane = &self.lane;
        let touched = std::mem::replace(&mut self.seen, self.handle.changes.count()) != self.seen;
        if touched {
            self.aside.give_back(lane);
        }
        if touched || !self.handle.is_open() {
            for delivery in self.queues.take_out(|d| lane.shut_out(d)) {
                self.aside.take(lane, delivery);
            }
        }
        self.aside.go_on(lane);
    }

    /// The next record that has left its batch. It has no permit any more.
    fn next_left(&mut self) -> Option<AttemptedDelivery> {
        let attempted = self.lane.batches.next_left()?;
        self.with_permit -= 1;
        Some(attempted)
    }

    /// How many more records may have a permit.
    fn places(&self, settles: usize) -> usize {
        self.permits.most.saturating_sub(self.with_permit + settles)
    }

    /// Lets waiting records join the batches that wait for their slot, and gives out the next permit.
    fn next_permitted(&mut self, attempts: usize, settles: usize) -> Option<Permitted> {
        let lane = &self.lane;
        if self.permits.shares {
            let most = self.places(settles);
            self.with_permit += lane.batches.join(&mut self.queues, most, |delivery| lane.got_permit(delivery));
        }
        let places = self.places(settles);
        if attempts >= self.permits.concurrency.min(self.handle.breaker.ramp_permits()) || places == 0 {
            return None;
        }
        if !self.permits.shares {
            let next = self.queues.next()?;
            self.with_permit += 1;
            lane.got_permit(&next.0);
            return Some(Permitted::One(next));
        }
        let first = lane.batches.next(&mut self.queues, places);
        self.with_permit += first.len();
        first.iter().for_each(|(delivery, _)| lane.got_permit(delivery));
        (!first.is_empty()).then_some(Permitted::Batch(first))
    }

    /// Ends the permit of a record that is settled, or queues it again if it goes back.
    fn settled(&mut self, Settled { back, key, topic_kind, bytes }: Settled) {
        if let Some(delivery) = &back {
            delivery.ack.open().set_stage(Stage::Queued);
            self.handle.occupancy.enqueued(delivery);
            self.some_are_outdated |= self.lane.is_outdated(delivery);
        }
        self.queues.ended(key, back);
        self.handle.occupancy.permit_ended(topic_kind, bytes);
    }

    /// Takes what is sent to the lane.
    fn take_in(&mut self, message: LaneMessage) {
        let lane = &self.lane;
        match message {
            LaneMessage::Deliver(deliveries) => {
                for mut delivery in deliveries {
                    let is_kept = self.handle.holds_back(&delivery) && !lane.is_overdue(&delivery);
                    if !is_kept && delivery.probe.is_none() && !self.handle.is_open() {
                        delivery.probe = self.handle.take_probe(delivery.topic_kind);
                    }
                    if is_kept || lane.shut_out(&delivery).is_some() {
                        self.aside.take(lane, delivery);
                    } else {
                        delivery.ack.open().set_stage(Stage::Queued);
                        self.some_are_outdated |= lane.is_outdated(&delivery);
                        self.queues.push(delivery);
                    }
                }
            }
            LaneMessage::Park(delivery) => self.aside.push(lane, delivery),
            LaneMessage::ParkQueue => {
                for delivery in self.queues.take_live() {
                    self.aside.take(lane, delivery);
                }
                self.handle.inbox.emptied();
            }
        }
    }
}
