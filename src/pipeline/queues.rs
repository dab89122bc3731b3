//! What waits for a lane's permits.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::error::DeliveryError;
use crate::pipeline::claim::Key;
use crate::pipeline::delivery::{Delivery, Subject, Visit};

/// Live records and released ones, served in turn: parked work gets every second permit while there is any. Copies of one
/// conversion get one permit between them.
#[derive(Default)]
pub(super) struct Queues {
    live: VecDeque<Box<Delivery>>,
    released: VecDeque<Box<Delivery>>,
    released_next: bool,
    /// Conversions that were handed out and have not ended.
    under_way: HashSet<Key>,
    /// Copies of those: each would only hold a permit until the one before it has ended.
    #[expect(clippy::vec_box, reason = "they stay boxed on their way: moving a delivery is moving a pointer")]
    behind: HashMap<Key, Vec<Box<Delivery>>>,
}

fn key_of(delivery: &Delivery) -> Option<Key> {
    match &delivery.subject {
        Subject::Ready(ready) => Some(ready.applicant.key),
        Subject::Ended(_) => None,
    }
}

impl Queues {
    fn of(&mut self, delivery: &Delivery) -> &mut VecDeque<Box<Delivery>> {
        if delivery.visit == Visit::Input { &mut self.live } else { &mut self.released }
    }

    pub(super) fn push(&mut self, delivery: Box<Delivery>) {
        self.of(&delivery).push_back(delivery);
    }

    fn put_back(&mut self, delivery: Box<Delivery>) {
        self.of(&delivery).push_front(delivery);
    }

    /// The next one for a permit, with what [`Queues::ended`] wants to know of it.
    pub(super) fn next(&mut self) -> Option<(Box<Delivery>, Option<Key>)> {
        loop {
            let delivery = self.pop()?;
            let Some(key) = key_of(&delivery) else { return Some((delivery, None)) };
            if self.under_way.insert(key) {
                return Some((delivery, Some(key)));
            }
            self.behind.entry(key).or_default().push(delivery);
        }
    }

    fn pop(&mut self) -> Option<Box<Delivery>> {
        self.released_next = !self.released_next;
        let (first, second) = if self.released_next {
            (&mut self.released, &mut self.live)
        } else {
            (&mut self.live, &mut self.released)
        };
        first.pop_front().or_else(|| second.pop_front())
    }

    /// What was handed out is settled, or goes `back` to the head; its copies come next.
    pub(super) fn ended(&mut self, key: Option<Key>, back: Option<Box<Delivery>>) {
        if let Some(key) = key {
            self.under_way.remove(&key);
            for copy in self.behind.remove(&key).into_iter().flatten().rev() {
                self.put_back(copy);
            }
        }
        if let Some(delivery) = back {
            self.put_back(delivery);
        }
    }

    /// All live records.
    #[expect(clippy::vec_box, reason = "they stay boxed on their way: moving a delivery is moving a pointer")]
    pub(super) fn take_live(&mut self) -> Vec<Box<Delivery>> {
        let mut out: Vec<_> = self.live.drain(..).collect();
        for copies in self.behind.values_mut() {
            out.extend(copies.extract_if(.., |delivery| delivery.visit == Visit::Input));
        }
        out
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
        for copies in self.behind.values_mut() {
            out.extend(copies.extract_if(.., |delivery| why(delivery).is_some()));
        }
        out
    }
}
