//! What one event has done about answers that refuse its request, and not the event.

use crate::error::{Answer, DeliveryError};

/// What one event has done in this visit about answers that refuse not the event but its request: a token, a nonce, a
/// timestamp.
#[derive(Debug, Default)]
pub struct Turn {
    refused: bool,
    signed_again: bool,
}

impl Turn {
    /// Whether its last answer refused a token.
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Notes that an answer refused a token, and tells whether the last one did so already.
    pub(super) fn refuse(&mut self) -> bool {
        std::mem::replace(&mut self.refused, true)
    }

    /// Notes that an answer of another class came in between, so that the next refusal is not the second in a row.
    pub fn answered(&mut self) {
        *self = Self::default();
    }

    /// Whether the event is signed anew and sent once more, because the answer refuses its nonce or its timestamp.
    ///
    /// # Errors
    /// `Halt` at the second such answer in a row.
    pub fn sign_again(&mut self, answer: &Answer) -> Result<(), DeliveryError> {
        if std::mem::replace(&mut self.signed_again, true) {
            let detail = format!("a request that was signed anew is refused again: {}", answer.detail);
            return Err(DeliveryError::Halt(Answer { detail, sign_again: false, ..answer.clone() }));
        }
        Ok(())
    }
}
