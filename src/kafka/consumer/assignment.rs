//! One partition while it belongs to this member. The polling thread shares it with the code that works on its records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One partition, from the moment it is given to this member until it is given back. If the same partition is given
/// again, that is another assignment.
#[derive(Debug)]
pub struct Assignment {
    pub topic: Arc<str>,
    pub partition: i32,
    /// A number that is never used twice in a process.
    pub generation: u64,
    leaving: AtomicBool,
    gone: AtomicBool,
    unconfirmed: AtomicBool,
}

impl Assignment {
    pub(crate) fn new(topic: Arc<str>, partition: i32, generation: u64) -> Self {
        let [leaving, gone, unconfirmed] = [const { AtomicBool::new(false) }; 3];
        Self { topic, partition, generation, leaving, gone, unconfirmed }
    }

    /// Whether the partition is about to leave: no new work on its records may begin.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Whether the partition was given back or taken away. Another member may be reading it.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Whether the broker confirms no commit of this consumer. Until it does, no record of the partition may be sent.
    pub fn is_unconfirmed(&self) -> bool {
        self.unconfirmed.load(Ordering::Acquire)
    }

    pub(crate) fn set_unconfirmed(&self, unconfirmed: bool) {
        self.unconfirmed.store(unconfirmed, Ordering::Release);
    }

    pub(crate) fn set_leaving(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    pub(crate) fn set_gone(&self) {
        self.leaving.store(true, Ordering::Release);
        self.gone.store(true, Ordering::Release);
    }
}
