//! The commands that reach the polling thread over its one channel.

use std::time::Duration;

use super::start_decision::{Found, Probed, Surveyed};
use super::work::Work;
use crate::kafka::native::TopicIds;

/// An operator's order that sets the position of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnblockOrder {
    pub topic: String,
    pub partition: i32,
    /// Where the partition continues.
    pub to: UnblockTo,
}

/// A position by name or by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnblockTo {
    /// The oldest record that is still there.
    Earliest,
    /// The end. The records before it are given up.
    Latest,
    /// This offset.
    At(i64),
}

/// A command for the polling thread.
pub(super) enum Command<W: Work> {
    /// An ack handle was completed.
    Done { generation: u64, seq: u64, end: W::End },
    /// The positions of assigned partitions were judged.
    Found(Vec<Found>),
    /// The ids of the topics that are read, as the client with this number received them.
    Identified(u64, TopicIds),
    /// What comes next in partitions whose position was in doubt.
    Probed(Vec<Probed>),
    /// The ends and committed offsets of assigned partitions.
    Surveyed(Vec<Surveyed>),
    /// Further topics to read.
    Subscribe(Vec<String>),
    /// An operator's order.
    Order(UnblockOrder),
    /// An order was carried out at the broker, or failed.
    Ordered { generation: u64, result: Result<i64, String> },
    /// Drain, give the partitions back, leave the group.
    Stop(Duration),
    /// The broker has the positions that were stored before the stop, or refuses them.
    Flushed,
}
