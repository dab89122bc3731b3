//! Copies of one conversion in the same process: the second waits until the first is confirmed or marked.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::claim::rules::Key;

/// The conversions that are in flight in this process. Copies of one conversion take turns.
/// Each has what its other copies wait for, if there are any.
pub(crate) type InFlightKeys = Rc<RefCell<HashMap<Key, Option<Rc<Notify>>>>>;

/// The turn of one copy. When it is dropped, the next copy's turn begins.
pub(crate) struct InFlightKey {
    in_flight_keys: InFlightKeys,
    key: Key,
}

impl Drop for InFlightKey {
    fn drop(&mut self) {
        if let Some(Some(waiting)) = self.in_flight_keys.borrow_mut().remove(&self.key) {
            waiting.notify_waiters();
        }
    }
}

impl InFlightKey {
    /// Waits until no other copy of this conversion is in flight in this process.
    pub(crate) async fn take(in_flight_keys: &InFlightKeys, key: Key) -> Self {
        loop {
            let waiting = match in_flight_keys.borrow_mut().entry(key) {
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(None);
                    return Self { in_flight_keys: in_flight_keys.clone(), key };
                }
                std::collections::hash_map::Entry::Occupied(mut other) => {
                    other.get_mut().get_or_insert_default().clone()
                }
            };
            // There is only one thread, so nothing can end between this check and the registration.
            waiting.notified().await;
        }
    }
}
