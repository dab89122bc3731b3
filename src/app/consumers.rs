//! Starts a consumer on its thread, and holds what other parts need of it.

use std::sync::Arc;

use crate::delivery::progress::{ConsumerHandle, ConsumerView, Open};
use crate::exit::Exit;
use crate::kafka::consumer::{Consumer, Handler, Settings};
use crate::operate::coordinator::Watched;

/// A running consumer.
pub(super) struct Started {
    name: &'static str,
    pub(super) handle: Arc<ConsumerHandle>,
    view: Arc<ConsumerView>,
}

impl Started {
    /// What the coordinator and the status need of the consumer.
    pub(super) fn watched(&self) -> Watched {
        Watched { name: self.name, view: self.view.clone(), handle: self.handle.clone() }
    }

    /// Waits until the consumer ends.
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
