//! What is sent to a lane's task.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tokio::sync::mpsc::UnboundedSender;

use crate::delivery::Delivery;

/// A message to a lane's task.
pub enum LaneMessage {
    /// Add these records to the queue, in this order.
    Deliver(Vec<Box<Delivery>>),
    /// Send this record straight to the parking topic, because the lane is full while others flow.
    Park(Box<Delivery>),
    /// Send the queue of live records to the parking topic.
    ParkQueue,
}

/// Leads to a lane's task. A send cannot fail: the task lives as long as the process.
pub struct Inbox {
    sender: UnboundedSender<LaneMessage>,
    /// Whether the lane was told to park its queue and has not done so yet.
    emptying: AtomicBool,
}

impl Inbox {
    pub(super) fn new(sender: UnboundedSender<LaneMessage>) -> Self {
        Self { sender, emptying: AtomicBool::new(false) }
    }

    /// Delivers records that are counted as queued. All of them need one message and wake the lane's thread once.
    pub fn deliver(&self, deliveries: Vec<Box<Delivery>>) {
        let _ = self.sender.send(LaneMessage::Deliver(deliveries));
    }

    /// Parks a record that is counted as set aside.
    pub(super) fn park(&self, delivery: Box<Delivery>) {
        let _ = self.sender.send(LaneMessage::Park(delivery));
    }

    /// Makes the lane send its queue of live records to its parking topic.
    pub fn park_queue(&self) {
        if !self.emptying.swap(true, SeqCst) {
            let _ = self.sender.send(LaneMessage::ParkQueue);
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
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn a_lane_is_told_once_to_park_its_queue_until_it_has_done_so() {
        let (sender, mut task) = unbounded_channel();
        let inbox = Inbox::new(sender);
        let mut told = |inbox: &Inbox| {
            (0..2).for_each(|_| inbox.park_queue());
            (0..3).filter(|_| matches!(task.try_recv(), Ok(LaneMessage::ParkQueue))).count()
        };
        assert_eq!((told(&inbox), inbox.is_emptying(), told(&inbox)), (1, true, 0));
        inbox.emptied();
        assert_eq!((inbox.is_emptying(), told(&inbox)), (false, 1));
    }
}
