//! How full a lane is: the records in its queues, the records that are set aside for parking, and the limits of both.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::delivery::{Delivery, TopicKind};
use crate::lane::handle::fill::Fill;
use crate::lane::handle::{LaneHandle, LaneMessage};

impl LaneHandle {
    fn fill(&self, topic_kind: TopicKind) -> &Fill {
        if topic_kind == TopicKind::Input { &self.live } else { &self.released }
    }

    /// Counts a record into the queue of its kind. The caller delivers it afterwards.
    pub fn enqueued(&self, delivery: &Delivery) {
        let bytes = delivery.record.size();
        self.fill(delivery.topic_kind).add(bytes);
        if delivery.topic_kind == TopicKind::Parked {
            self.parked.add(bytes);
        }
        self.move_released(delivery.topic_kind, |count| count.add(bytes));
    }

    /// Delivers records that were counted with `enqueued`. All of them need one message and wake the lane's thread
    /// once.
    pub fn deliver(&self, deliveries: Vec<Box<Delivery>>) {
        // The send cannot fail: the lane's task lives as long as the process.
        let _ = self.inbox.send(LaneMessage::Deliver(deliveries));
    }

    /// Sends a record to the lane's parking topic.
    pub fn park(&self, delivery: Box<Delivery>) {
        self.set_aside(delivery.topic_kind, delivery.record.size());
        let _ = self.inbox.send(LaneMessage::Park(delivery));
    }

    /// Makes the lane send its queue of live records to its parking topic.
    pub fn park_queue(&self) {
        if !self.emptying.swap(true, SeqCst) {
            let _ = self.inbox.send(LaneMessage::ParkQueue);
        }
    }

    /// Whether the lane was told to park its queue and has not done so yet.
    pub fn is_emptying(&self) -> bool {
        self.emptying.load(SeqCst)
    }

    /// Reports that the queue is set aside for parking.
    pub fn emptied(&self) {
        self.emptying.store(false, SeqCst);
    }

    /// Counts a record as set aside for parking.
    pub fn set_aside(&self, topic_kind: TopicKind, bytes: usize) {
        self.move_aside(topic_kind, |aside| aside.add(bytes));
    }

    /// Reports that a record which was set aside has its copy, or was given back.
    pub fn left_aside(&self, topic_kind: TopicKind, bytes: usize) {
        self.move_aside(topic_kind, |aside| aside.sub(bytes));
    }

    fn move_aside(&self, topic_kind: TopicKind, by: impl Fn(&Fill)) {
        by(self.aside.of(topic_kind));
        if let Some(all) = self.all.get() {
            by(all.aside.of(topic_kind));
        }
    }

    /// Counts a record out of its queue.
    pub fn dequeued(&self, delivery: &Delivery) {
        let bytes = delivery.record.size();
        self.fill(delivery.topic_kind).sub(bytes);
        if delivery.topic_kind == TopicKind::Parked {
            self.parked.sub(bytes);
        }
        self.move_released(delivery.topic_kind, |count| count.sub(bytes));
    }

    /// Counts a record that got a permit, from here until its attempt is settled.
    pub fn got_permit(&self, topic_kind: TopicKind, bytes: usize) {
        self.move_released(topic_kind, |count| count.add(bytes));
    }

    /// Stops counting a record whose attempt is settled.
    pub fn permit_ended(&self, topic_kind: TopicKind, bytes: usize) {
        self.move_released(topic_kind, |count| count.sub(bytes));
    }

    /// Whether the queue of this kind has no room.
    pub fn is_full(&self, topic_kind: TopicKind) -> bool {
        self.is_above(topic_kind, 1, 1)
    }

    /// Whether the queue of this kind, together with its records that are set aside for parking, holds at least
    /// `part`/`whole` of its cap.
    pub fn is_above(&self, topic_kind: TopicKind, part: usize, whole: usize) -> bool {
        let aside = self.aside.of(topic_kind);
        let above = |queue: &Fill, cap: usize, cap_bytes: usize| {
            queue.records() + aside.records() >= cap * part / whole
                || queue.bytes() + aside.bytes() >= cap_bytes * part / whole
        };
        // A backlog from the parking topic that drains leaves half of the room to retries, which have a due time.
        let (cap, cap_bytes) = (self.caps.queue.load(Relaxed), self.caps.queue_bytes);
        let parked = topic_kind == TopicKind::Parked && above(&self.parked, cap / 2, cap_bytes / 2);
        parked || above(self.fill(topic_kind), cap, cap_bytes)
    }

    /// Whether the lane can be given more records to park. It cannot if its parking topic takes nothing.
    pub fn can_park(&self, topic_kind: TopicKind) -> bool {
        !self.is_aside_above(topic_kind, 1, 1)
    }

    /// Whether the lane has set aside at least `part`/`whole` of what it may, and of what other lanes leave it. The
    /// whole queue of a closed lane counts, because it is going to be parked.
    pub fn is_aside_above(&self, topic_kind: TopicKind, part: usize, whole: usize) -> bool {
        let aside = self.aside.of(topic_kind);
        let (mut records, mut bytes) = (aside.records(), aside.bytes());
        if !self.is_open() {
            records += self.fill(topic_kind).records();
            bytes += self.fill(topic_kind).bytes();
        }
        let caps = &self.caps;
        let cap = match topic_kind {
            TopicKind::Input => (caps.aside.load(Relaxed), caps.aside_bytes),
            TopicKind::Tier | TopicKind::Parked => (caps.aside_released.load(Relaxed), caps.aside_released_bytes),
        };
        let left = self.aside_left(topic_kind);
        let above = |count: usize, most: usize| most == 0 || count >= (most * part / whole).max(1);
        above(records, cap.0.min(left.0)) || above(bytes, cap.1.min(left.1))
    }
}
