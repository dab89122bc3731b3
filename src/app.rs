//! Builds each part once, in reading order; starts the intake, the redelivery loop and the admin endpoint; drains them
//! at shutdown.

mod consumers;
pub mod discovery;
mod drain;
mod listen;
pub mod local_sandbox;
mod names;
mod parts;
mod reload;
mod replays;
mod setup;
pub mod start;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc::unbounded_channel;

pub use self::drain::stop_signal;
use self::drain::{a_part_dies, drain_all};
use self::listen::listen;
use self::parts::{Begun, Parts, refused};
use self::reload::Reloader;
use self::replays::Replaying;
use self::setup::all_topics;
use crate::app::discovery::Discovery;
use crate::app::start::Say;
use crate::embedded::{self, EmbeddedServers};
use crate::exit::Exit;
use crate::inspect::dead_letters::scan::{self, Scan};
use crate::kafka::topics::{self, Cluster, OwnedTopics, Retention};
use crate::operate::audit;
use crate::operate::reload::Reloads;
use crate::operate::snapshot::remove_snapshot;
use crate::operate::status::Running;
use crate::process_limits::give_back_memory;
use crate::replay::Replays;
use crate::secret::SecretString;
use crate::settings::Config;
use crate::settle::context::StageContext;

/// Starts the broker and the store inside this process, if the configuration says `embedded`, and writes their
/// addresses into the configuration. They run until the returned value is dropped.
///
/// # Errors
/// Exits with 1 if they cannot be started.
pub fn embed(config: &mut Config) -> Result<Option<EmbeddedServers>, Exit> {
    if !config.is_embedded() {
        return Ok(None);
    }
    let parts = embedded::start(&all_topics(config)).map_err(|error| Exit::failed(error.to_string()))?;
    parts.broker.address().clone_into(&mut config.kafka.brokers);
    config.redis.url = SecretString::new(parts.store.url());
    Ok(Some(parts))
}

/// Runs the worker until `stop` completes, for example [`stop_signal`]. It calls `listening` with the address of the
/// API as soon as the API answers. Embedded parts have to run already ([`embed`]). It returns when everything is
/// drained, and does not end the process unless the drain hangs.
///
/// # Errors
/// Exits with 2 if the start is refused, and with 1 if a part dies.
pub async fn run(
    config: Config,
    stop: impl Future<Output = ()>,
    listening: impl FnOnce(SocketAddr),
) -> Result<(), Exit> {
    let roster = config.roster().live();
    let live = config.live();
    let config = live.load_full();
    // A SIGHUP that comes before the worker runs is carried out then.
    let hangups = reload::hangups()?;
    let (reloads, asks) = Reloads::new();
    let (parts, unstarted) = Parts::new(config.clone(), roster.clone())?;

    // The endpoint answers from the first moment: alive, not ready, and why.
    let status = parts.status();
    let source = scan::Source { kafka: config.kafka.clone(), redis: config.redis.clone() };
    let scan = Arc::new(Scan::start(source).map_err(|error| Exit::failed(error.to_string()))?);
    let replays = replays::setup(&config, roster.clone(), &parts.client)?;
    let servers = listen(&live, reloads, &status, &scan, Replays::with_plans(replays.clone(), scan.clone()))?;
    listening(servers[0].address());
    tokio::pin!(stop);

    let cluster = Arc::new(Cluster::new(&config.kafka).map_err(refused)?);
    let seen = status.clone();
    let say: Say = Arc::new(move |phase: &str| seen.say(phase));
    let Begun { largest, begins, names } = tokio::select! {
        begun = parts.begin(&cluster, &say) => begun.map_err(Exit::usage)?,
        () = &mut stop => return Ok(()),
    };

    // The outboxes, then the lanes, then the two consumers: each part is built before the parts that send to it.
    let (give_back, given_back) = std::sync::mpsc::channel();
    let (halts, halted) = unbounded_channel();
    let context = parts.context(largest, give_back, halts)?;
    let failed = |error: std::io::Error| Exit::failed(error.to_string());
    let retention = Arc::new(Retention::default());
    let owned = OwnedTopics::new(start::topics_of(&config).into());
    if !config.is_embedded() {
        topics::watch_retention(cluster.clone(), &retention).map_err(failed)?;
        topics::keep(cluster.clone(), owned.clone(), largest, &context.refusals).map_err(failed)?;
    }
    let client = &parts.client;
    let runtimes = Arc::new(unstarted.start(&context, client, &config.redis.prefix, &config.dedupe).map_err(failed)?);
    let waiting = parts.waiting(&names.waiting, given_back)?;
    let intake = parts.intake(&names.inputs, begins)?;
    let consumers = || vec![intake.watched(), waiting.watched()];
    let discovery = Discovery {
        config: live.clone(),
        cluster: cluster.clone(),
        names,
        largest,
        intake: intake.handle.clone(),
        waiting: waiting.handle.clone(),
        refused: status.refused.clone(),
    };
    // The embedded broker has no other topics than those of the configuration.
    let discovering = if config.is_embedded() { None } else { Some(discovery.start().map_err(failed)?) };
    let coordinator = parts.coordinator(&context, &runtimes, consumers(), retention, halted);
    let reloader = Reloader::new(&status, live, roster, runtimes.clone(), cluster, owned);
    let running = Running { runtimes, consumers: consumers(), refusals: context.refusals.clone() };
    // This is the only place that sets it, so it cannot fail.
    let _ = status.running.set(running);
    let id = &parts.id;
    tracing::info!(id, version = env!("CARGO_PKG_VERSION"), accounts = config.accounts.len(), "worker runs");
    let mut coordinating = tokio::spawn(coordinator.run());
    let giving_back = tokio::spawn(give_back_memory());
    let auditing = tokio::spawn(publish_audit(&parts, context.clone()));
    let reloading = reloader.start(asks, hangups);
    let replaying = Replaying::start(replays, context.clone(), parts.metrics.clone(), id.clone());

    let ended = tokio::select! {
        () = &mut stop => None,
        why = a_part_dies(&status, config.is_embedded()) => Some(why),
        _ = &mut coordinating => Some("the watch on switches and orders has ended; see the log before this line".into()),
    };
    reloading.abort();
    replaying.end().await;
    let result = drain_all(&config, &context, &status, intake, waiting, ended).await;
    drop(discovering);
    coordinating.abort();
    auditing.abort();
    giving_back.abort();
    if parts.health.is_up()
        && let Ok(mut connection) = crate::redis::connect(client).await
    {
        // The snapshot expires by itself. Removing it makes the other replicas stop counting this one at once.
        let _ = remove_snapshot(&mut connection, &parts.keys, id).await;
    }
    drop(servers);
    result
}

/// Publishes the audit for as long as the worker runs.
fn publish_audit(parts: &Parts, context: Arc<StageContext>) -> impl Future<Output = ()> + use<> {
    let (client, keys, id) = (parts.client.clone(), parts.keys.clone(), parts.id.clone());
    let topic = parts.config.kafka.audit.clone();
    async move {
        audit::publish::keep((&client, &keys), &context.health.foreign, &id, &context.producer, &topic).await;
    }
}
