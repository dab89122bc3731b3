//! Finds topics that are created while the worker runs, checks them by the rules of a start, and adds them to the
//! consumers. This takes a few seconds.
//!
//! The worker matches names itself (`kafka::matching`) and tells its consumers which topics to read. A new input, by
//! name or by pattern, that would have refused a start is not read: the log and `/ready` name it, and it is checked
//! again. A name that does not exist is treated in the same way, but is not logged. A topic that was read once stays on
//! the list, so that a topic which is missing for a moment does not lose its partitions.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use crate::app::names::Names;
use crate::app::start::inputs::judge_inputs;
use crate::app::start::topics::{ABSENT, absent};
use crate::delivery::progress::ConsumerHandle;
use crate::kafka::topics::{AdminError, Cluster};
use crate::operate::status::RefusedInputs;
use crate::quiet::Told;
use crate::settings::LiveConfig;

/// The time between two looks. With the rebalance that follows, a new topic is read within ten seconds.
const EVERY: Duration = Duration::from_secs(4);

/// Looks for new topics.
pub struct Discovery {
    pub config: LiveConfig,
    /// The client that asks the cluster.
    pub cluster: Arc<Cluster>,
    /// The topics that are read already.
    pub names: Names,
    /// The consumer of the input topics.
    pub intake: Arc<ConsumerHandle>,
    /// The consumer of the retry tiers and parking topics.
    pub waiting: Arc<ConsumerHandle>,
    /// The size in bytes of the largest record for which the worker's own topics were checked.
    pub largest: u64,
    /// The new inputs that must not be read.
    pub refused: RefusedInputs,
}

impl Discovery {
    /// Looks for new topics on a thread of its own, until the returned value is dropped.
    ///
    /// # Errors
    /// Fails if the thread cannot be started.
    pub fn start(mut self) -> std::io::Result<Arc<()>> {
        let running = Arc::new(());
        let watched: Weak<()> = Arc::downgrade(&running);
        std::thread::Builder::new().name("kafka-topics".into()).spawn(move || {
            let mut told = Told::default();
            while watched.strong_count() > 0 {
                std::thread::sleep(EVERY);
                match self.look() {
                    Ok(()) => told.warn(Vec::new()),
                    // Others report already that no broker answers.
                    Err(AdminError::NoAnswer(why)) => tracing::debug!(why, "new topics cannot be looked for yet"),
                    Err(error) => told.warn(vec![format!("new topics cannot be looked for: {error}")]),
                }
            }
        })?;
        Ok(running)
    }

    fn look(&mut self) -> Result<(), AdminError> {
        let found = Names::read(&self.cluster)?;
        let waiting: Vec<String> = found.waiting.difference(&self.names.waiting).cloned().collect();
        if !waiting.is_empty() {
            self.waiting.subscribe(waiting.clone());
            self.names.waiting.extend(waiting);
        }
        let new: Vec<&str> = found.inputs.difference(&self.names.inputs).map(String::as_str).collect();
        let judged = judge_inputs(&self.config.load(), &self.cluster, &new, self.largest)?;
        judged.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        if !judged.fit.is_empty() {
            let topics = judged.fit.join(", ");
            tracing::info!(topics, "new input topics: they are read from their beginning");
            self.intake.subscribe(judged.fit.clone());
            self.names.inputs.extend(judged.fit);
        }
        let mut refused = judged.refused;
        let mut known = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, why) in &refused {
            if known.get(name) != Some(why) {
                tracing::error!(kafka.topic = name, "the new input topic is not read: {why}");
            }
        }
        // The start has logged the inputs that do not exist.
        let there: Vec<&str> = found.inputs.union(&self.names.inputs).map(String::as_str).collect();
        refused.extend(absent(&self.config.load(), &there).map(|name| (name.to_owned(), ABSENT.to_owned())));
        *known = refused;
        Ok(())
    }
}
