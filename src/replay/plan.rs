//! Makes a plan: freezes what is selected, judges each dead letter as the worker would judge it now, and keeps both.

mod counts;
mod request;
mod selection;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use self::counts::PlanCounts;
pub use self::request::PlanRequest;
pub use self::selection::Selection;
use crate::inspect::dead_letters::State as LetterState;
use crate::inspect::dead_letters::scan::Scan;
use crate::kafka::reader::{Fetch, Reader};
use crate::kafka::topics::AdminError;
use crate::operate::keys::LetterTopic;
use crate::operate::orders::renewed_ms;
use crate::replay::discards::Discards;
use crate::replay::error::ReplayError;
use crate::replay::judge::{Judged, Rules};
use crate::replay::lookup;
use crate::replay::places::Place;
use crate::replay::setup::Setup;
use crate::replay::store::{self, Plan};
use crate::replay::view::Progress;

/// The dead letters that are read and judged at once.
const AT_ONCE: usize = 4096;
/// How often a plan that is being made says how far it is.
const EVERY: Duration = Duration::from_millis(500);

/// Makes plans, one at a time.
pub struct Planner {
    setup: Arc<Setup>,
    scan: Arc<Scan>,
    turn: Mutex<()>,
}

impl Planner {
    pub fn new(setup: Arc<Setup>, scan: Arc<Scan>) -> Self {
        Self { setup, scan, turn: Mutex::new(()) }
    }

    /// Looks whether what a request names one by one is there, before a plan of it is entered.
    ///
    /// # Errors
    /// A place holds no dead letter, or Kafka does not answer.
    pub async fn check(&self, request: &PlanRequest) -> Result<(), ReplayError> {
        if let Selection::Items(places) = &request.selection {
            self.ends_around(places).await?;
        }
        Ok(())
    }

    /// The ends of the dead-letter topic, if each of these places lies in it.
    async fn ends_around(&self, places: &[Place]) -> Result<BTreeMap<i32, i64>, ReplayError> {
        let setup = self.setup.clone();
        let bounds = blocking(move || reader(&setup, Fetch::Records)?.bounds()).await?;
        for (partition, offset) in places {
            let is_there = bounds.iter().any(|r| r.partition == *partition && (r.from..r.end).contains(offset));
            if !is_there {
                let message = format!("no dead letter lies at {partition}:{offset}");
                return Err(ReplayError::bad("items", message));
            }
        }
        Ok(bounds.iter().map(|range| (range.partition, range.end)).collect())
    }

    /// Enters a plan, so that it can be seen while it is made.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn begin(&self, request: &PlanRequest) -> Result<(), ReplayError> {
        let mut c = self.connect().await?;
        let plan = request.plan();
        store::begin_plan(&mut c, &self.setup.keys, &request.draft(&plan))
            .await
            .map_err(|error| ReplayError::redis(&error))
    }

    /// Makes a plan that was entered, and keeps it, or the reason why there is none.
    pub async fn make(&self, request: &PlanRequest) -> Result<(), ReplayError> {
        let made = self.try_make(request).await;
        if let Err(error) = &made {
            tracing::warn!(replay = request.id, %error, "no plan could be made");
            // Without Redis the plan is forgotten within a minute.
            if let Ok(mut c) = self.connect().await {
                let _ = store::plan_failed(&mut c, &self.setup.keys, &request.id, &error.to_string()).await;
            }
        }
        made
    }

    async fn try_make(&self, request: &PlanRequest) -> Result<(), ReplayError> {
        let mut maker = Maker { planner: self, request, c: self.connect().await?, told: tokio::time::Instant::now() };
        let _turn = loop {
            tokio::select! {
                turn = self.turn.lock() => break turn,
                () = tokio::time::sleep(EVERY) => maker.tell(0, 0).await?,
            }
        };
        let mut plan = request.plan();
        // Before the selection, so that its places are never of an earlier topic than this one.
        let topic = self.setup.letter_topic(&mut maker.c).await?;
        plan.topic_id = topic.id().map(str::to_owned);
        let places = maker.select(&mut plan).await?;
        let (plan, values) = maker.judge(plan, places, topic).await?;
        store::keep_plan(&mut maker.c, &self.setup.keys, &request.draft(&plan), &values)
            .await
            .map_err(|e| ReplayError::redis(&e))
    }

    async fn connect(&self) -> Result<MultiplexedConnection, ReplayError> {
        crate::redis::connect(&self.setup.client).await.map_err(|error| ReplayError::redis(&error))
    }
}

/// A plan that is being made.
struct Maker<'a> {
    planner: &'a Planner,
    request: &'a PlanRequest,
    c: MultiplexedConnection,
    told: tokio::time::Instant,
}

