//! Writes an [`Envelope`] as headers.

use super::{Copy, Cut, Envelope, name, tame};
use crate::kafka::record::Header;

/// The limit of `pb-truncated`, whose text keeps to a limit of its own.
const CUT_MAX: usize = 2200;

impl Envelope {
    /// The worker's own headers of one copy: one block, which stands behind the producer's headers.
    pub fn write(&self, kind: Copy<'_>) -> Vec<Header> {
        let mut block = Block(Vec::with_capacity(28));
        self.write_lineage(&mut block);
        if matches!(kind, Copy::Result) {
            return block.0;
        }
        block.number(name::RESENDS, Some(i64::from(self.resends)));
        if !matches!(kind, Copy::Dead(..) | Copy::Replayed) {
            block.number(name::DUE, self.due_ms);
            block.number(name::RETRY_SINCE, self.retry_since_ms);
            block.number(name::PARKED_AT, self.parked_at_ms);
            block.number(name::PASS, Some(i64::from(self.pass)));
            block.number(name::PAGE, Some(i64::from(self.page)).filter(|page| *page > 0));
            block.number(name::ALTERNATE, Some(i64::from(self.alternate)).filter(|alternate| *alternate > 0));
        }
        if let Some(last) = &self.last {
            block.text(name::LAST_ERROR, &last.class, 64);
            block.some(name::LAST_CODE, Some(&last.code).filter(|c| !c.is_empty()), 256);
            block.number(name::LAST_STATUS, last.status.map(i64::from));
        }
        if let Copy::Parked(named) | Copy::Dead(named, _) = kind {
            block.some(name::PLATFORM, named.platform.as_ref(), 64);
            block.some(name::ACCOUNT, named.account.as_ref(), 128);
            block.some(name::TRANS_ID, named.trans_id.as_ref(), 1024);
            block.some(name::EVENT, named.event.as_ref(), 256);
        }
        if let Copy::Dead(_, cause) = kind {
            block.text(name::REASON, cause.reason, 64);
            block.text(name::FIELD, &cause.field, 512);
            block.text(name::DETAIL, &cause.detail, 512);
            block.number(name::FAILED_AT, Some(cause.failed_at_ms));
            block.text(name::WORKER, &cause.worker, 128);
            block.some(name::TRUNCATED, cause.truncated.as_ref().map(Cut::to_string).as_ref(), CUT_MAX);
        }
        if let Some(replay) = &self.replay {
            block.text(name::REPLAY_ID, &replay.id, 128);
            block.number(name::REPLAYS, Some(i64::from(replay.replays)));
            if replay.force {
                block.text(name::REPLAY_FORCE, "true", 8);
            }
        }
        block.0
    }

    /// Writes the headers of every kind of copy. `pb-origin-topic` comes first, because it marks the beginning of the
    /// block.
    fn write_lineage(&self, block: &mut Block) {
        block.text(name::ORIGIN_TOPIC, &self.origin.topic, 249);
        block.number(name::ORIGIN_PARTITION, Some(i64::from(self.origin.partition)));
        block.number(name::ORIGIN_OFFSET, Some(self.origin.offset));
        block.number(name::ORIGIN_TIMESTAMP, Some(self.origin.timestamp_ms));
        block.number(name::FIRST_SEEN, Some(self.first_seen_ms));
        block.number(name::FIRST_ATTEMPT, self.first_attempt_ms);
        block.number(name::ATTEMPTS, Some(i64::from(self.attempts)));
    }
}

/// Headers that are being written. All texts together stay below the 8 KiB that a copy may grow by.
struct Block(Vec<Header>);

impl Block {
    fn text(&mut self, name: &str, text: &str, max: usize) {
        self.0.push(Header::text(name, tame(text, max)));
    }

    fn some(&mut self, name: &str, text: Option<&String>, max: usize) {
        if let Some(text) = text {
            self.text(name, text, max);
        }
    }

    fn number(&mut self, name: &str, number: Option<i64>) {
        if let Some(number) = number {
            self.0.push(Header::text(name, number.to_string()));
        }
    }
}
