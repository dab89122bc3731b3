//! The records that a lane has to park. A bounded number of copies is on its way to Kafka at once; the others wait.

use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::delivery::{Delivery, TopicKind};
use crate::lane::handle::occupancy::caps::PARKS;
use crate::lane::state::Lane;
use crate::metrics::LaneState;
use crate::settle::give_back;

/// A record that is no longer set aside: its kind and its bytes.
type Left = (TopicKind, usize);

/// The records that are set aside. They are apart from the lane's settles, so that many parked records take no permits.
#[derive(Default)]
pub(super) struct Aside {
    waiting: VecDeque<Box<Delivery>>,
    parks: FuturesUnordered<Pin<Box<dyn Future<Output = Left>>>>,
}

impl Aside {
    /// Sets aside a record from the lane's queue.
    pub(super) fn take(&mut self, lane: &Rc<Lane>, delivery: Box<Delivery>) {
        lane.handle.occupancy.set_aside(delivery.topic_kind, delivery.record.size());
        lane.handle.occupancy.dequeued(&delivery);
        self.push(lane, delivery);
    }

    /// Sets aside a record that is counted as set aside already.
    pub(super) fn push(&mut self, lane: &Rc<Lane>, mut delivery: Box<Delivery>) {
        // The record will not be sent, so another probe may begin.
        delivery.probe = None;
        if needs_kafka(lane, &delivery) {
            self.waiting.push_back(delivery);
        } else {
            // This record needs no write, so it does not wait for a topic that may refuse writes.
            self.parks.push(Box::pin(put_aside(lane.clone(), delivery)));
        }
    }

    /// Whether no copy is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.parks.is_empty()
    }

    /// Starts as many copies as may be on their way at once.
    pub(super) fn go_on(&mut self, lane: &Rc<Lane>) {
        while self.parks.len() < PARKS
            && let Some(delivery) = self.waiting.pop_front()
        {
            self.parks.push(Box::pin(put_aside(lane.clone(), delivery)));
        }
    }

    /// Gives back the waiting records whose partitions leave.
    pub(super) fn give_back(&mut self, lane: &Rc<Lane>) {
        for delivery in std::mem::take(&mut self.waiting) {
            self.push(lane, delivery);
        }
    }

    /// Waits for the next record that is no longer set aside.
    pub(super) async fn next(&mut self) -> Option<Left> {
        self.parks.next().await
    }
}

fn needs_kafka(lane: &Lane, delivery: &Delivery) -> bool {
    let is_written = delivery.topic_kind != TopicKind::Parked || lane.handle.holds_back(delivery);
    is_written && !delivery.ack.assignment().is_leaving()
}

/// Whether a record goes to the remainder of its account. While the lane is closed new ones are parked all the same,
/// and are judged when it opens.
fn waits_for_its_share(lane: &Lane, delivery: &Delivery) -> bool {
    (lane.handle.is_open() || delivery.topic_kind == TopicKind::Parked) && lane.handle.holds_back(delivery)
}

/// Parks a queued record, or gives it back if its partition leaves. A queued record holds no claim.
async fn put_aside(lane: Rc<Lane>, delivery: Box<Delivery>) -> Left {
    let left = (delivery.topic_kind, delivery.record.size());
    if delivery.ack.assignment().is_leaving() {
        give_back(delivery);
    } else if waits_for_its_share(&lane, &delivery) {
        lane.outbox.hold_back(delivery).await;
    } else {
        match lane.handle.state() {
            LaneState::Halted | LaneState::Broken => lane.outbox.park_broken(delivery, None).await,
            LaneState::Flowing | LaneState::Throttled | LaneState::Paused => lane.outbox.park(delivery, None).await,
        }
    }
    left
}
