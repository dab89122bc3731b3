//! One partition while it is this member's, as the polling thread and whoever works on its records share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One partition, from the moment it is given to this member until it is handed back. The same partition given again
/// is another assignment.
#[derive(Debug)]
pub struct Assignment {
    pub topic: Arc<str>,
    pub partition: i32,
    /// Never used twice in a process.
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

    /// Nothing more of it may be started.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// It was handed back, or taken away: another member may be reading it.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// The broker confirms no commit of this consumer: nothing of it may be sent until it does.
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
