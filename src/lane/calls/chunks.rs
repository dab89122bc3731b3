//! The chunks of a call, which make one result together.

use serde_json::Value;

use crate::platforms::call::CallAnswer;

/// What the chunks of a call have brought so far. They make one result, so they live no longer than a visit.
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
}
