//! Reconciliations in the background of a worker, for clients that cannot wait for them: one at a time, each kept for
//! an hour after its end, in the memory of this process alone.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chrono::DateTime;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;

use super::found::Reconciled;
use super::range::{Range, ReconcileError};
use crate::clock::now_ms;
use crate::inspect::background::{Behind, lower_priority};
use crate::kafka::scan::Progress;

/// How long what was found is kept.
const KEPT: Duration = Duration::from_secs(3600);
/// So many that have ended are kept; older ones are forgotten before their hour is over.
const MOST_KEPT: usize = 4;

/// How far a reconciliation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ReconciliationState")]
pub enum Stage {
    Running,
    /// It was told to stop, and waits for an answer of Kafka.
    Stopping,
    /// `ledger` holds what was found.
    Completed,
    Stopped,
    /// `why` says why.
    Failed,
}

/// A reconciliation as clients see it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Reconciliation")]
pub struct Report {
    pub id: String,
    /// The replica that reads. No other one knows of it.
    pub worker: String,
    pub state: Stage,
    /// The range: times in epoch ms, or offsets.
    pub range: Range,
    pub started_ms: i64,
    pub ended_ms: Option<i64>,
    /// How many records were read.
    pub scanned: u64,
    /// How many there are to read. It rises when the next topics are begun.
    pub total: u64,
    /// Why it failed.
    pub why: Option<String>,
    /// What `postback reconcile --json` prints; null until it is completed.
    pub ledger: Option<Reconciled>,
}

/// Why none was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{id} runs, since {}: wait for its end, or stop it (DELETE)", time(.since_ms))]
    Busy { id: String, since_ms: i64 },
    #[error("the system gives no thread for it; try again")]
    NoThread,
}

/// The end: when, and what was found.
type End = (i64, Result<Arc<Reconciled>, ReconcileError>);

struct Job {
    id: String,
    range: Range,
    started_ms: i64,
    progress: Progress,
    end: watch::Sender<Option<End>>,
}

impl Job {
    fn is_over(&self) -> bool {
        self.end.borrow().is_some()
    }

    fn stage(&self) -> Stage {
        match &*self.end.borrow() {
            None if self.progress.stop.load(Relaxed) => Stage::Stopping,
            None => Stage::Running,
            Some((_, Ok(_))) => Stage::Completed,
            Some((_, Err(ReconcileError::Stopped))) => Stage::Stopped,
            Some((_, Err(_))) => Stage::Failed,
        }
    }

    /// Waits until it is over, at most so long.
    async fn over(&self, within: Duration) {
        let mut end = self.end.subscribe();
        // Without an answer in time it goes on.
        let _ = tokio::time::timeout(within, end.wait_for(Option::is_some)).await;
    }
}

/// The reconciliations of one worker.
pub struct Jobs {
    worker: String,
    keep: Duration,
    /// In the order of their starts; at most the last one runs.
    kept: Mutex<Vec<Arc<Job>>>,
}

impl Jobs {
    /// `worker` is the id of this replica.
    pub fn new(worker: &str) -> Arc<Self> {
        Self::keeping(worker, KEPT)
    }

    fn keeping(worker: &str, keep: Duration) -> Arc<Self> {
        Arc::new(Self { worker: worker.to_owned(), keep, kept: Mutex::default() })
    }

    /// Starts `work` on a thread of its own and returns at once, within a runtime.
    ///
    /// # Errors
    /// Another one runs, or the system gives no thread.
    pub fn start(
        self: &Arc<Self>,
        range: Range,
        work: impl FnOnce(&Range, &Progress) -> Result<Reconciled, ReconcileError> + Send + 'static,
    ) -> Result<Report, Refused> {
        let mut kept = self.kept();
        if let Some(job) = kept.last().filter(|job| !job.is_over()) {
            return Err(Refused::Busy { id: job.id.clone(), since_ms: job.started_ms });
        }
        let started_ms = now_ms();
        let (progress, end) = (Progress::default(), watch::Sender::new(None));
        let job = Arc::new(Job { id: new_id(started_ms), range, started_ms, progress, end });
        let own = job.clone();
        let run = move || {
            lower_priority(Behind::Far);
            // On a further thread, so that a fault there ends this one, too.
            let ended = std::thread::scope(|scope| scope.spawn(|| work(&own.range, &own.progress)).join());
            let ended = ended.unwrap_or(Err(ReconcileError::BrokeOff));
            own.end.send_replace(Some((now_ms(), ended.map(Arc::new))));
        };
        std::thread::Builder::new().name("reconcile".into()).spawn(run).map_err(|_| Refused::NoThread)?;
        let surplus = kept.len().saturating_sub(MOST_KEPT - 1);
        kept.drain(..surplus);
        kept.push(job.clone());
        drop(kept);
        tokio::spawn(forget_in_time(Arc::downgrade(self), job.clone(), self.keep));
        Ok(self.report(&job))
    }

