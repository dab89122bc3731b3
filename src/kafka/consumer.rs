//! The polling thread: subscribe, assignment, revocation. It alone owns the trackers.
//!
//! One plain thread per consumer polls and does nothing else; whoever works on a record holds a [`AckHandle`] and hands
//! it back over one channel. The rebalance callback only records what happened: a revoked partition drains while
//! polling goes on, and is handed back from the loop. Assigned partitions are not read before their position has been
//! judged off this thread (`queries`); a partition without a sound position is *parked*: owned, but not read, until
//! an operator names an offset.
//!
//! Rejected: the async stream consumer and split partition queues, whose wake-ups can be lost; explicit commits in the
//! hot path, which move backwards and report nothing.

mod ack_handle;
mod assignment;
mod begin;
mod command;
mod commits;
mod context;
mod epochs;
mod handler;
mod ids;
mod marks;
mod message;
mod options;
mod order;
mod partition;
mod poll;
mod poller;
mod position;
mod probe;
mod queries;
mod rebalance;
mod renew;
mod show;
mod snapshot;
mod stop;
#[cfg(test)]
mod tests;
mod verdict;
mod work;

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub use ack_handle::AckHandle;
pub use assignment::Assignment;
pub use command::{UnblockOrder, UnblockTo};
pub use handler::{Flow, Handler};
pub use options::{Begins, ConsumerFailed, Kind, Settings, Unplaced};
pub use snapshot::{ConsumerView, Counts, PartitionView, Snapshot};
pub use verdict::OwnPosition;
#[cfg(test)]
pub use verdict::Parked;
pub use work::Work;

use command::Command;
use context::connect;
pub(crate) use message::record;

/// A consumer; `spawn` is its only function.
pub struct Consumer;

impl Consumer {
    /// Starts the polling thread.
    ///
    /// # Errors
    /// Where the client cannot be created, does not take the subscription, or the thread cannot be started.
    pub fn spawn<H: Handler + 'static>(
        name: &str,
        settings: Settings,
        handler: H,
        shared: Arc<ConsumerView<<H::Work as Work>::Shown>>,
    ) -> io::Result<ConsumerHandle<H::Work>> {
        let (sender, commands) = channel();
        let marks = marks::Marks::new(name, &settings.client).map_err(|e| io::Error::other(e.to_string()))?;
        let client = (Arc::new(connect(name, &settings)?), Arc::new(marks));
        let turn = poller::Poller::new(name, client, settings, handler, commands, sender.clone(), shared);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || turn.run())?;
        Ok(ConsumerHandle { sender, thread: Mutex::new(Some(thread)) })
    }
}

/// A running consumer. Dropping the handle does not stop it.
pub struct ConsumerHandle<W: Work> {
    sender: Sender<Command<W>>,
    thread: Mutex<Option<JoinHandle<Result<(), ConsumerFailed>>>>,
}

impl<W: Work> ConsumerHandle<W> {
    /// Without a thread, and the orders that it would have been given.
    #[cfg(test)]
    pub(crate) fn stub() -> (Self, impl FnMut() -> Vec<UnblockOrder>) {
        let (sender, commands) = std::sync::mpsc::channel();
        let orders = move || {
            let order = |command| if let Command::Order(order) = command { Some(order) } else { None };
            commands.try_iter().filter_map(order).collect()
        };
        (Self { sender, thread: Mutex::default() }, orders)
    }

    /// Begins to stop: takes nothing more, waits for what is unfinished, stores, commits, leaves the group.
    pub fn shutdown(&self, drain: Duration) {
        // A thread that has ended has nothing left to stop.
        let _ = self.sender.send(Command::Stop(drain));
    }

    /// Reads these topics too.
    pub fn subscribe(&self, topics: Vec<String>) {
        let _ = self.sender.send(Command::Subscribe(topics));
    }

    /// Passes an operator's order on.
    pub fn order(&self, order: UnblockOrder) {
        let _ = self.sender.send(Command::Order(order));
    }

    /// Whether the thread still runs.
    pub fn is_alive(&self) -> bool {
        self.lock().as_ref().is_some_and(|t| !t.is_finished())
    }

    /// Waits for the thread to end. Blocks: not for a runtime's thread.
    ///
    /// # Errors
    /// Where it ended by itself: a fatal client error, or a panic.
    pub fn join(&self) -> Result<(), ConsumerFailed> {
        let thread = self.lock().take();
        match thread.map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(ConsumerFailed("the polling thread panicked".into())),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<JoinHandle<Result<(), ConsumerFailed>>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
