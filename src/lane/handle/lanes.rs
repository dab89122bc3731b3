//! All lanes of the process, as other threads see them.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

use crate::delivery::Delivery;
use crate::lane::handle::LaneHandle;
use crate::lane::handle::fill::All;

/// All lanes, and the outboxes for records that end without a lane.
pub struct Lanes {
    pub(super) lanes: Vec<Arc<LaneHandle>>,
    /// What all lanes hold together.
    pub(super) all: Arc<All>,
    outboxes: Vec<UnboundedSender<Box<Delivery>>>,
}

impl Lanes {
    /// Takes the lanes in the order of [`lanes`](crate::account::lanes), and one outbox for each runtime thread.
    pub fn new(lanes: Vec<Arc<LaneHandle>>, outboxes: Vec<UnboundedSender<Box<Delivery>>>) -> Self {
        let all = Arc::<All>::default();
        // A lane belongs to one `Lanes` only, so a second call would change nothing.
        lanes.iter().for_each(|lane| drop(lane.all.set(all.clone())));
        Self { lanes, all, outboxes }
    }

    pub fn get(&self, index: usize) -> &Arc<LaneHandle> {
        &self.lanes[index]
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<LaneHandle>> {
        self.lanes.iter()
    }

    /// The first lane of each account, in the order of the accounts.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<LaneHandle>> {
        self.lanes.iter().filter(|lane| lane.index == lane.account_index)
    }

    /// Settles a delivery that ended at admission.
    pub fn end(&self, delivery: Box<Delivery>) {
        let outbox = delivery.record.partition.unsigned_abs() as usize % self.outboxes.len();
        let _ = self.outboxes[outbox].send(delivery);
    }

    /// Calls [`LaneHandle::touch`] on every lane.
    pub fn touch_all(&self) {
        self.lanes.iter().for_each(|l| l.touch());
    }
}
