//! Builds each part of a demo once and runs the demo.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::generator::PROFILES;
use super::processes::{self, Worker};
use super::publisher::Publisher;
use super::reader::Reader;
use super::run::{Options, Run};
use super::scheduler::Scheduler;
use super::screen::Screen;
use super::signals::Signals;
use super::worker::{self as asked, Seen};
use super::{settings, welcome};
use crate::admin::client::Api;
use crate::app::local_sandbox;
use crate::clock::now_ms;
use crate::embedded::EmbeddedServers;
use crate::exit::Exit;
use crate::inspect::ledger::Ledger;
use crate::kafka::producer::Producer;
use crate::sandbox::Sandbox;
use crate::secret::SecretString;
use crate::settings::{Config, DEMO_URL};

/// The sandbox listens here if the port is free. `postback sandbox` uses the same port.
const SANDBOX_PORT: u16 = 9470;
/// The longest wait for broker, store and worker to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the demo and shows it on standard error. The caller prints the ledger.
///
/// # Errors
/// The demo could not start, a part died, or an event got lost in a way that the ledger would not show.
pub async fn run(options: Options, env: &[(String, String)]) -> Result<Ledger, Exit> {
    let mut signals = Signals::new()?;
    let screen = RefCell::new(Screen::new(options.events));
    screen.borrow().paragraph(welcome::WHAT);
    let now = now_ms();
    let accounts = local_sandbox::accounts(&settings::load(env.to_vec(), DEMO_URL, now)?);
    let sandbox = processes::sandbox(SANDBOX_PORT, accounts)?;
    let mut config = settings::load(env.to_vec(), &sandbox.base_url(), now)?;
    let usual_admin = config.admin.listen;
    config.admin.listen = processes::listen_on(usual_admin);
    let embedded = crate::app::embed(&mut config)?;
    let start = Start { options, config, sandbox, embedded: embedded.as_ref(), screen, usual_admin };
    let (mut worker, mut run) = start.run(&mut signals).await?;
    run.welcome();

    let why = tokio::select! {
        why = run.concluded(&mut signals) => why?,
        () = run.publish() => None,
        () = run.watch() => None,
        () = run.schedule() => None,
        () = run.show() => None,
        exit = worker.died() => return Err(exit),
    };
    let ledger = run.close(why)?;
    worker.stop()?;
    drop(embedded);
    Ok(ledger)
}

/// The parts that exist before the worker starts.
struct Start<'a> {
    options: Options,
    config: Config,
    sandbox: Sandbox,
    embedded: Option<&'a EmbeddedServers>,
    screen: RefCell<Screen>,
    usual_admin: SocketAddr,
}

impl Start<'_> {
    /// Starts the worker and waits until it takes events.
    async fn run(self, signals: &mut Signals) -> Result<(Worker, Run), Exit> {
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
            scheduler: RefCell::new(Scheduler::new(began)),
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
        // If the worker ends before it listens, `died` reports it.
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
