//! Requests to reload the configuration: who asks, and the answer. The worker carries them out one after the other
//! (`app::reload`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::operate::By;

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReloadReport {
    /// The id of the replica that reloaded.
    pub worker: String,
    /// What takes effect now, as `key: old → new`. Of a secret it says only that it changed.
    pub changed: Vec<String>,
    /// What the file says otherwise and what takes effect at a restart only.
    pub at_restart: Vec<String>,
    /// Accounts that are new.
    pub added: Vec<String>,
    /// Accounts that the file names no longer. What is open of them is still sent.
    pub removed: Vec<String>,
    /// Accounts that go on because their credential was corrected.
    pub resumed: Vec<String>,
    pub warnings: Vec<String>,
}

/// Why nothing was reloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadError {
    /// The file cannot be used. The old configuration stays. Every problem, as `file:line: key: reason`.
    Invalid(Vec<String>),
    /// Others ask for a reload already.
    Busy,
    /// The worker starts or ends.
    NotRunning,
    /// Kafka does not answer, and a new account needs a topic.
    Unavailable(String),
}

/// A request, and the channel for its answer.
pub struct Ask {
    pub by: By,
    pub answer: oneshot::Sender<Result<ReloadReport, ReloadError>>,
}

/// Takes requests.
#[derive(Clone)]
pub struct Reloads(mpsc::Sender<Ask>);

impl Reloads {
    /// The sending end, and the requests that arrive. One may wait while another one is carried out.
    pub fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (sender, requests) = mpsc::channel(1);
        (Self(sender), requests)
    }

    /// Reloads, after a reload that is under way.
    ///
    /// # Errors
    /// Nothing was reloaded; the error says why.
    pub async fn ask(&self, by: By) -> Result<ReloadReport, ReloadError> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Ask { by, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ReloadError::Busy,
            mpsc::error::TrySendError::Closed(_) => ReloadError::NotRunning,
        })?;
        answered.await.unwrap_or(Err(ReloadError::NotRunning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::audit::Via;

    #[tokio::test]
    async fn one_wish_may_wait_and_those_behind_it_are_told_to_come_again() {
        let by = || By::new(Via::Api, "li", "x");
        let (reloads, mut asks) = Reloads::new();
        let first = reloads.ask(by());
        tokio::pin!(first);
        assert!(futures_util::poll!(&mut first).is_pending());
        assert_eq!(reloads.ask(by()).await, Err(ReloadError::Busy));
        let asked = asks.recv().await.unwrap();
        asked.answer.send(Ok(ReloadReport::default())).unwrap();
        assert_eq!(first.await, Ok(ReloadReport::default()));
        drop(asks);
        assert_eq!(reloads.ask(by()).await, Err(ReloadError::NotRunning));
    }
}
