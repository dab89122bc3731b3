//! From a configuration to a worker that takes events.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::generator::PROFILES;
use super::processes::Worker;
use super::publisher::Publisher;
use super::reader::Reader;
use super::run::{Options, Run};
use super::scheduler::Director;
use super::screen::Screen;
use super::welcome;
use super::worker::{self as asked, Seen};
use crate::cli::source::Api;
use crate::embedded::Parts;
use crate::exit::Exit;
use crate::kafka::producer::Producer;
use crate::platforms::SecretString;
use crate::sandbox::Sandbox;
use crate::settings::Config;

/// For broker, store and worker to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run begins with.
pub(super) struct Start<'a> {
    pub(super) options: Options,
    pub(super) config: Config,
    pub(super) sandbox: Sandbox,
    pub(super) embedded: Option<&'a Parts>,
    pub(super) screen: RefCell<Screen>,
    pub(super) usual_admin: SocketAddr,
}

impl Start<'_> {
    /// Starts the worker and waits until it takes events.
    pub(super) async fn run(self, signals: &mut Signals) -> Result<(Worker, Run), Exit> {
        let Start { options, config, sandbox, embedded, screen, usual_admin } = self;
        let failed = |error: &dyn std::fmt::Display| Exit::failed(format!("the demo cannot start: {error}"));
        let kafka = config.kafka.clone();
        let token = Some(config.admin.token.clone());
        let broker = embedded.map(|parts| parts.broker.address().to_owned()).unwrap_or_default();
        let store = embedded.map(|parts| parts.store.url()).unwrap_or_default();
        let producer = Producer::new(&kafka, 0).map_err(|error| failed(&error))?;
        let (mut worker, address) = Worker::start(config)?;
        let (api, base) = tokio::select! {
            exit = worker.died() => return Err(exit),
            ready = ready(address, token) => ready?,
            () = signals.next() => return Err(Exit::failed("stopped before it had started")),
        };
        let accounts = PROFILES.iter().map(|p| p.account.to_owned()).collect();
        let reader = Reader::start(&kafka, accounts).map_err(|error| failed(&error))?;
        let input = kafka.input.first().cloned().unwrap_or_default();
        let began = Instant::now();
        let run = Run {
            publisher: Publisher::new(producer, input.clone(), options.seed, options.events),
            places: welcome::Places {
                broker,
                store,
                usual_admin: base == format!("http://{usual_admin}"),
                admin: base,
                sandbox: sandbox.base_url(),
                seed: options.seed,
                program: welcome::program(),
                endless: options.events.is_none(),
            },
            options,
            sandbox,
            api,
            input,
            reader,
            director: RefCell::new(Director::new(began)),
            screen,
            seen: RefCell::new(Seen::nothing(began)),
            speed: RefCell::default(),
            began,
            last_end: Cell::new(began),
            stopped: Cell::new(None),
            resumed: Cell::new(began),
            told_calm: Cell::new(false),
        };
        Ok((worker, run))
    }
}

/// Waits until the worker takes events.
async fn ready(address: oneshot::Receiver<SocketAddr>, token: Option<SecretString>) -> Result<(Api, String), Exit> {
    let late =
        || Exit::failed("the worker is not ready after 60 s; POSTBACK__TELEMETRY__LOG=info shows what it waits for");
    let work = async {
        // A worker that ends before it listens is noticed by whoever waits for its end.
        let Ok(address) = address.await else { return std::future::pending().await };
        let base = format!("http://{address}");
        let api = Api::new(&base, token).map_err(|error| Exit::failed(format!("{error:#}")))?;
        while !asked::is_ready(&api).await.unwrap_or_default() {
            sleep(Duration::from_millis(100)).await;
        }
        Ok((api, base))
    };
    tokio::time::timeout(PATIENCE, work).await.map_err(|_| late())?
}

/// SIGINT and SIGTERM.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on they come here.
    pub(super) fn new() -> Result<Self, Exit> {
        let failed = |error: std::io::Error| Exit::failed(format!("signals: {error}"));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// The next of either.
    pub(super) async fn next(&mut self) {
        tokio::select! { _ = self.interrupt.recv() => {}, _ = self.terminate.recv() => {} }
    }
}
