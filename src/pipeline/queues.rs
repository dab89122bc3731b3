//! What waits for a lane's permits.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::error::DeliveryError;
use crate::pipeline::claim::Key;
use crate::pipeline::delivery::{Delivery, Subject, Visit};

/// Live records and released ones, served in turn: parked work gets every second permit while there is any. Of the released
/// ones those from tiers come first: they have their time, and a parking backlog may be long. Copies of one conversion get
/// one permit between them.
#[derive(Default)]
pub(super) struct Queues {
    live: VecDeque<Box<Delivery>>,
    due: VecDeque<Box<Delivery>>,
    parked: VecDeque<Box<Delivery>>,
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
        match delivery.visit {
            Visit::Input => &mut self.live,
            Visit::Tier => &mut self.due,
            Visit::Parked => &mut self.parked,
        }
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
        let Self { live, due, parked, released_next, .. } = self;
        if *released_next {
            due.pop_front().or_else(|| parked.pop_front()).or_else(|| live.pop_front())
        } else {
            live.pop_front().or_else(|| due.pop_front()).or_else(|| parked.pop_front())
        }
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
        for queue in [&mut self.live, &mut self.due, &mut self.parked] {
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
