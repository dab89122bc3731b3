//! Reads the discards from the audit topic, and follows it.

use std::collections::BTreeMap;

use crate::inspect::dead_letters::discards::DiscardLog;
use crate::kafka::Config;
use crate::kafka::reader::{Fetch, Range, Reader};
use crate::kafka::topics::AdminError;
use crate::operate::audit::AuditRecord;

/// The reading of the audit topic.
pub struct Audit {
    reader: Option<Reader>,
    /// The id of the topic that was read.
    topic_id: Option<String>,
    /// Per partition the first offset that was not read.
    next: BTreeMap<i32, i64>,
    log: DiscardLog,
}

impl Default for Audit {
    fn default() -> Self {
        Self::new()
    }
}

impl Audit {
    pub fn new() -> Self {
        Self { reader: None, topic_id: None, next: BTreeMap::new(), log: DiscardLog::default() }
    }

    /// The discards and undiscards that were read.
    pub fn log(&self) -> &DiscardLog {
        &self.log
    }

    /// Takes entries over, wherever they stand.
    pub fn take(&mut self, entries: &[AuditRecord]) {
        for entry in entries {
            if let Err(why) = self.log.take(entry) {
                tracing::warn!(%why, "the discard is left out");
            }
        }
    }

    /// Reads what the topic has beyond what was read before.
    ///
    /// # Errors
    /// See [`AdminError`]. A topic that does not exist is refused.
    pub fn read(&mut self, config: &Config) -> Result<(), AdminError> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::new(config, &config.audit, Fetch::Records)?,
        };
        // The id comes before the bounds: what is read is never of an earlier topic than this one.
        let id = if reader.bounds()?.is_empty() { None } else { reader.topic_id()? };
        if id != self.topic_id && !self.next.is_empty() {
            self.next.clear();
            // A client may remember the earlier topic.
            reader = Reader::new(config, &config.audit, Fetch::Records)?;
        }
        let mut new: Vec<Range> = Vec::new();
        for range in reader.bounds()? {
            let next = self.next.get(&range.partition).copied().unwrap_or(range.from);
            // A topic that was made anew begins at its start again. Not every broker has ids.
            let from = if next > range.end { range.from } else { next.max(range.from) };
            new.push(Range { from, ..range });
        }
        let mut entries = Vec::new();
        reader.read(&new, &mut |record| entries.extend(AuditRecord::read(record.value.as_deref())))?;
        self.take(&entries);
        self.next.extend(new.iter().map(|range| (range.partition, range.end)));
        self.topic_id = id;
        self.reader = Some(reader);
        Ok(())
    }
}
