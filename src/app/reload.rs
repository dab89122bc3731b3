//! Carries out reloads of the configuration, one after the other: on SIGHUP and when the API asks.
//!
//! A reload is judged as a whole before anything of it takes effect. Then, in this order: metrics and lanes of added
//! accounts exist, changed lanes go on with their new settings, and only then do events find the new accounts. So no
//! event ever meets an account without a lane.

mod secrets;
mod told;
mod topics;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ::redis::Client;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;

use self::secrets::{age_warning, has_other_credential, secret_keys};
use self::told::{entry, names};
use self::topics::{allows, needs_topics, watch};
use crate::account::Account;
use crate::account::roster::{LiveRoster, Roster};
use crate::app::start;
use crate::app::start::look_at_topics;
use crate::clock::now_ms;
use crate::exit::Exit;
use crate::kafka::topics::{AdminError, Cluster, OwnedTopics};
use crate::lane::handle::lanes::Lanes;
use crate::lane::threads::Runtimes;
use crate::metrics::Metrics;
use crate::operate::audit::{self, AuditRecord, Via};
use crate::operate::reload::{Ask, ReloadError, ReloadReport};
use crate::operate::status::WorkerStatus;
use crate::operate::{By, Keys};
use crate::process_limits::allow_open_files;
use crate::quiet::Told;
use crate::settings::{Config, LiveConfig, Reloaded};
use crate::telemetry;

/// The time between two tries to store what Redis did not take.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How often the age of secrets is looked at.
const SECRETS_EVERY: Duration = Duration::from_secs(3600);

/// SIGHUP from now on: it does not end the process any more.
///
/// # Errors
/// Exits with 1 if signals cannot be watched.
pub(super) fn hangups() -> Result<Signal, Exit> {
    signal(SignalKind::hangup()).map_err(|error| Exit::failed(format!("signals: {error}")))
}

/// What a reload works on.
pub(super) struct Reloader {
    id: String,
    config: LiveConfig,
    roster: LiveRoster,
    lanes: Arc<Lanes>,
    runtimes: Arc<Runtimes>,
    metrics: Arc<Metrics>,
    cluster: Arc<Cluster>,
    owned: OwnedTopics,
    client: Client,
    keys: Keys,
    /// Entries of the audit that Redis has not taken yet.
    waiting: Vec<AuditRecord>,
}

impl Reloader {
    pub(super) fn new(
        status: &WorkerStatus,
        config: LiveConfig,
        roster: LiveRoster,
        runtimes: Arc<Runtimes>,
        cluster: Arc<Cluster>,
        owned: OwnedTopics,
    ) -> Self {
        Self {
            id: status.id.clone(),
            config,
            roster,
            lanes: status.lanes.clone(),
            runtimes,
            metrics: status.metrics.clone(),
            cluster,
            owned,
            client: status.client.clone(),
            keys: status.keys.clone(),
            waiting: Vec::new(),
        }
    }

