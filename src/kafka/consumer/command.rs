//! What reaches the polling thread over its one channel.

use std::time::Duration;

use super::verdict::{Found, Probed, Surveyed};
use super::work::Work;
use crate::kafka::native::TopicIds;

/// An operator's position for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnblockOrder {
    pub topic: String,
    pub partition: i32,
    /// Where to go on.
    pub to: UnblockTo,
}

/// A position by name or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnblockTo {
    /// The oldest record that is still there.
    Earliest,
    /// The end: what lies before is given up.
    Latest,
    /// This offset.
    At(i64),
}

/// What reaches the polling thread over its one channel.
pub(super) enum Command<W: Work> {
    /// A ack handle came back.
    Done { generation: u64, seq: u64, end: W::End },
    /// The positions of assigned partitions were judged.
    Found(Vec<Found>),
    /// The ids of the topics that are read, as the client of this number was told.
    Identified(u64, TopicIds),
    /// What comes next in partitions whose position was in doubt.
    Probed(Vec<Probed>),
    /// Watermarks and committed offsets of what is assigned.
    Surveyed(Vec<Surveyed>),
    /// Topics that are to be read too.
    Subscribe(Vec<String>),
    /// An operator's order.
    Order(UnblockOrder),
    /// An order was carried out at the broker, or could not be.
    Ordered { generation: u64, result: Result<i64, String> },
    /// Drain, hand back, leave.
    Stop(Duration),
    /// The broker has what was stored before the stop, or will not take it.
    Flushed,
}
