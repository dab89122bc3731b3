//! What every step of a start uses to wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::kafka::topics::AdminError;

/// The time between two attempts at something that does not answer.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// Reports what the start waits for, to the log and to `/ready`.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// Asks Kafka on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AdminError> + Send + 'static,
) -> Result<T, AdminError> {
    spawn_blocking(work).await.unwrap_or_else(|_| Err(AdminError::NoAnswer("the look at it broke off".into())))
}
