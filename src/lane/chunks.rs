//! The chunks of a call, which make one result together, and what is kept of them between two visits.
//!
//! Without that a platform that throttles after every few requests would be asked for the first chunks again and again,
//! and never for the last one. What is kept may be personal data, so it stays in this process: a call that another
//! replica takes up, or the same one after a restart, begins with its first chunk.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::claim::rules::{ClaimRequest, Key};
use crate::platforms::call::CallAnswer;

/// What one lane keeps at most: calls, their bytes together, and for how long.
const MOST_CALLS: usize = 64;
const MOST_BYTES: usize = 4 << 20;
const LONGEST: Duration = Duration::from_secs(3600);

/// About what an item takes beside its texts.
const ITEM: usize = 64;

/// What the chunks of a call have brought so far.
#[derive(Default)]
pub(super) struct Chunks {
    pub(super) done: u64,
    pub(super) began_ms: Option<i64>,
    /// `None`: the answer to one of them was too long.
    pub(super) answer: Option<CallAnswer>,
}

impl Chunks {
    pub(super) fn add(&mut self, answer: Option<CallAnswer>, began_ms: i64) {
        self.began_ms.get_or_insert(began_ms);
        let is_first = self.done == 0;
        self.done += 1;
        let Some(next) = answer else { return self.answer = None };
        match &mut self.answer {
            Some(all) => {
                all.items.get_or_insert_default().extend(next.items.unwrap_or_default());
                (all.code, all.message, all.personal) = (next.code, next.message, next.personal);
            }
            None if is_first => self.answer = Some(CallAnswer { data: Value::Null, ..next }),
            // One before it was too long, so the result is too large whatever follows.
            None => {}
        }
    }

    fn bytes(&self) -> usize {
        let items = self.answer.iter().flat_map(|answer| answer.items.iter().flatten());
        items.map(|item| ITEM + item.message.len() + item.data.to_string().len()).sum()
    }
}

/// The chunks of calls that wait for another visit.
#[derive(Default)]
pub(super) struct KeptChunks(RefCell<VecDeque<Kept>>);

struct Kept {
    key: Key,
    /// A replayed call is another one.
    origin: Box<str>,
    chunks: Chunks,
    bytes: usize,
    until: Instant,
}

impl KeptChunks {
    /// Takes what the visits of this call have brought; nothing is kept of it any more.
    pub(super) fn take(&self, call: &ClaimRequest) -> Chunks {
        let mut all = self.0.borrow_mut();
        all.retain(|kept| kept.until > Instant::now());
        let at = all.iter().position(|kept| kept.key == call.key && kept.origin == call.origin);
        at.and_then(|at| all.remove(at)).map(|kept| kept.chunks).unwrap_or_default()
    }

    /// Keeps what a visit has brought. What has waited longest makes room for it.
    pub(super) fn keep(&self, call: &ClaimRequest, chunks: Chunks) {
        let bytes = chunks.bytes();
        if chunks.done == 0 || bytes > MOST_BYTES {
            return;
        }
        let mut all = self.0.borrow_mut();
        let is_full = |all: &VecDeque<Kept>| {
            all.len() >= MOST_CALLS || all.iter().map(|kept| kept.bytes).sum::<usize>() + bytes > MOST_BYTES
        };
        while is_full(&all) {
            all.pop_front();
        }
        let until = Instant::now() + LONGEST;
        all.push_back(Kept { key: call.key, origin: call.origin.clone(), chunks, bytes, until });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::claim::rules::Spare;
    use crate::platforms::call::{ItemResult, ItemStatus};

    fn call(n: u8) -> ClaimRequest {
        ClaimRequest {
            key: Key([n; 16]),
            origin: "in:0:1".into(),
            fingerprint: 0,
            own: 0,
            in_doubt: false,
            spare: Spare::None,
            force: false,
            possible: 0,
        }
    }

    fn chunks(text: &str) -> Chunks {
        let item = ItemResult {
            index: 0,
            auth_id: None,
            status: ItemStatus::Ok,
            code: String::new(),
            message: String::new(),
            data: json!(text),
        };
        let mut chunks = Chunks::default();
        chunks.add(Some(CallAnswer { items: Some(vec![item]), ..CallAnswer::default() }), 7);
        chunks
    }

    #[test]
    fn the_chunks_of_a_call_are_taken_once_and_only_by_the_call_of_their_origin() {
        let kept = KeptChunks::default();
        kept.keep(&call(1), chunks("a"));
        let replayed = ClaimRequest { origin: "in:0:2".into(), ..call(1) };
        assert_eq!([&replayed, &call(2), &call(1), &call(1)].map(|call| kept.take(call).done), [0, 0, 1, 0]);
        kept.keep(&call(1), Chunks::default());
        assert!(kept.0.borrow().is_empty(), "of nothing nothing is kept");
    }

    #[test]
    fn what_is_kept_has_bounds_and_the_oldest_makes_room() {
        let kept = KeptChunks::default();
        for n in 0..70 {
            kept.keep(&call(n), chunks("a"));
        }
        assert_eq!([5, 6, 69].map(|n| kept.take(&call(n)).done), [0, 1, 1]);
        let half = "x".repeat(MOST_BYTES / 2);
        (0..3).for_each(|n| kept.keep(&call(n), chunks(&half)));
        assert_eq!([0, 1, 2].map(|n| kept.take(&call(n)).done), [0, 0, 1], "two of them are too many");
        kept.keep(&call(1), chunks(&half.repeat(2)));
        assert_eq!(kept.take(&call(1)).done, 0);
    }

    #[test]
    fn what_waits_for_too_long_is_forgotten() {
        let kept = KeptChunks::default();
        (1..=3).for_each(|n| kept.keep(&call(n), chunks("a")));
        kept.0.borrow_mut()[1].until = Instant::now();
        assert_eq!(kept.take(&call(1)).done, 1);
        assert_eq!(kept.0.borrow().len(), 1, "whoever asks");
        assert_eq!([2, 3].map(|n| kept.take(&call(n)).done), [0, 1]);
    }
}
