//! Starts the sandbox and the worker, each on a thread of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::app;
use crate::exit::{Exit, block_on};
use crate::sandbox::{Sandbox, SandboxAccount};
use crate::settings::Config;

/// The number of requests that the sandbox shows under `/_ledger`, about 25 MiB; its sums cover the older ones too.
const LEDGER_ENTRIES: usize = 20_000;
/// The stack of the thread on which the worker starts. The worker's own threads have their own stacks.
const STACK: usize = 8 << 20;

/// Returns this address if its port is free, else the same with port 0 (any free port).
pub fn listen_on(wanted: SocketAddr) -> SocketAddr {
    match TcpListener::bind(wanted) {
        Ok(_) => wanted,
        Err(_) => SocketAddr::new(wanted.ip(), 0),
    }
}

/// Starts the strict fakes at `port`, or at any port if that one is taken.
///
/// # Errors
/// They cannot listen at any port.
pub fn sandbox(port: u16, accounts: Vec<SandboxAccount>) -> Result<Sandbox, Exit> {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (started, start) = std::sync::mpsc::channel();
    let serve = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
        runtime.block_on(async {
            let first = Sandbox::start_with_capacity(wanted, accounts.clone(), LEDGER_ENTRIES).await;
            let sandbox = match first {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                    Sandbox::start_with_capacity(any, accounts, LEDGER_ENTRIES).await
                }
                other => other,
            };
            let _ = started.send(sandbox);
            // The sandbox serves on this runtime for as long as the process lives.
            std::future::pending::<()>().await;
        });
    };
    let failed = |error: &dyn std::fmt::Display| Exit::failed(format!("the sandbox cannot start: {error}"));
    std::thread::Builder::new().name("sandbox".into()).spawn(serve).map_err(|error| failed(&error))?;
    start.recv().map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

/// The worker that runs inside this process.
pub struct Worker {
    stop: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<Result<(), Exit>>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts the worker. The receiver gets the address of its API as soon as it listens.
    ///
    /// # Errors
    /// The thread cannot be made.
    pub fn start(config: Config) -> Result<(Worker, oneshot::Receiver<SocketAddr>), Exit> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let (listening, address) = oneshot::channel();
        let work = move || {
            let stop = async {
                // A dropped sender means stop, too.
                let _ = stopped.await;
            };
            let run = app::run(config, stop, |address| {
                // Nobody receives the address if the demo has ended meanwhile.
                let _ = listening.send(address);
            });
            let _ = end.send(block_on(run));
        };
        let thread = std::thread::Builder::new().name("worker".into()).stack_size(STACK).spawn(work);
        let thread = thread.map_err(|error| Exit::failed(format!("the worker cannot start: {error}")))?;
        Ok((Worker { stop: Some(stop), ended, thread }, address))
    }

    /// Returns the reason when the worker ends without being told to.
    pub async fn died(&mut self) -> Exit {
        match (&mut self.ended).await {
            Ok(Err(exit)) => exit,
            Ok(Ok(())) => Exit::failed("the worker has ended"),
            Err(_) => Exit::failed("the worker broke off; see the log before this line"),
        }
    }

    /// Drains the worker and ends it. Blocks.
    ///
    /// # Errors
    /// The drain failed.
    pub fn stop(mut self) -> Result<(), Exit> {
        self.stop.take();
        let joined = self.thread.join();
        match (joined, self.ended.try_recv()) {
            (Ok(()), Ok(result)) => result,
            _ => Err(Exit::failed("the worker broke off; see the log before this line")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_no_hindrance() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = taken.local_addr().unwrap();
        assert_eq!(listen_on(wanted).port(), 0);
        let beside = sandbox(wanted.port(), SandboxAccount::examples()).unwrap();
        assert!(beside.address().ip().is_loopback() && beside.address() != wanted);
        drop(taken);
        assert_eq!(listen_on(wanted), wanted);
    }
}
