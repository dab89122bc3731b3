//! Strict fakes of the platforms, for tests, the demo and joint debugging.
//!
//! They speak each platform's wire format and refuse whatever its documentation does not allow, with the platform's own
//! answers. Every request lands in a ledger, and faults can be set while they run ([`faults`] lists them).
//!
//! This module uses nothing of the worker's: not its senders, not its signing, not its tables. A rule that was misread
//! once would otherwise be wrong on both sides and pass every test.
//!
//! | path | method | does |
//! |---|---|---|
//! | those of the platforms | theirs | what each fake in `fakes` says |
//! | `/_ledger` | GET, DELETE | all that was received since it was cleared, oldest first |
//! | `/_faults` | GET, PUT | the faults in force; PUT replaces all of them |
//! | `/_status` | GET | accounts, faults, sums per account, how many old entries the ledger has dropped |
//!
//! What belongs to nobody is written under `unknown`, for which faults can be set as well. Something that is no HTTP
//! request, or is larger than 1 MiB, is refused and not written down. A repeated trans_id and event of one account is a
//! success, and marked `repeat`.

mod account;
mod answer;
mod control;
mod directory;
mod fake;
mod fakes;
pub mod faults;
mod judgement;
mod ledger;
mod recorder;
mod request;
mod server;
mod state;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use account::SandboxAccount;
pub use directory::Directory;
pub use fake::Fake;
pub use fakes::by_hand;
pub use faults::Faults;
pub use judgement::Judgement;
pub use request::{Answer, Request};

/// Ledger entries that are kept unless asked otherwise: about 1.1 GiB, at the usual size of a request.
pub const LEDGER_CAPACITY: usize = 1_000_000;

/// Running fakes. They stop when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    state: Arc<state::State>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Sandbox {
    /// Binds, and serves on the present runtime; port 0 takes a free one. Accounts that contradict each other are
    /// `InvalidInput`, with every problem in the text.
    pub async fn start(listen: SocketAddr, accounts: Vec<SandboxAccount>) -> io::Result<Sandbox> {
        Self::start_with_capacity(listen, accounts, LEDGER_CAPACITY).await
    }

    /// The same with another bound for the ledger.
    pub async fn start_with_capacity(
        listen: SocketAddr,
        accounts: Vec<SandboxAccount>,
        ledger_capacity: usize,
    ) -> io::Result<Sandbox> {
        let directory = Directory::new(accounts)
            .map_err(|problems| io::Error::new(io::ErrorKind::InvalidInput, problems.join("; ")))?;
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(state::State::new(directory, ledger_capacity));
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(server::accept(listener, state.clone(), stopped));
        Ok(Sandbox { address, state, stop, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What an account's `base_url` is set to.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that was received since the ledger was cleared, oldest first.
    #[cfg(test)]
    pub fn ledger(&self) -> Vec<Arc<ledger::LedgerEntry>> {
        self.state.ledger.entries()
    }

    /// Requests accepted since the start, repeats among them, whatever the ledger has dropped or was cleared of.
    pub fn accepted(&self) -> u64 {
        self.state.ledger.accepted()
    }

    /// Replaces all faults by the JSON that `PUT /_faults` takes; on a problem the old ones stay.
    pub fn set_faults(&self, faults: &Value) -> Result<(), Vec<String>> {
        self.state.set_faults(faults).map(|_| ())
    }

    /// The faults in force.
    pub fn faults(&self) -> Arc<Faults> {
        self.state.faults()
    }

    /// Stops listening and cuts what is open.
    pub async fn shutdown(self) {
        let _ = self.stop.send(true);
        // It fails only if the runtime is going down, and then it is stopped as well.
        let _ = self.server.await;
    }
}

#[cfg(test)]
mod tests;
