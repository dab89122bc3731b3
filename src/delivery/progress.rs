//! How far the work on a record is, for the status, and how it ends. The consumer keeps both without knowing their
//! meaning.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};

use crate::clock::steady_ms;
use crate::error::Outcome;
use crate::kafka::consumer::{self, Work};

pub type AckHandle = consumer::AckHandle<Open>;
pub type ConsumerHandle = consumer::ConsumerHandle<Open>;
/// What other threads see of a consumer.
pub type ConsumerView = consumer::ConsumerView<Shown>;
/// A consumer at one moment.
pub type Snapshot = consumer::Snapshot<Shown>;
/// One owned partition.
pub type PartitionView = consumer::PartitionView<Shown>;

/// How the work on a record ended, for its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It reached a terminal state.
    Finished(Outcome),
    /// It was handed off to a tier.
    Retried,
    /// It was handed off to a parking topic.
    Parked,
    /// It was given back unstarted or unfinished, because of a revoke or a shutdown.
    Returned,
    /// The work on it stopped without saying so: the record is read again.
    Lost,
}

/// What is known about an unfinished record. The stages write it, and the status reads it.
#[derive(Debug, Default)]
pub struct Open {
    /// Set once the record was decoded.
    pub info: OnceLock<Info>,
    pub stage: AtomicU8,
    /// When it is tried next, epoch ms; 0: unknown.
    pub next_try_ms: AtomicI64,
    got_through: AtomicBool,
    leaves: AtomicBool,
    /// Set when the intake hands it to the thread of its lane.
    pub handed_over: OnceLock<HandedOver>,
    received_ms: i64,
    received_steady_ms: i64,
}

impl Open {
    /// Since when it is open, epoch ms.
    pub fn since_ms(&self) -> i64 {
        self.info.get().map_or(self.received_ms, |info| info.since_ms)
    }

    pub fn stage(&self) -> Stage {
        Stage::from_u8(self.stage.load(Ordering::Relaxed))
    }

    pub fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Whether its lane made progress with it: it got an answer, or nothing had to be sent.
    pub fn got_through(&self) -> bool {
        self.got_through.load(Ordering::Relaxed)
    }

    /// Notes that its lane made progress with it.
    pub fn set_got_through(&self) {
        self.got_through.store(true, Ordering::Relaxed);
    }

    /// Whether it has to go to its parking topic or to a tier, because it holds back the position of its partition.
    pub fn leaves(&self) -> bool {
        self.leaves.load(Ordering::Relaxed)
    }

    /// Makes it leave at the next moment at which it may. Returns `false` if it was told before.
    pub fn set_leaves(&self) -> bool {
        !self.leaves.swap(true, Ordering::Relaxed)
    }

    /// Sets when it is tried next, epoch ms.
    pub fn set_next_try_ms(&self, at_ms: i64) {
        self.next_try_ms.store(at_ms, Ordering::Relaxed);
    }
}

impl Work for Open {
    type End = End;
    type Shown = Shown;

    const LOST: End = End::Lost;

    fn received(at_ms: i64) -> Self {
        Self { received_ms: at_ms, received_steady_ms: steady_ms(), ..Self::default() }
    }

    fn is_over(end: End) -> bool {
        match end {
            End::Finished(_) | End::Retried | End::Parked => true,
            End::Returned | End::Lost => false,
        }
    }

    /// Its age by the monotonic clock, so that setting the wall clock makes it neither negative nor longer.
    fn since_steady_ms(&self) -> i64 {
        self.steady_of(self.since_ms())
    }

    fn steady_of(&self, at_ms: i64) -> i64 {
        self.received_steady_ms - self.received_ms.saturating_sub(at_ms).max(0)
    }

    fn shown(&self) -> Shown {
        let info = self.info.get();
        Shown {
            trans_id: info.map(|info| info.trans_id.clone()),
            account: info.map(|info| info.account),
            stage: self.stage(),
            since_steady_ms: self.since_steady_ms(),
            next_try_ms: Some(self.next_try_ms.load(Ordering::Relaxed)).filter(|&at| at != 0),
            stored_ms: info.and_then(|info| info.stored_ms),
        }
    }

    fn group(&self) -> Option<usize> {
        self.info.get().map(|info| info.account)
    }
}

/// What the intake notes of a record that it hands over, to count how far it reads ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedOver {
    /// The round of the thread, which ends when the thread runs out of work.
    pub round: u64,
    /// The number of the thread.
    pub thread: usize,
}

/// What decoding found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The index of the account in the metrics.
    pub account: usize,
    /// The index of its lane; `None`: it has none.
    pub lane: Option<usize>,
    /// The identity of the event.
    pub trans_id: Box<str>,
    /// Since when the event is open, epoch ms.
    pub since_ms: i64,
    /// The bytes that count against the bounds.
    pub bytes: usize,
    /// The timestamp of this copy in its topic, epoch ms: retention counts from there.
    pub stored_ms: Option<i64>,
}

/// What status shows of an unfinished record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its identity, once it is decoded.
    pub trans_id: Option<Box<str>>,
    /// The index of its account, once that is known.
    pub account: Option<usize>,
    pub stage: Stage,
    /// Since when it is open, on the monotonic clock.
    pub since_steady_ms: i64,
    /// When it is tried next, epoch ms.
    pub next_try_ms: Option<i64>,
    /// The timestamp of this copy in its topic, epoch ms.
    pub stored_ms: Option<i64>,
}

/// Where the work on a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// It is not due yet, or its lane is closed.
    Waiting = 0,
    /// It is in its lane's queue.
    Queued = 1,
    /// It asks Redis for its claim.
    Claiming = 2,
    /// It is on its way to the platform.
    Sending = 3,
    /// It is confirmed or published.
    Settling = 4,
    /// Our own Redis or Kafka is away.
    Holding = 5,
}

impl Stage {
    /// The name in `blocked` and in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Waiting => "waiting",
            Stage::Queued => "queued",
            Stage::Claiming => "claiming",
            Stage::Sending => "sending",
            Stage::Settling => "settling",
            Stage::Holding => "held",
        }
    }

    fn from_u8(byte: u8) -> Stage {
        match byte {
            1 => Stage::Queued,
            2 => Stage::Claiming,
            3 => Stage::Sending,
            4 => Stage::Settling,
            5 => Stage::Holding,
            _ => Stage::Waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_read_back_as_it_was_set() {
        let open = Open::received(7);
        for stage in [Stage::Waiting, Stage::Queued, Stage::Claiming, Stage::Sending, Stage::Settling, Stage::Holding] {
            open.set_stage(stage);
            assert_eq!(open.stage(), stage);
        }
        assert_eq!(open.since_ms(), 7);
    }

    #[test]
    fn an_age_is_what_it_was_at_its_receipt_and_what_has_passed_since() {
        let since =
            |ms: i64| Info { account: 0, lane: None, trans_id: "t".into(), since_ms: ms, bytes: 0, stored_ms: None };
        let now_ms = 1_790_000_000_000;
        for (since_ms, age_ms) in [(now_ms - 60_000, 60_000), (now_ms, 0), (now_ms + 3_600_000, 0)] {
            let open = Open::received(now_ms);
            let received = open.since_steady_ms();
            assert!((steady_ms() - received) < 30_000);
            open.info.set(since(since_ms)).unwrap();
            assert_eq!(received - open.since_steady_ms(), age_ms, "none is negative");
        }
    }
}
