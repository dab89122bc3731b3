//! What the parts of a worker share, and how each of them is built of it.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::account::Halted;
use crate::account::roster::LiveRoster;
use crate::admit::examine::Examiner;
use crate::app::consumers::{Started, spawn};
use crate::app::names::Names;
use crate::app::setup::{self, metrics, topics_of};
use crate::app::start::{self, Fit, Say};
use crate::delivery::Delivery;
use crate::exit::Exit;
use crate::intake::Intake;
use crate::kafka::consumer::{Begins, Kind, Settings, Unplaced};
use crate::kafka::producer::Producer;
use crate::kafka::refusals::Refusals;
use crate::kafka::settings::{self, SettingsError};
use crate::kafka::topics::{Cluster, Health as KafkaHealth, Retention};
use crate::lane::handle::known::Known;
use crate::lane::handle::lanes::Lanes;
use crate::lane::threads::{self, Runtimes, UnstartedLanes};
use crate::metrics::Metrics;
use crate::operate::Keys;
use crate::operate::coordinator::{Coordinator, Watched};
use crate::operate::seen::Seen;
use crate::operate::status::{RefusedInputs, WorkerStatus};
use crate::process_limits::{allow_open_files, replica_id};
use crate::redelivery::Waiting;
use crate::redis::health::Health;
use crate::settings::Config;
use crate::settle::context::StageContext;
use crate::storm::board::Storms;

/// What the parts of one worker share.
pub(super) struct Parts {
    pub(super) config: Arc<Config>,
    pub(super) roster: LiveRoster,
    /// The id of this replica.
    pub(super) id: String,
    pub(super) client: ::redis::Client,
    pub(super) keys: Keys,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    kafka_health: Arc<KafkaHealth>,
    storms: Arc<Storms>,
    lanes: Arc<Lanes>,
    unplaced: Unplaced,
    known: Arc<Known>,
}

/// What is known once Redis and Kafka have answered and no check refuses the start.
pub(super) struct Begun {
    /// The size in bytes of the largest record that one of the inputs accepts.
    pub(super) largest: u64,
    /// Where partitions of topics begin that are new to the input.
    pub(super) begins: Begins,
    pub(super) names: Names,
}

/// The settings of a client are refused.
pub(super) fn refused(error: SettingsError) -> Exit {
    Exit::usage(error.to_string())
}

impl Parts {
    /// Builds what needs no server. The lanes are built and do not run yet.
    pub(super) fn new(config: Arc<Config>, roster: LiveRoster) -> Result<(Self, UnstartedLanes), Exit> {
        allow_open_files(&config)?;
        let id = replica_id();
        let client = config.redis.client().map_err(Exit::usage)?;
        let keys = Keys::new(&config.redis.prefix);
        // Check this before topics are created and positions are committed for a worker that cannot run.
        settings::try_clients(&config.kafka).map_err(refused)?;
        let metrics = metrics(&config);
        let health = Arc::new(Health::default());
        let storms = Arc::new(Storms::new(&id));
        let token_key = &config.redis.token_key;
        let prepared = threads::prepare(&roster.load(), &config.intake, &health, token_key, lane_threads());
        let (lanes, unstarted) = prepared.map_err(Exit::usage)?;
        let (lanes, unplaced, known) = (Arc::new(lanes), Unplaced::default(), Arc::new(Known::default()));
        let kafka_health = KafkaHealth::start(&config.kafka).map_err(refused)?;
        let parts =
            Self { config, roster, id, client, keys, metrics, health, kafka_health, storms, lanes, unplaced, known };
        Ok((parts, unstarted))
    }

    /// The status of a worker that starts.
    pub(super) fn status(&self) -> Arc<WorkerStatus> {
        Arc::new(WorkerStatus {
            id: self.id.clone(),
            client: self.client.clone(),
            keys: self.keys.clone(),
            metrics: self.metrics.clone(),
            health: self.health.clone(),
            kafka: self.kafka_health.clone(),
            lanes: self.lanes.clone(),
            embedded: setup::embedded(&self.config),
            label: self.config.admin.label.clone(),
            phase: Mutex::new("starting".into()),
            running: OnceLock::new(),
            refused: RefusedInputs::default(),
            storms: self.storms.clone(),
            seen: Seen::default(),
        })
    }

