//! Runs a test and waits for what happens in it, with a time limit.

use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

use crate::delivery::progress::End;

pub(super) const WAIT: Duration = Duration::from_secs(40);

/// Runs a test on one thread, as a lane's thread would.
pub(crate) fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { timeout(2 * WAIT, work).await.expect("the test hangs") });
}

/// Waits for something that happens in other tasks or threads.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let (deadline, what) = (Instant::now() + WAIT, what.to_owned());
    async move {
        while !holds().await {
            assert!(Instant::now() < deadline, "did not happen: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What an ack handle is completed with.
pub(crate) struct Ended {
    pub(super) next: Box<dyn FnMut() -> Option<End>>,
    pub(super) end: Option<End>,
}

impl Ended {
    pub(crate) fn now(&mut self) -> Option<End> {
        self.end = self.end.or_else(|| (self.next)());
        self.end
    }

    pub(crate) async fn wait(&mut self) -> End {
        eventually("its offset is finished", async || self.now().is_some()).await;
        self.now().unwrap()
    }
}
