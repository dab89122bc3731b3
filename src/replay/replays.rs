//! What operators do with replays. Commands and the API call these functions.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Client;
use ::redis::aio::MultiplexedConnection;

use chrono::DateTime;

use crate::clock::now_ms;
use crate::inspect::dead_letters::scan::Scan;
use crate::operate::audit::{AuditRecord, By, Change};
use crate::operate::foreign;
use crate::operate::keys::Keys;
use crate::replay::error::ReplayError;
use crate::replay::plan::{PlanRequest, Planner, Selection};
use crate::replay::setup::Setup;
use crate::replay::store::{self, Move, Stored};
use crate::replay::view::{DEFAULT_RATE, ReplayView, Request, State};

const RUN: Move = Move { to: State::Running, from: &[State::Planned], what: "be run", may: "planned" };
const RESUME: Move = Move {
    to: State::Running,
    from: &[State::Cancelled, State::StoppedItself, State::Failed],
    what: "be resumed",
    may: "cancelled, stopped_itself or failed",
};
const CANCEL: Move = Move { to: State::Cancelled, from: &[State::Running], what: "be cancelled", may: "running" };

/// The fastest rate that a replay may have.
const MAX_RATE: u32 = 100_000;

/// The replays of one worker.
#[derive(Clone)]
pub struct Replays {
    client: Client,
    keys: Arc<Keys>,
    planner: Option<Arc<Planner>>,
}

impl Replays {
    /// Without a planner: for everything but plans.
    pub fn new(client: Client, keys: Keys) -> Self {
        Self { client, keys: Arc::new(keys), planner: None }
    }

    /// With a planner that looks for dead letters with this search.
    pub fn with_plans(setup: Arc<Setup>, scan: Arc<Scan>) -> Self {
        let (client, keys) = (setup.client.clone(), setup.keys.clone());
        Self { planner: Some(Arc::new(Planner::new(setup, scan))), ..Self::new(client, keys) }
    }

    /// Makes a plan, and runs nothing. A plan that takes longer than `patience` is made in the background: then it is
    /// returned with its progress, and [`Replays::get`] shows how far it is.
    ///
    /// # Errors
    /// The request selects nothing in particular, or something that does not exist; Kafka or Redis does not answer.
    pub async fn plan(&self, request: &Request, by: &By, patience: Duration) -> Result<ReplayView, ReplayError> {
        let rate = request.rate.unwrap_or(DEFAULT_RATE);
        check_rate(rate)?;
        let Some(planner) = self.planner.clone() else {
            return Err(ReplayError::Unavailable("no plans are made here".to_owned()));
        };
        let request = PlanRequest {
            id: new_id(now_ms()),
            selection: Selection::read(request)?,
            items: request.items.clone(),
            rate,
            force: request.force,
            no_brake: request.no_brake,
            by: by.clone(),
        };
        let id = request.id.clone();
        // A request that is refused leaves no plan behind.
        self.named(planner.check(&request).await).await?;
        self.named(planner.begin(&request).await).await?;
        let making = tokio::spawn(async move { planner.make(&request).await });
        if let Ok(made) = tokio::time::timeout(patience, making).await {
            let made = made.map_err(|_| ReplayError::Unavailable("the making of the plan broke off".to_owned()))?;
            self.named(made).await?;
        }
        self.get(&id).await
    }

    /// Reads one replay.
    ///
    /// # Errors
    /// There is none, or Redis does not answer.
    pub async fn get(&self, id: &str) -> Result<ReplayView, ReplayError> {
        let mut c = self.connect().await?;
        Ok(self.stored(&mut c, id).await?.view())
    }

