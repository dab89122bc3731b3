//! What a lane has to park: so many copies on their way to Kafka at once, the rest waits.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::delivery::{Delivery, TopicKind};
use crate::lane::handle::PARKS;
use crate::lane::state::Lane;
use crate::settle::give_back;

/// What left: its kind and its bytes.
type Left = (TopicKind, usize);

/// Apart from the settles of its lane, so that a flood of parking takes no permit.
#[derive(Default)]
pub(super) struct Aside {
    waiting: VecDeque<Box<Delivery>>,
    parks: FuturesUnordered<Pin<Box<dyn Future<Output = Left>>>>,
}

impl Aside {
    /// Takes a record out of its lane's queue.
    pub(super) fn take(&mut self, lane: &Rc<Lane>, delivery: Box<Delivery>) {
        lane.handle.set_aside(delivery.topic_kind, delivery.record.size());
        lane.handle.dequeued(&delivery);
        self.push(lane, delivery);
    }

    /// Takes a record that is counted as set aside.
    pub(super) fn push(&mut self, lane: &Rc<Lane>, mut delivery: Box<Delivery>) {
        // It is not sent: another may be tried.
        delivery.trial = None;
        if needs_kafka(&delivery) {
            self.waiting.push_back(delivery);
        } else {
            // It does not wait for what its topic may not take.
            self.parks.push(Box::pin(put_aside(lane.clone(), delivery)));
        }
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.parks.is_empty()
    }

    /// Starts as many as may go at once.
    pub(super) fn go_on(&mut self, lane: &Rc<Lane>) {
        while self.parks.len() < PARKS
            && let Some(delivery) = self.waiting.pop_front()
        {
            self.parks.push(Box::pin(put_aside(lane.clone(), delivery)));
        }
    }

    /// Gives back what waits and whose partition leaves.
    pub(super) fn give_back(&mut self, lane: &Rc<Lane>) {
        for delivery in std::mem::take(&mut self.waiting) {
            self.push(lane, delivery);
        }
    }

    /// The next that is aside no more.
    pub(super) async fn next(&mut self) -> Option<Left> {
        self.parks.next().await
    }
}

fn needs_kafka(delivery: &Delivery) -> bool {
    delivery.topic_kind != TopicKind::Parked && !delivery.ack.assignment().is_leaving()
}

/// A queued record holds no claim: it parks, or is dropped where its partition leaves.
async fn put_aside(lane: Rc<Lane>, delivery: Box<Delivery>) -> Left {
    let left = (delivery.topic_kind, delivery.record.size());
    if delivery.ack.assignment().is_leaving() {
        give_back(delivery);
    } else {
        lane.outbox.park(delivery, None).await;
    }
    left
}
