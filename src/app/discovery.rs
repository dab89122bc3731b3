//! Topics that come while the worker runs: found within a few seconds, judged as at a start, and then read.
//!
//! The worker matches names itself (`kafka::matching`) and tells its consumers which ones to read. An input that comes later,
//! whether by its name or by a pattern, and that would have refused a start is not read: it is named in the log and in
//! `/ready`, and looked at again; so is a name that does not exist, without the log. A name that was read once
//! stays on the list: a topic that is missing for a moment must not cost its partitions.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use crate::app::names::Names;
use crate::app::start::inputs::judge_inputs;
use crate::app::start::topics::{ABSENT, absent};
use crate::delivery::progress::ConsumerHandle;
use crate::kafka::topics::{AdminError, Cluster};
use crate::operate::status::RefusedInputs;
use crate::quiet::Told;
use crate::settings::Config;

/// Between two looks: with the joining that follows, a new one is read within ten seconds.
const EVERY: Duration = Duration::from_secs(4);

/// Looks for new topics.
pub struct Discovery {
    pub config: Arc<Config>,
    /// Whom to ask.
    pub cluster: Arc<Cluster>,
    /// What is read already.
    pub names: Names,
    /// The consumer of the inputs.
    pub intake: Arc<ConsumerHandle>,
    /// The consumer of tiers and parking.
    pub waiting: Arc<ConsumerHandle>,
    /// Bytes of the largest record for which the worker's own topics were checked.
    pub largest: u64,
    /// What is not to be read.
    pub refused: RefusedInputs,
}

impl Discovery {
    /// Looks, on a thread of its own, until what is returned is dropped.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn start(mut self) -> std::io::Result<Arc<()>> {
        let running = Arc::new(());
        let watched: Weak<()> = Arc::downgrade(&running);
        std::thread::Builder::new().name("kafka-topics".into()).spawn(move || {
            let mut told = Told::default();
            while watched.strong_count() > 0 {
                std::thread::sleep(EVERY);
                match self.look() {
                    Ok(()) => told.warn(Vec::new()),
                    // Said by others: nobody answers anybody.
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
        let judged = judge_inputs(&self.config, &self.cluster, &new, self.largest)?;
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
        // The start has said it.
        let there: Vec<&str> = found.inputs.union(&self.names.inputs).map(String::as_str).collect();
        refused.extend(absent(&self.config, &there).map(|name| (name.to_owned(), ABSENT.to_owned())));
        *known = refused;
        Ok(())
    }
}
