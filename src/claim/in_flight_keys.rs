//! Copies of one conversion in one process: the second waits for the first's confirm or mark.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::claim::rules::Key;

/// Copies of one conversion take turns within a process.
pub(crate) type InFlightKeys = Rc<RefCell<HashMap<Key, Rc<Notify>>>>;

/// The turn of one of them; the next one's comes when it is dropped.
pub(crate) struct InFlightKey {
    turns: InFlightKeys,
    key: Key,
}

impl Drop for InFlightKey {
    fn drop(&mut self) {
        if let Some(waiting) = self.turns.borrow_mut().remove(&self.key) {
            waiting.notify_waiters();
        }
    }
}

impl InFlightKey {
    /// Waits for the copies of this conversion that are under way in this process.
    pub(crate) async fn take(turns: &InFlightKeys, key: Key) -> Self {
        loop {
            let waiting = match turns.borrow_mut().entry(key) {
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(Rc::new(Notify::new()));
                    return Self { turns: turns.clone(), key };
                }
                std::collections::hash_map::Entry::Occupied(other) => other.get().clone(),
            };
            // Single-threaded: nothing can end between the look and the registration.
            waiting.notified().await;
        }
    }
}
