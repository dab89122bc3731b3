//! The records that the present polls brought, until they are handed to their lanes.

use crate::delivery::Delivery;

/// This many records for one lane are delivered to it together. Waking the lane for each record would cost more; with
/// larger groups the lane would start late and look full meanwhile.
pub(super) const HAND_OVER: usize = 16;

/// The records that wait to be handed over. The end of a batch of polls asks only for the lanes that have some.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "a delivery moves as one pointer from admission to its end")]
pub(super) struct Arrived {
    /// By the index of the lane.
    records: Vec<Vec<Box<Delivery>>>,
    /// The lanes that have records. One stands here twice if some of its records were handed over before.
    lanes: Vec<usize>,
}

#[expect(clippy::vec_box, reason = "a delivery moves as one pointer from admission to its end")]
impl Arrived {
    /// Adds a record. Returns what is to be handed over at once, if that is enough.
    pub(super) fn push(&mut self, lane: usize, delivery: Box<Delivery>) -> Option<Vec<Box<Delivery>>> {
        if self.records.len() <= lane {
            // Lanes may be added at any time.
            self.records.resize_with(lane + 1, Vec::new);
        }
        let records = &mut self.records[lane];
        if records.is_empty() {
            self.lanes.push(lane);
        }
        records.push(delivery);
        (records.len() >= HAND_OVER).then(|| std::mem::take(records))
    }

    /// Takes all records, each lane's together.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (usize, Vec<Box<Delivery>>)> {
        let Self { records, lanes } = self;
        let all = lanes.drain(..).map(|lane| (lane, std::mem::take(&mut records[lane])));
        all.filter(|(_, records)| !records.is_empty())
    }
}