    /// Reads how far one is; `None`: this process does not know it, or not any more.
    pub fn get(&self, id: &str) -> Option<Report> {
        self.find(id).map(|job| self.report(&job))
    }

    /// As [`Jobs::get`], but waits for its end, at most so long.
    pub async fn wait(&self, id: &str, within: Duration) -> Option<Report> {
        let job = self.find(id)?;
        job.over(within).await;
        Some(self.report(&job))
    }

    /// As [`Jobs::get`], but waits until the range is known, or refused, at most so long.
    pub async fn begun(&self, id: &str, within: Duration) -> Option<Report> {
        let (job, until) = (self.find(id)?, tokio::time::Instant::now() + within);
        while job.progress.total.load(Relaxed) == 0 && !job.is_over() && tokio::time::Instant::now() < until {
            job.over(Duration::from_millis(20)).await;
        }
        Some(self.report(&job))
    }

    /// Tells one to stop. One that has ended stays as it is.
    pub fn stop(&self, id: &str) -> Option<Report> {
        let job = self.find(id)?;
        job.progress.stop.store(true, Relaxed);
        Some(self.report(&job))
    }

    /// Forgets one that nobody has to know of, because its range was refused.
    pub fn refused(&self, id: &str) -> Option<ReconcileError> {
        let job = self.find(id)?;
        let error = match &*job.end.borrow() {
            Some((_, Err(error @ (ReconcileError::Range(_) | ReconcileError::TooLarge { .. })))) => error.clone(),
            _ => return None,
        };
        self.forget(&job);
        Some(error)
    }

    fn find(&self, id: &str) -> Option<Arc<Job>> {
        self.kept().iter().find(|job| job.id == id).cloned()
    }

    fn forget(&self, job: &Arc<Job>) {
        self.kept().retain(|one| !Arc::ptr_eq(one, job));
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Arc<Job>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, job: &Job) -> Report {
        let state = job.stage();
        let end = job.end.borrow().clone();
        let (ended_ms, found) = end.map_or((None, None), |(at_ms, found)| (Some(at_ms), Some(found)));
        let (why, ledger) = match found {
            Some(Ok(ledger)) => (None, Some((*ledger).clone())),
            Some(Err(error)) if state == Stage::Failed => (Some(error.to_string()), None),
            _ => (None, None),
        };
        Report {
            id: job.id.clone(),
            worker: self.worker.clone(),
            state,
            range: job.range.clone(),
            started_ms: job.started_ms,
            ended_ms,
            scanned: job.progress.done.load(Relaxed),
            total: job.progress.total.load(Relaxed),
            why,
            ledger,
        }
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.kept().iter().for_each(|job| job.progress.stop.store(true, Relaxed));
    }
}

async fn forget_in_time(jobs: Weak<Jobs>, job: Arc<Job>, keep: Duration) {
    // The job itself holds the sender, so the wait ends with the end alone.
    let _ = job.end.subscribe().wait_for(Option::is_some).await;
    tokio::time::sleep(keep).await;
    if let Some(jobs) = jobs.upgrade() {
        jobs.forget(&job);
    }
}

/// The time, and some letters that tell two of one second apart.
fn new_id(now_ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
    format!("{}-{:06x}", time.format("%Y%m%d-%H%M%S"), rand::random::<u32>() & 0xff_ffff)
}

fn time(ms: &i64) -> String {
    DateTime::from_timestamp_millis(*ms).unwrap_or_default().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
