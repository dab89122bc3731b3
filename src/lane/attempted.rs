//! What passes between a lane's task and those that it gave a permit or a settle to.

use crate::claim::Held;
use crate::claim::rules::Key;
use crate::delivery::{Delivery, TopicKind};
use crate::settle::Attempted;

/// What came of a record that had a permit, or a share of one.
pub(crate) struct AttemptedDelivery {
    pub(crate) delivery: Box<Delivery>,
    pub(crate) key: Option<Key>,
    pub(crate) held: Option<Held>,
    pub(crate) result: Attempted,
}

/// What was settled, or goes `back` to the lane's head.
pub(crate) struct Settled {
    pub(crate) back: Option<Box<Delivery>>,
    pub(crate) key: Option<Key>,
    pub(crate) topic_kind: TopicKind,
    pub(crate) bytes: usize,
}
