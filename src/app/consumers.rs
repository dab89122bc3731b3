//! One consumer: its thread, and what others see of it.

use std::sync::Arc;

use crate::delivery::progress::{ConsumerHandle, ConsumerView, Open};
use crate::exit::Exit;
use crate::kafka::consumer::{Consumer, Handler, Settings};
use crate::operate::coordinator::Watched;

/// A consumer that runs.
pub(super) struct Started {
    name: &'static str,
    pub(super) handle: Arc<ConsumerHandle>,
    view: Arc<ConsumerView>,
}

impl Started {
    /// What the watch and the status look at.
    pub(super) fn watched(&self) -> Watched {
        Watched { name: self.name, view: self.view.clone(), handle: self.handle.clone() }
    }

    /// Waits for its end.
    pub(super) fn join(&self) -> Result<(), String> {
        self.handle.join().map_err(|error| error.to_string())
    }
}

/// Starts a consumer on its own thread.
pub(super) fn spawn<H: Handler<Work = Open> + 'static>(
    name: &'static str,
    settings: Settings,
    handler: H,
) -> Result<Started, Exit> {
    let view = Arc::new(ConsumerView::default());
    let handle = Consumer::spawn(name, settings, handler, view.clone())
        .map_err(|e| Exit::failed(format!("the {name} consumer cannot start: {e}")))?;
    Ok(Started { name, handle: Arc::new(handle), view })
}
