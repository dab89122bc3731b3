//! What waits for a lane's permits.

use std::collections::VecDeque;

use crate::error::DeliveryError;
use crate::pipeline::delivery::{Delivery, Visit};

/// Live records and released ones, served in turn: parked work gets every second permit while there is any.
#[derive(Default)]
pub(super) struct Queues {
    live: VecDeque<Box<Delivery>>,
    released: VecDeque<Box<Delivery>>,
    released_next: bool,
}

impl Queues {
    fn of(&mut self, delivery: &Delivery) -> &mut VecDeque<Box<Delivery>> {
        if delivery.visit == Visit::Input { &mut self.live } else { &mut self.released }
    }

    pub(super) fn push(&mut self, delivery: Box<Delivery>) {
        self.of(&delivery).push_back(delivery);
    }

    pub(super) fn put_back(&mut self, delivery: Box<Delivery>) {
        self.of(&delivery).push_front(delivery);
    }

    pub(super) fn next(&mut self) -> Option<Box<Delivery>> {
        self.released_next = !self.released_next;
        let (first, second) = if self.released_next {
            (&mut self.released, &mut self.live)
        } else {
            (&mut self.live, &mut self.released)
        };
        first.pop_front().or_else(|| second.pop_front())
    }

    #[expect(clippy::vec_box, reason = "they stay boxed on their way: moving a delivery is moving a pointer")]
    pub(super) fn take_out(&mut self, why: impl Fn(&Delivery) -> Option<DeliveryError>) -> Vec<Box<Delivery>> {
        let mut out = Vec::new();
        for queue in [&mut self.live, &mut self.released] {
            let mut kept = VecDeque::with_capacity(queue.len());
            for delivery in queue.drain(..) {
                if why(&delivery).is_some() {
                    out.push(delivery);
                } else {
                    kept.push_back(delivery);
                }
            }
            *queue = kept;
        }
        out
    }
}