impl Maker<'_> {
    /// Says how far the plan is, now and then.
    async fn tell(&mut self, scanned: u64, total: u64) -> Result<(), ReplayError> {
        if self.told.elapsed() < EVERY {
            return Ok(());
        }
        let progress = Progress { scanned, total };
        store::plan_goes_on(&mut self.c, &self.planner.setup.keys, &self.request.id, &progress)
            .await
            .map_err(|error| ReplayError::redis(&error))?;
        self.told = tokio::time::Instant::now();
        Ok(())
    }

    /// The places that are selected, in order, and the ends up to which they were looked for.
    async fn select(&mut self, plan: &mut Plan) -> Result<Vec<Place>, ReplayError> {
        match &self.request.selection {
            Selection::Items(places) => {
                plan.end_offsets = self.planner.ends_around(places).await?;
                Ok(places.clone())
            }
            Selection::Filter(filter) => {
                plan.end_offsets = self.search().await?;
                plan.left_out = self.planner.scan.progress().left_out_of(filter);
                let index = self.planner.scan.index();
                if index.topic().id() != plan.topic_id.as_deref() {
                    return Err(ReplayError::Unavailable("the dead-letter topic was made anew: ask again".to_owned()));
                }
                let rows = index.select(filter, Some(&plan.end_offsets));
                let place = |row| {
                    let row = index.row(row);
                    (row.partition, row.offset)
                };
                Ok(rows.into_iter().map(place).collect())
            }
        }
    }

    /// Waits until the index knows every dead letter that is there now.
    async fn search(&mut self) -> Result<BTreeMap<i32, i64>, ReplayError> {
        /// A search that stands still for this long has failed.
        const PATIENCE: Duration = Duration::from_secs(60);
        let scan = self.planner.scan.clone();
        let (mut last, mut moved) = ((0, 0), tokio::time::Instant::now());
        let number = scan.ask_anew();
        loop {
            match scan.fresh_since(number, EVERY).await {
                Ok(ends) => return Ok(ends),
                Err(trouble) => {
                    let progress = scan.progress();
                    let now = (progress.scanned, progress.total);
                    if now != last {
                        (last, moved) = (now, tokio::time::Instant::now());
                    }
                    if trouble.refused || moved.elapsed() > PATIENCE {
                        return Err(ReplayError::kafka(trouble));
                    }
                    self.tell(now.0, now.1).await?;
                }
            }
        }
    }

    /// Judges each selected dead letter, and counts.
    async fn judge(
        &mut self,
        mut plan: Plan,
        places: Vec<Place>,
        topic: LetterTopic,
    ) -> Result<(Plan, Vec<(String, Vec<u8>)>), ReplayError> {
        let setup = self.planner.setup.clone();
        let redis = |error: ::redis::RedisError| ReplayError::redis(&error);
        let keys = setup.keys.of(&topic);
        let mut discards = Discards::of(topic);
        discards.refresh(&mut self.c, &setup).await?;
        let epoch: Option<String> =
            ::redis::cmd("GET").arg(setup.keys.epoch()).query_async(&mut self.c).await.map_err(redis)?;
        let forgotten_ms = epoch.as_deref().and_then(renewed_ms).max(discards.claims_lost_ms());
        if matches!(self.request.state(), Some(LetterState::Replayed | LetterState::Discarded)) {
            plan.discards = Some(discards.ids());
        }
        // The index has judged by them already which letters a filter selects.
        if matches!(self.request.selection, Selection::Filter(_)) {
            discards = Discards::default();
        }
        let now_ms = crate::redis::now_ms(&mut self.c).await.map_err(redis)?;
        let rules = Rules { force: plan.force, window: setup.window, forgotten_ms, now_ms };
        let again = plan.again;
        let mut counts = PlanCounts::new(plan);
        let total = places.len() as u64;
        let fetch = if places.len() > 64 { Fetch::Ranges } else { Fetch::Records };
        let of = setup.clone();
        let reader = Arc::new(std::sync::Mutex::new(blocking(move || reader(&of, fetch)).await?));
        let mut done = 0;
        for part in places.chunks(AT_ONCE) {
            let (of, reader, part) = (setup.clone(), reader.clone(), part.to_vec());
            let judged = blocking(move || {
                let records = reader.lock().unwrap_or_else(PoisonError::into_inner).fetch(&part)?;
                let judge = |record| rules.judge(&of.previewer, &|topic| of.is_input(topic), record);
                Ok(records.iter().map(|r| ((r.partition, r.offset), judge(r))).collect::<Vec<(Place, Judged)>>())
            });
            let judged = judged.await?;
            let skips =
                lookup::skips(&mut self.c, (&keys, &setup.prefix), &judged, again, &discards).await.map_err(redis)?;
            for ((place, judged), (skip, _)) in judged.iter().zip(skips) {
                counts.add(*place, judged, skip, setup.counted_as(judged.letter.text("account")));
            }
            done += judged.len() as u64;
            self.tell(done, total).await?;
        }
        Ok(counts.finish())
    }
}

fn reader(setup: &Setup, fetch: Fetch) -> Result<Reader, AdminError> {
    Reader::new(&setup.kafka, &setup.kafka.dead_letter, fetch)
}

/// Runs a call that blocks on a thread of its own.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, AdminError> + Send + 'static,
) -> Result<T, ReplayError> {
    let ended = spawn_blocking(call).await;
    ended.map_err(|_| ReplayError::Unavailable("the reading broke off".to_owned()))?.map_err(ReplayError::kafka)
}

#[cfg(test)]
mod tests;
