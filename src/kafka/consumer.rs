//! The polling thread: it subscribes, takes assignments and gives partitions back. Only this thread owns the offset
//! trackers.
//!
//! Each consumer has one plain thread, which polls and does nothing else. The code that works on a record holds an
//! [`AckHandle`] and sends it back over one channel. The rebalance callback only records what happened: a revoked
//! partition drains while polling goes on, and the loop gives it back. The thread does not read an assigned partition
//! before another thread (`queries`) has judged its position. A partition without a sound position is *parked*: the
//! consumer owns it but does not read it until an operator names an offset.
//!
//! The thread's state is the `Poller`, which joins parts that own one subject each: `partitions` and `partition` (what
//! is owned, and in which state; each partition has `progress`, `read_ahead`, `group_position`, `log_end`, `standstill`
//! and `topic_identity`), `client` (the library's client), `drains` (what is waited for before it is given
//! back), `pauses` and `window` (what is not read for now), `commits` (positions stored and confirmed), `checks` (what
//! the broker is asked from time to time: `surveys`, `ends`, `known_ids`) and `show` (the snapshot). A part returns
//! what follows from an answer, and the `Poller` carries it out: `dispatch` for commands, `rebalance` for partitions
//! that come and go, `poll` for the loop.
//!
//! Two alternatives were rejected: the async stream consumer and split partition queues, because their wake-ups can be
//! lost; and explicit commits in the hot path, because they can move a position backwards and report nothing.

mod ack_handle;
mod assignment;
mod begin;
mod checks;
mod client;
mod command;
mod commits;
mod context;
mod dispatch;
mod drains;
mod ends;
mod epochs;
mod explicit_commit;
mod group_position;
mod handler;
mod ids;
mod known_ids;
mod log_end;
mod marks;
mod message;
mod options;
mod order;
mod partition;
mod partitions;
mod pauses;
mod poll;
mod poller;
mod probe;
mod progress;
mod queries;
mod read_ahead;
mod rebalance;
mod show;
mod snapshot;
mod standstill;
mod start_decision;
mod surveys;
#[cfg(test)]
mod tests;
mod topic_identity;
mod window;
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
#[cfg(test)]
pub(crate) use snapshot::Oldest;
pub use snapshot::{ConsumerView, Counts, PartitionView, Snapshot};
pub use start_decision::OwnPosition;
#[cfg(test)]
pub use start_decision::Parked;
pub use work::Work;

use command::Command;
use context::connect;
pub(crate) use message::{header, record};

/// How long a consumer that was asked to end may take after the drain: for its last commit, and to leave the group.
pub const ENDS_WITHIN: Duration = drains::FLUSH_WITHIN.saturating_add(client::CLOSE_WITHIN);

/// A namespace for `spawn`, its only function.
pub struct Consumer;

impl Consumer {
    /// Starts the polling thread.
    ///
    /// # Errors
    /// Fails if the client cannot be created, if it refuses the subscription, or if the thread cannot be started.
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

/// A running consumer. It keeps running when this handle is dropped.
pub struct ConsumerHandle<W: Work> {
    sender: Sender<Command<W>>,
    thread: Mutex<Option<JoinHandle<Result<(), ConsumerFailed>>>>,
}

impl<W: Work> ConsumerHandle<W> {
    /// A handle without a thread, and a function that returns the orders sent to it.
    #[cfg(test)]
    pub(crate) fn stub() -> (Self, impl FnMut() -> Vec<UnblockOrder>) {
        let (sender, commands) = std::sync::mpsc::channel();
        let orders = move || {
            let order = |command| if let Command::Order(order) = command { Some(order) } else { None };
            commands.try_iter().filter_map(order).collect()
        };
        (Self { sender, thread: Mutex::default() }, orders)
    }

    /// Begins the shutdown: the consumer takes no more records, waits for the unfinished ones, stores and commits the
    /// positions, and leaves the group.
    pub fn shutdown(&self, drain: Duration) {
        // If the thread has ended, the send fails, and there is nothing left to stop.
        let _ = self.sender.send(Command::Stop(drain));
    }

    /// Adds these topics to the subscription.
    pub fn subscribe(&self, topics: Vec<String>) {
        let _ = self.sender.send(Command::Subscribe(topics));
    }

    /// Passes an operator's order to the polling thread.
    pub fn order(&self, order: UnblockOrder) {
        let _ = self.sender.send(Command::Order(order));
    }

    /// Whether the thread is still running.
    pub fn is_alive(&self) -> bool {
        self.lock().as_ref().is_some_and(|t| !t.is_finished())
    }

    /// Waits until the thread ends. This call blocks: do not call it on a thread of an async runtime.
    ///
    /// # Errors
    /// Fails if the thread ended by itself, because of a fatal client error or a panic.
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
