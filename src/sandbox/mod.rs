//! Strict fakes of the platforms, for tests, the demo and joint debugging.
//!
//! The fakes speak the wire format of each platform. They refuse whatever its documentation does not allow, with the
//! platform's own answers. Every request is written into a ledger, and faults can be set at run time ([`faults`] lists
//! them).
//!
//! This module uses no code of the worker: no sender, no signing, no table. If both sides shared code, a misread rule
//! would be wrong on both sides and pass every test.
//!
//! | path | method | does |
//! |---|---|---|
//! | those of the platforms | theirs | what each fake in `fakes` says |
//! | `/_ledger` | GET, DELETE | all requests since the ledger was cleared, oldest first |
//! | `/_faults` | GET, PUT | the faults in force; PUT replaces all of them |
//! | `/_status` | GET | accounts, faults, sums per account, and how many old entries the ledger has dropped |
//!
//! A request that belongs to no account is written under `unknown`; faults can be set for this name too. The sandbox
//! refuses bytes that are no HTTP request, and requests larger than 1 MiB, and does not write them down. A request of
//! several events has an entry for each of them, and a fault hits it where it hits one of them. A repeated trans_id and
//! event of one account is a success and is marked `repeat`.

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
mod urlencoded;

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
pub use judgement::{JudgedItem, Judgement};
pub use request::{Answer, Request};

/// The default number of ledger entries: about 1.1 GiB at the usual size of a request.
pub const LEDGER_CAPACITY: usize = 1_000_000;

/// The running fakes. They stop when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    state: Arc<state::State>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Sandbox {
    /// Binds the address and serves on the present runtime; port 0 takes a free port. Accounts that contradict each
    /// other give `InvalidInput` with every problem in the text.
    pub async fn start(listen: SocketAddr, accounts: Vec<SandboxAccount>) -> io::Result<Sandbox> {
        Self::start_with_capacity(listen, accounts, LEDGER_CAPACITY).await
    }

    /// Does the same as [`Sandbox::start`] with another bound for the ledger.
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

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `base_url` for an account of the worker.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests since the ledger was cleared, oldest first.
    #[cfg(test)]
    pub fn ledger(&self) -> Vec<Arc<ledger::LedgerEntry>> {
        self.state.ledger.entries()
    }

    /// Requests accepted since the start, repeats included. The ledger may have dropped or cleared some of them.
    pub fn accepted(&self) -> u64 {
        self.state.ledger.accepted()
    }

    /// Requests of this account accepted since the start that report no conversion, repeats included: calls, for an
    /// account of calls.
    pub fn answered(&self, account: &str) -> u64 {
        self.state.ledger.others(account)
    }

    /// Replaces all faults by the JSON that `PUT /_faults` takes. On a problem the old faults stay.
    pub fn set_faults(&self, faults: &Value) -> Result<(), Vec<String>> {
        self.state.set_faults(faults).map(|_| ())
    }

    /// The faults in force.
    pub fn faults(&self) -> Arc<Faults> {
        self.state.faults()
    }

    /// Stops listening and cuts all open connections.
    pub async fn shutdown(self) {
        let _ = self.stop.send(true);
        // The task fails only if the runtime shuts down, and then it has stopped as well.
        let _ = self.server.await;
    }
}

#[cfg(test)]
mod tests;
