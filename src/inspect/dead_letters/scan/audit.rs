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
        Self { reader: None, next: BTreeMap::new(), log: DiscardLog::default() }
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
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::new(config, &config.audit, Fetch::Records)?,
        };
        let mut new: Vec<Range> = Vec::new();
        for range in reader.bounds()? {
            let next = self.next.get(&range.partition).copied().unwrap_or(range.from);
            // A topic that was made anew begins at its start again.
            let from = if next > range.end { range.from } else { next.max(range.from) };
            new.push(Range { from, ..range });
        }
        let mut entries = Vec::new();
        reader.read(&new, &mut |record| entries.extend(AuditRecord::read(record.value.as_deref())))?;
        self.take(&entries);
        self.next.extend(new.iter().map(|range| (range.partition, range.end)));
        self.reader = Some(reader);
        Ok(())
    }
}
