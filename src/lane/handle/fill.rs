//! How full a lane is: what it queues, what it has set aside for parking, and what it may.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use crate::delivery::{Delivery, Visit};
use crate::lane::handle::{LaneHandle, ToLane};

/// One of a lane's two queues, counted.
#[derive(Default)]
pub struct Fill {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

impl Fill {
    /// One more, of so many bytes.
    pub fn add(&self, bytes: usize) {
        self.records.fetch_add(1, SeqCst);
        self.bytes.fetch_add(bytes, SeqCst);
    }

    /// One less.
    pub fn sub(&self, bytes: usize) {
        self.records.fetch_sub(1, SeqCst);
        self.bytes.fetch_sub(bytes, SeqCst);
    }

    /// Records counted.
    pub fn records(&self) -> usize {
        self.records.load(SeqCst)
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.load(SeqCst)
    }
}

impl LaneHandle {
    fn fill(&self, visit: Visit) -> &Fill {
        if visit == Visit::Input { &self.live } else { &self.released }
    }

    fn aside_of(&self, visit: Visit) -> &Fill {
        if visit == Visit::Input { &self.aside } else { &self.aside_released }
    }

    /// Counts a record into the queue of its kind, before it is delivered.
    pub fn enqueued(&self, delivery: &Delivery) {
        let bytes = delivery.record.size();
        self.fill(delivery.visit).add(bytes);
        if delivery.visit == Visit::Parked {
            self.parked.add(bytes);
        }
        self.move_released(delivery.visit, |held| held.add(bytes));
    }

    /// Hands over what was enqueued; one message, and one wake of its thread, for all.
    pub fn deliver(&self, deliveries: Vec<Box<Delivery>>) {
        // The task lives as long as the process.
        let _ = self.inbox.send(ToLane::Deliver(deliveries));
    }

    /// Sends a record to parking.
    pub fn park(&self, delivery: Box<Delivery>) {
        self.set_aside(delivery.visit, delivery.record.size());
        let _ = self.inbox.send(ToLane::Park(delivery));
    }

    /// Sends to parking what waits in the queue of live records.
    pub fn park_queue(&self) {
        if !self.emptying.swap(true, SeqCst) {
            let _ = self.inbox.send(ToLane::ParkQueue);
        }
    }

    /// Whether it was told to park its queue and has not done so yet.
    pub fn is_emptying(&self) -> bool {
        self.emptying.load(SeqCst)
    }

    /// Its queue is set aside.
    pub fn emptied(&self) {
        self.emptying.store(false, SeqCst);
    }

    /// A record is to be parked.
    pub fn set_aside(&self, visit: Visit, bytes: usize) {
        self.move_aside(visit, |aside| aside.add(bytes));
    }

    /// What was set aside has its copy, or was given back.
    pub fn left_aside(&self, visit: Visit, bytes: usize) {
        self.move_aside(visit, |aside| aside.sub(bytes));
    }

    fn move_aside(&self, visit: Visit, by: impl Fn(&Fill)) {
        by(self.aside_of(visit));
        if let Some(all) = self.all.get() {
            by(all.aside_of(visit));
        }
    }

    /// A record left the queue.
    pub fn dequeued(&self, delivery: &Delivery) {
        let bytes = delivery.record.size();
        self.fill(delivery.visit).sub(bytes);
        if delivery.visit == Visit::Parked {
            self.parked.sub(bytes);
        }
        self.move_released(delivery.visit, |held| held.sub(bytes));
    }

    /// A record got a permit.
    pub fn walks(&self, visit: Visit, bytes: usize) {
        self.move_released(visit, |held| held.add(bytes));
    }

    /// Its walk is settled.
    pub fn walked(&self, visit: Visit, bytes: usize) {
        self.move_released(visit, |held| held.sub(bytes));
    }

    /// Whether the queue of this kind has no room.
    pub fn is_full(&self, visit: Visit) -> bool {
        self.is_above(visit, 1, 1)
    }

    /// Whether the queue of this kind, with what is set aside of it for parking, holds at least `part` of `whole` of its
    /// cap.
    pub fn is_above(&self, visit: Visit, part: usize, whole: usize) -> bool {
        let aside = self.aside_of(visit);
        let above = |queue: &Fill, cap: usize, cap_bytes: usize| {
            queue.records() + aside.records() >= cap * part / whole
                || queue.bytes() + aside.bytes() >= cap_bytes * part / whole
        };
        // A backlog that drains leaves half to retries, which have their time.
        let parked = visit == Visit::Parked && above(&self.parked, self.cap / 2, self.cap_bytes / 2);
        parked || above(self.fill(visit), self.cap, self.cap_bytes)
    }

    /// Whether it can be given more to park. Not so where its parking topic takes nothing.
    pub fn can_park(&self, visit: Visit) -> bool {
        !self.is_aside_above(visit, 1, 1)
    }

    /// Whether it has at least `part` of `whole` set aside of what it may, and of what other lanes leave it. All that a closed
    /// lane queues is to be parked.
    pub fn is_aside_above(&self, visit: Visit, part: usize, whole: usize) -> bool {
        let aside = self.aside_of(visit);
        let (mut records, mut bytes) = (aside.records(), aside.bytes());
        if !self.is_open() {
            records += self.fill(visit).records();
            bytes += self.fill(visit).bytes();
        }
        let cap = if visit == Visit::Input { self.aside_cap } else { self.aside_cap_released };
        let left = self.aside_left(visit);
        let above = |held: usize, most: usize| most == 0 || held >= (most * part / whole).max(1);
        above(records, cap.0.min(left.0)) || above(bytes, cap.1.min(left.1))
    }
}