    /// Waits for Redis and Kafka, and makes every check that may refuse the start. No consumer joins its group before.
    pub(super) async fn begin(&self, cluster: &Arc<Cluster>, say: &Say) -> Result<Begun, String> {
        let Self { config, client, health, storms, .. } = self;
        start::redis(client, health, say).await?;
        let Fit { inputs, largest } = start::kafka(config, cluster, say).await?;
        start::first(config, cluster, client, health, say).await?;
        let begins = start::known_topics(config, cluster, client, health, say).await?;
        start::restore_switches(client, &self.keys, &self.lanes, (&self.unplaced, storms), health, say).await;
        Ok(Begun { largest, begins, names: start::names(config, cluster, inputs, say).await? })
    }

    /// What every stage after admission uses.
    pub(super) fn context(
        &self,
        largest: u64,
        give_back: Sender<Box<Delivery>>,
        halts: UnboundedSender<Halted>,
    ) -> Result<Arc<StageContext>, Exit> {
        Ok(Arc::new(StageContext {
            metrics: self.metrics.clone(),
            refusals: Arc::new(Refusals::new(self.kafka_health.clone())),
            producer: Producer::new(&self.config.kafka, largest).map_err(refused)?,
            topics: topics_of(&self.config),
            lease: self.config.dedupe.lease,
            health: self.health.clone(),
            replicas: Arc::new(AtomicUsize::new(1)),
            give_back,
            halts,
            quiet: Arc::default(),
        }))
    }

    /// Starts the consumer of the retry tiers and parking topics.
    pub(super) fn waiting(
        &self,
        topics: &BTreeSet<String>,
        given_back: Receiver<Box<Delivery>>,
    ) -> Result<Started, Exit> {
        let kafka = &self.config.kafka;
        let settings = Settings {
            unplaced: self.unplaced.clone(),
            client: settings::waiting(kafka, topics.len()).map_err(refused)?,
            subscribe: topics.clone(),
            kind: Kind::Waiting,
            drain: self.drain(),
            begins: Begins::default(),
            window: None,
            has_ids: !self.config.is_embedded(),
        };
        let handler = Waiting::new(
            self.examiner(),
            self.lanes.clone(),
            self.metrics.clone(),
            self.health.clone(),
            (kafka.retry_prefix.clone(), kafka.parked_prefix.clone()),
            given_back,
            self.known.clone(),
        );
        spawn("waiting", settings, handler)
    }

    /// Starts the consumer of the input topics.
    pub(super) fn intake(&self, topics: &BTreeSet<String>, begins: Begins) -> Result<Started, Exit> {
        let config = &self.config;
        let settings = Settings {
            unplaced: self.unplaced.clone(),
            client: settings::intake(&config.kafka).map_err(refused)?,
            subscribe: topics.clone(),
            kind: Kind::Input,
            drain: self.drain(),
            begins,
            window: Some(config.intake.window()),
            has_ids: !config.is_embedded(),
        };
        let handler = Intake::new(
            self.examiner(),
            self.lanes.clone(),
            self.metrics.clone(),
            self.health.clone(),
            config.intake,
            self.known.clone(),
            self.storms.clone(),
        );
        spawn("intake", settings, handler)
    }

    pub(super) fn coordinator(
        &self,
        context: &StageContext,
        runtimes: &Arc<Runtimes>,
        consumers: Vec<Watched>,
        retention: Arc<Retention>,
        halts: UnboundedReceiver<Halted>,
    ) -> Coordinator {
        Coordinator {
            client: self.client.clone(),
            keys: self.keys.clone(),
            id: self.id.clone(),
            lanes: self.lanes.clone(),
            runtimes: runtimes.clone(),
            health: self.health.clone(),
            metrics: self.metrics.clone(),
            consumers,
            halts,
            replicas: context.replicas.clone(),
            retention,
            refusals: context.refusals.clone(),
            parked_prefix: self.config.kafka.parked_prefix.clone(),
            unplaced: self.unplaced.clone(),
            known: self.known.clone(),
            own_store: self.config.is_embedded(),
            quiet: context.quiet.clone(),
            storms: self.storms.clone(),
        }
    }

    fn examiner(&self) -> Examiner {
        Examiner::new(self.roster.clone(), self.config.kafka.result_topics(), self.metrics.clone())
    }

    /// How long a revoked partition waits for its unfinished records: longer than any request takes.
    fn drain(&self) -> Duration {
        let timeouts = self.config.accounts.values().flat_map(|a| [a.limits.timeout, a.call_limits.timeout]);
        timeouts.max().unwrap_or_default() + Duration::from_secs(2)
    }
}

fn lane_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
