//! Memory for long answers, shared by all lanes of the process.
//!
//! An answer that stays short needs none: there are only as many as there are permits. A longer one waits for its room
//! before it is read on, and the connection waits with it. It takes all the room that it may need at once, so that no
//! two answers wait for each other. What it turns out not to need is given back as soon as it is read.

use std::sync::{Arc, LazyLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// An answer of at most so many bytes needs no room.
pub(super) const SHORT: usize = 64 * 1024;
/// What an answer takes once it is parsed, as a multiple of its bytes.
const PARSED: usize = 4;
/// All of the room, in the unit of [`UNIT`].
const ALL: u32 = 96 * 1024;
const UNIT: usize = 1024;

static ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(ALL as usize)));

/// Room for one long answer. It is given back when this is dropped: after the answer is published.
#[derive(Debug)]
pub struct Room(OwnedSemaphorePermit);

impl Room {
    /// Waits for the room of an answer of at most so many bytes.
    pub(super) async fn of(bytes: usize) -> Self {
        Self::within(&ROOM, bytes).await
    }

    async fn within(all: &Arc<Semaphore>, bytes: usize) -> Self {
        loop {
            if let Ok(permit) = all.clone().acquire_many_owned(units(bytes)).await {
                return Self(permit);
            }
            // Nobody closes it.
            tokio::task::yield_now().await;
        }
    }

    /// Gives back what an answer of so many bytes does not need.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.0.num_permits().saturating_sub(units(bytes) as usize);
        drop(self.0.split(surplus));
    }
}

/// Never more than there is.
fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.saturating_mul(PARSED).div_ceil(UNIT)).unwrap_or(ALL).min(ALL)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn a_long_answer_waits_until_others_have_given_back_what_they_do_not_need() {
        let all = Arc::new(Semaphore::new(ALL as usize));
        let mut three = Vec::new();
        for _ in 0..3 {
            three.push(Room::within(&all, 8 * MIB).await);
        }
        let waits = || timeout(Duration::from_millis(20), Room::within(&all, 8 * MIB));
        assert!(waits().await.is_err(), "there is room for three that may have 8 MiB");
        three[0].shrink_to(100 * 1024);
        assert!(waits().await.is_err(), "the first keeps what it has");
        three[1].shrink_to(7 * MIB);
        three.remove(0);
        assert!(waits().await.is_ok());
        three.clear();
        assert_eq!(all.available_permits(), ALL as usize);
        assert_eq!(Room::within(&all, usize::MAX).await.0.num_permits(), ALL as usize, "one answer can always be read");
    }
}
