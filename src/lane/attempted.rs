//! What a lane's task gets back from the attempts and settles that it started.

use crate::claim::ClaimGuard;
use crate::claim::rules::Key;
use crate::delivery::{Delivery, TopicKind};
use crate::settle::Attempted;

/// The result of a record that had a permit or shared one.
pub(crate) struct AttemptedDelivery {
    pub(crate) delivery: Box<Delivery>,
    pub(crate) key: Option<Key>,
    pub(crate) guard: Option<ClaimGuard>,
    pub(crate) result: Attempted,
}

/// The end of a settle. `back` is a record that goes back to the lane's head instead.
pub(crate) struct Settled {
    pub(crate) back: Option<Box<Delivery>>,
    pub(crate) key: Option<Key>,
    pub(crate) topic_kind: TopicKind,
    pub(crate) bytes: usize,
}
