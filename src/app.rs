//! Builds each part once, in reading order; starts the intake, the redelivery loop and the admin endpoint; drains them
//! at shutdown.

mod consumers;
pub mod discovery;
mod drain;
mod listen;
pub mod local_sandbox;
mod names;
mod reload;
mod replays;
mod setup;
pub mod start;

use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use self::consumers::spawn;
pub use self::drain::stop_signal;
use self::drain::{a_part_dies, drain_all};
use self::listen::listen;
use self::reload::Reloader;
use self::replays::Replaying;
use self::setup::{all_topics, metrics, topics_of};
use crate::admit::examine::Examiner;
use crate::app::discovery::Discovery;
use crate::app::start::{Fit, Say};
use crate::embedded::{self, EmbeddedServers};
use crate::exit::Exit;
use crate::inspect::dead_letters::scan::{self, Scan};
use crate::intake::Intake;
use crate::kafka::consumer::{Begins, Kind, Settings, Unplaced};
use crate::kafka::producer::Producer;
use crate::kafka::refusals::Refusals;
use crate::kafka::settings;
use crate::kafka::topics::{self, Cluster, Health as KafkaHealth, OwnedTopics, Retention};
use crate::lane::handle::known::Known;
use crate::lane::threads;
use crate::operate::audit;
use crate::operate::coordinator::Coordinator;
use crate::operate::reload::Reloads;
use crate::operate::seen::Seen;
use crate::operate::status::RefusedInputs;
use crate::operate::status::{Running, WorkerStatus};
use crate::operate::{Keys, snapshot::remove_snapshot};
use crate::process_limits::{allow_open_files, give_back_memory, replica_id};
use crate::redelivery::Waiting;
use crate::redis::health::Health;
use crate::replay::Replays;
use crate::secret::SecretString;
use crate::settings::Config;
use crate::settle::context::StageContext;
use crate::storm::board::Storms;

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
    allow_open_files(&config)?;
    let id = replica_id();
    let client = config.redis.client().map_err(Exit::usage)?;
    let keys = Keys::new(&config.redis.prefix);
    let refused = |error: settings::SettingsError| Exit::usage(error.to_string());
    // Check this before topics are created and positions are committed for a worker that cannot run.
    settings::try_clients(&config.kafka).map_err(refused)?;

    // The lanes, and what they share.
    let metrics = metrics(&config);
    let health = Arc::new(Health::default());
    let storms = Arc::new(Storms::new(&id));
    let unstarted = threads::prepare(&roster.load(), &config.intake, &health, &config.redis.token_key, lane_threads());
    let (lanes, unstarted) = unstarted.map_err(Exit::usage)?;
    let lanes = Arc::new(lanes);
    let kafka_health = KafkaHealth::start(&config.kafka).map_err(refused)?;

    // The endpoint answers from the first moment: alive, not ready, and why.
    let status = Arc::new(WorkerStatus {
        id: id.clone(),
        client: client.clone(),
        keys: keys.clone(),
        metrics: metrics.clone(),
        health: health.clone(),
        kafka: kafka_health.clone(),
        lanes: lanes.clone(),
        embedded: setup::embedded(&config),
        label: config.admin.label.clone(),
        phase: Mutex::new("starting".into()),
        running: OnceLock::new(),
        refused: RefusedInputs::default(),
        storms: storms.clone(),
        seen: Seen::default(),
    });
    let source = scan::Source { kafka: config.kafka.clone(), redis: config.redis.clone() };
    let scan = Arc::new(Scan::start(source).map_err(|error| Exit::failed(error.to_string()))?);
    let replays = replays::setup(&config, roster.clone(), &client)?;
    let servers = listen(&live, reloads, &status, &scan, Replays::with_plans(replays.clone(), scan.clone()))?;
    listening(servers[0].address());
    tokio::pin!(stop);

    let unplaced = Unplaced::default();
    // No consumer joins its group before Redis and Kafka have answered and no check refuses the start.
    let cluster = Arc::new(Cluster::new(&config.kafka).map_err(refused)?);
    let begun = async {
        let seen = status.clone();
        let say: Say = Arc::new(move |phase: &str| seen.say(phase));
        start::redis(&client, &health, &say).await?;
        let Fit { inputs, largest } = start::kafka(&config, &cluster, &say).await?;
        start::first(&config, &cluster, &client, &health, &say).await?;
        let begins = start::known_topics(&config, &cluster, &client, &health, &say).await?;
        start::restore_switches(&client, &keys, &lanes, (&unplaced, &storms), &health, &say).await;
        Ok((largest, begins, start::names(&config, &cluster, inputs, &say).await?))
    };
    let (largest, begins, names) = tokio::select! {
        begun = begun => begun.map_err(|text: String| Exit::usage(text))?,
        () = &mut stop => return Ok(()),
    };

    // The outboxes, then the lanes, then the two consumers: each part is built before the parts that send to it.
    let (give_back, given_back) = std::sync::mpsc::channel();
    let (halts, halted) = unbounded_channel();
    let context = Arc::new(StageContext {
        metrics: metrics.clone(),
        refusals: Arc::new(Refusals::new(kafka_health)),
        producer: Producer::new(&config.kafka, largest).map_err(refused)?,
        topics: topics_of(&config),
        lease: config.dedupe.lease,
        health: health.clone(),
        replicas: Arc::new(AtomicUsize::new(1)),
        give_back,
        halts,
        quiet: Arc::default(),
    });
    let failed = |error: std::io::Error| Exit::failed(error.to_string());
    let retention = Arc::new(Retention::default());
    let owned = OwnedTopics::new(start::topics_of(&config).into());
    if !config.is_embedded() {
        topics::watch_retention(cluster.clone(), &retention).map_err(failed)?;
        topics::keep(cluster.clone(), owned.clone(), largest, &context.refusals).map_err(failed)?;
    }
    let runtimes = Arc::new(unstarted.start(&context, &client, &config.redis.prefix, &config.dedupe).map_err(failed)?);
    let examiner = || Examiner::new(roster.clone(), config.kafka.result_topics(), metrics.clone());
    let known = Arc::new(Known::default());
    let timeouts = config.accounts.values().flat_map(|a| [a.limits.timeout, a.call_limits.timeout]);
    let drain = timeouts.max().unwrap_or_default() + Duration::from_secs(2);
    let waiting = spawn(
        "waiting",
        Settings {
            unplaced: unplaced.clone(),
            client: settings::waiting(&config.kafka, names.waiting.len()).map_err(refused)?,
            subscribe: names.waiting.clone(),
            kind: Kind::Waiting,
            drain,
            begins: Begins::default(),
            window: None,
            has_ids: !config.is_embedded(),
        },
        Waiting::new(
            examiner(),
            lanes.clone(),
            metrics.clone(),
            health.clone(),
            (config.kafka.retry_prefix.clone(), config.kafka.parked_prefix.clone()),
            given_back,
            known.clone(),
        ),
    )?;
    let intake = spawn(
        "intake",
        Settings {
            unplaced: unplaced.clone(),
            client: settings::intake(&config.kafka).map_err(refused)?,
            subscribe: names.inputs.clone(),
            kind: Kind::Input,
            drain,
            begins,
            window: Some(config.intake.window()),
            has_ids: !config.is_embedded(),
        },
        Intake::new(
            examiner(),
            lanes.clone(),
            metrics.clone(),
            health.clone(),
            config.intake,
            known.clone(),
            storms.clone(),
        ),
    )?;
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
    let watch = Coordinator {
        client: client.clone(),
        keys: keys.clone(),
        id: id.clone(),
        lanes: lanes.clone(),
        runtimes: runtimes.clone(),
        health: health.clone(),
        metrics: metrics.clone(),
        consumers: vec![intake.watched(), waiting.watched()],
        halts: halted,
        replicas: context.replicas.clone(),
        retention,
        refusals: context.refusals.clone(),
        parked_prefix: config.kafka.parked_prefix.clone(),
        unplaced,
        known,
        own_store: config.is_embedded(),
        quiet: context.quiet.clone(),
        storms: storms.clone(),
    };
    let reloader = Reloader::new(&status, live, roster, runtimes.clone(), cluster, owned);
    let consumers = vec![intake.watched(), waiting.watched()];
    let running = Running { runtimes, consumers, refusals: context.refusals.clone() };
    // This is the only place that sets it, so it cannot fail.
    let _ = status.running.set(running);
    tracing::info!(id, version = env!("CARGO_PKG_VERSION"), accounts = config.accounts.len(), "worker runs");
    let mut watching = tokio::spawn(watch.run());
    let giving_back = tokio::spawn(give_back_memory());
    let auditing = {
        let (context, client, keys, id, topic) =
            (context.clone(), client.clone(), keys.clone(), id.clone(), config.kafka.audit.clone());
        tokio::spawn(async move { audit::publish::keep(&client, &keys, &id, &context.producer, &topic).await })
    };

    let reloading = reloader.start(asks, hangups);
    let replaying = Replaying::start(replays, context.clone(), metrics.clone(), id.clone());

    let ended = tokio::select! {
        () = &mut stop => None,
        why = a_part_dies(&status, config.is_embedded()) => Some(why),
        _ = &mut watching => Some("the watch on switches and orders has ended; see the log before this line".into()),
    };
    reloading.abort();
    replaying.end().await;
    let result = drain_all(&config, &context, &status, intake, waiting, ended).await;
    drop(discovering);
    watching.abort();
    auditing.abort();
    giving_back.abort();
    if health.is_up()
        && let Ok(mut connection) = crate::redis::connect(&client).await
    {
        // The snapshot expires by itself. Removing it makes the other replicas stop counting this one at once.
        let _ = remove_snapshot(&mut connection, &keys, &id).await;
    }
    drop(servers);
    result
}

fn lane_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