    /// Takes wishes until it is aborted.
    pub(super) fn start(mut self, mut asks: Receiver<Ask>, mut hangups: Signal) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut secrets = tokio::time::interval(SECRETS_EVERY);
            let mut told = Told::default();
            loop {
                tokio::select! {
                    Some(Ask { by, answer }) = asks.recv() => {
                        let result = self.reload(&by).await;
                        // Whoever asked may have left.
                        let _ = answer.send(result);
                    }
                    Some(()) = hangups.recv() => {
                        let by = By::new(Via::Worker, &format!("worker {}", self.id), "SIGHUP").at(&self.id);
                        // What came of it is in the log.
                        let _ = self.reload(&by).await;
                    }
                    _ = secrets.tick() => {}
                    () = tokio::time::sleep(TRY_AGAIN), if !self.waiting.is_empty() => self.store_waiting().await,
                    else => return,
                }
                told.warn(self.old_secrets());
            }
        })
    }

    async fn reload(&mut self, by: &By) -> Result<ReloadReport, ReloadError> {
        let result = self.try_reload(by).await;
        match &result {
            Ok(_) => {}
            Err(ReloadError::Invalid(problems)) => {
                self.metrics.reloads.failed();
                tracing::error!(who = by.who, reason = by.why, "the configuration was not reloaded; the old one stays");
                problems.iter().for_each(|problem| tracing::error!("{problem}"));
            }
            Err(error) => {
                self.metrics.reloads.failed();
                tracing::error!(who = by.who, reason = by.why, ?error, "the configuration was not reloaded");
            }
        }
        result
    }

    async fn try_reload(&mut self, by: &By) -> Result<ReloadReport, ReloadError> {
        let running = self.config.load_full();
        let read = running.clone();
        let reloaded = tokio::task::spawn_blocking(move || read.reload(now_ms())).await;
        let broke_off = || ReloadError::Invalid(vec!["reading the configuration broke off; see the log".to_owned()]);
        let Reloaded { config, difference, warnings } = reloaded
            .map_err(|_| broke_off())?
            .map_err(|found| ReloadError::Invalid(found.problems.iter().map(ToString::to_string).collect()))?;
        let config = Arc::new(config);
        let (old, new) = {
            let old = self.roster.load_full();
            let new = old.next(&config.accounts, &config.platforms);
            (old, new)
        };
        allow_open_files(&config).map_err(|exit| ReloadError::Invalid(vec![exit.text]))?;
        let refit = self.runtimes.refit(&old, &new).map_err(|why| ReloadError::Invalid(vec![why]))?;
        let mut report = ReloadReport {
            worker: self.id.clone(),
            changed: difference.taken.iter().map(ToString::to_string).collect(),
            at_restart: difference.at_restart.iter().map(ToString::to_string).collect(),
            added: names(&config, &running),
            removed: names(&running, &config),
            resumed: Vec::new(),
            warnings,
        };
        if !running.is_embedded() && needs_topics(&running, &config) {
            self.make_topics(&config, &mut report).await?;
        }
        // From here on nothing fails.
        self.take_effect(&config, &old, new, refit);
        self.config.store(config.clone());
        report.warnings.extend(set_filter(&running, &config));
        report.resumed = self.resume_corrected(&running, &config);
        self.metrics.reloads.succeeded(now_ms());
        self.tell(by, &report).await;
        Ok(report)
    }

    fn take_effect(&self, config: &Config, old: &Roster, new: Roster, refit: crate::lane::threads::Refit) {
        for place in new.accounts() {
            let Account { platform, name, limits, credentials, retry, .. } = &*place.account;
            self.metrics.add_account(place.index, platform, name.clone());
            let counters = self.metrics.account(place.index);
            counters.set_removed(false);
            counters.concurrency_limit.set(limits.concurrency as i64);
            counters.max_parked.set(retry.max_parked.as_secs_f64());
            counters.set_secret_windows(credentials.iter().map(|c| (c.not_before_ms, c.not_after_ms)).collect());
        }
        for (_, index) in new.removed() {
            self.metrics.account(index).set_removed(true);
        }
        let added = new.lanes().get(old.lanes().len()..).unwrap_or_default();
        tracing::debug!(lanes = added.len(), accounts = config.accounts.len(), "lanes are added");
        self.runtimes.apply(refit, &self.lanes);
        self.roster.store(Arc::new(new));
    }

    /// Makes the topics of added accounts, and judges those that records come back from by the new settings.
    async fn make_topics(&self, config: &Arc<Config>, report: &mut ReloadReport) -> Result<(), ReloadError> {
        let (cluster, new) = (self.cluster.clone(), config.clone());
        let looked = tokio::task::spawn_blocking(move || look_at_topics(&new, &cluster)).await;
        let broke_off = |_| ReloadError::Unavailable("the look at the topics broke off; see the log".to_owned());
        let (looked, warnings) = match looked.map_err(broke_off)? {
            Ok(looked) => looked,
            Err(AdminError::NoAnswer(why)) => {
                return Err(ReloadError::Unavailable(format!("kafka.brokers: {why}; reload again when Kafka answers")));
            }
            Err(error) => return Err(ReloadError::Invalid(vec![format!("kafka: {error}")])),
        };
        report.warnings.extend(warnings);
        allows(looked)?;
        watch(&mut self.owned.write().unwrap_or_else(PoisonError::into_inner), start::topics_of(config));
        Ok(())
    }

    /// Ends the halts of accounts whose credentials are other ones now: the coordinator does so within a second, for
    /// all replicas. A halt that waits for a person stays.
    fn resume_corrected(&self, running: &Config, config: &Config) -> Vec<String> {
        let mut resumed = Vec::new();
        for (name, account) in &config.accounts {
            let secret = secret_keys(config, account);
            let corrected = running.accounts.get(name).is_some_and(|old| has_other_credential(old, account, &secret));
            let Some(lane) = self.lanes.of_account(name).filter(|_| corrected) else { continue };
            lane.halt_probe().credential_replaced();
            if lane.switches.present().halted.is_some_and(|halt| !halt.waits_for_hand()) {
                resumed.push(name.to_string());
            }
        }
        resumed
    }

    /// Writes to the log and to the audit what a reload did.
    async fn tell(&mut self, by: &By, report: &ReloadReport) {
        let (who, reason) = (by.who.as_str(), by.why.as_str());
        let changed = report.changed.len();
        tracing::info!(who, reason, changed, "the configuration was reloaded");
        report.changed.iter().for_each(|change| tracing::info!("changed: {change}"));
        report.at_restart.iter().for_each(|change| tracing::warn!("takes effect at a restart only: {change}"));
        report.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        report
            .resumed
            .iter()
            .for_each(|account| tracing::info!(account, "account resumed: its credential was corrected"));
        self.waiting.push(entry(by, report));
        self.store_waiting().await;
    }

    async fn store_waiting(&mut self) {
        let stored = async {
            let mut connection = crate::redis::connect(&self.client).await?;
            let mut pipe = ::redis::pipe();
            self.waiting.iter().for_each(|entry| audit::push(&mut pipe, &self.keys, entry));
            pipe.query_async::<()>(&mut connection).await
        };
        if stored.await.is_ok() {
            self.waiting.clear();
        }
    }

    /// Warnings about secrets that should be replaced.
    fn old_secrets(&self) -> Vec<String> {
        let (now_ms, roster) = (now_ms(), self.roster.load());
        let age = |index| self.metrics.account(index).secret_age_days(now_ms);
        let accounts = roster.accounts().filter(|place| place.account.enabled);
        accounts.filter_map(|place| age_warning(&place.account.name, age(place.index)?)).collect()
    }
}

/// Applies the log filter. What is wrong with it was found before.
fn set_filter(old: &Config, new: &Config) -> Option<String> {
    if old.telemetry.log == new.telemetry.log {
        return None;
    }
    telemetry::set_filter(&new.telemetry.log).err()
}