    /// Reads the newest replays, the newest first.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn list(&self) -> Result<Vec<ReplayView>, ReplayError> {
        let mut c = self.connect().await?;
        let all = store::read_all(&mut c, &self.keys).await.map_err(|error| ReplayError::redis(&error));
        let all = self.named(all).await?;
        Ok(all.iter().map(Stored::view).collect())
    }

    /// Lets the worker run a plan. A replica begins within a second.
    ///
    /// # Errors
    /// The plan was run before, another replay runs, there is no such plan, or Redis does not answer.
    pub async fn run(&self, id: &str, by: &By) -> Result<ReplayView, ReplayError> {
        self.change(id, RUN, Change::ReplayRun, by).await
    }

    /// Goes on with a replay that stopped before its end.
    ///
    /// # Errors
    /// As for [`Replays::run`].
    pub async fn resume(&self, id: &str, by: &By) -> Result<ReplayView, ReplayError> {
        self.change(id, RESUME, Change::ReplayResume, by).await
    }

    /// Stops a replay. Nothing is published for it after a second.
    ///
    /// # Errors
    /// It does not run, there is none, or Redis does not answer.
    pub async fn cancel(&self, id: &str, by: &By) -> Result<ReplayView, ReplayError> {
        self.change(id, CANCEL, Change::ReplayCancel, by).await
    }

    /// Changes the rate of a replay, at once if it runs.
    ///
    /// # Errors
    /// The rate cannot be used, the replay is completed, there is none, or Redis does not answer.
    pub async fn rate(&self, id: &str, rate: u32, by: &By) -> Result<ReplayView, ReplayError> {
        check_rate(rate)?;
        let mut c = self.connect().await?;
        self.stored(&mut c, id).await?;
        let mut entry = AuditRecord::new(Change::ReplayRate, by, now_ms());
        entry.subject = Some(id.to_owned());
        entry.detail = Some(format!("{rate} per second"));
        self.named(store::change_rate(&mut c, &self.keys, id, rate, &entry).await).await?;
        tracing::info!(replay = id, rate, who = by.who, why = by.why, "replay: another rate");
        Ok(self.stored(&mut c, id).await?.view())
    }

    async fn change(&self, id: &str, to: Move, what: Change, by: &By) -> Result<ReplayView, ReplayError> {
        let mut c = self.connect().await?;
        let before = self.stored(&mut c, id).await?;
        if to.to == State::Running && before.state == State::Failed && before.plan.end_offsets.is_empty() {
            let message = "its plan could not be made, so there is nothing to run: make it anew";
            return Err(ReplayError::bad("id", message));
        }
        let mut entry = AuditRecord::new(what, by, now_ms());
        let (plan, view) = (&before.plan, before.view());
        entry.subject = Some(id.to_owned());
        entry.filter = Some(plan.filter.clone()).filter(|filter| !filter.is_null());
        entry.items.clone_from(&plan.items);
        entry.end_offsets.clone_from(&plan.end_offsets);
        entry.topic_id.clone_from(&plan.topic_id);
        entry.counts = [("selected".to_owned(), plan.selected), ("republished".to_owned(), view.republished)].into();
        entry.detail = details(plan);
        self.named(store::change(&mut c, &self.keys, id, to, (by, &entry)).await).await?;
        tracing::info!(replay = id, who = by.who, why = by.why, "{what}");
        Ok(self.stored(&mut c, id).await?.view())
    }

    async fn stored(&self, c: &mut MultiplexedConnection, id: &str) -> Result<Stored, ReplayError> {
        let found = store::read(c, &self.keys, id).await.map_err(|error| ReplayError::redis(&error));
        self.named(found).await?.ok_or_else(|| ReplayError::NotFound(crate::operate::audit::safe(id)))
    }

    /// Adds the key to an error that a key brought about.
    async fn named<T>(&self, done: Result<T, ReplayError>) -> Result<T, ReplayError> {
        match done {
            Err(ReplayError::Foreign(said)) => {
                let mut c = self.connect().await?;
                Err(ReplayError::Foreign(foreign::with_keys(&mut c, &self.keys, said).await))
            }
            done => done,
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, ReplayError> {
        crate::redis::connect(&self.client).await.map_err(|error| ReplayError::redis(&error))
    }
}

/// What an operator overruled, for the audit.
fn details(plan: &store::Plan) -> Option<String> {
    let overruled: Vec<&str> = [(plan.force, "--force"), (plan.no_brake, "--no-brake")]
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, w)| *w)
        .collect();
    (!overruled.is_empty()).then(|| overruled.join(" "))
}

/// A new id: the time, and some letters that tell two plans of one second apart.
fn new_id(now_ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
    format!("{}-{:06x}", time.format("%Y%m%d-%H%M%S"), rand::random::<u32>() & 0xff_ffff)
}

/// Refuses a rate that cannot be used.
pub(super) fn check_rate(rate: u32) -> Result<(), ReplayError> {
    if (1..=MAX_RATE).contains(&rate) {
        return Ok(());
    }
    Err(ReplayError::bad("rate", format!("has to be 1 to {MAX_RATE} records per second")))
}
