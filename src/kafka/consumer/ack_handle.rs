//! What the polling thread and whoever works on a record share.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};

use crate::clock::steady_ms;
use crate::kafka::consumer::{Command, End};

/// What is known about an unfinished record; written by whoever works on it, read for status.
#[derive(Debug, Default)]
pub struct Open {
    /// Set once the record was decoded.
    pub info: OnceLock<Info>,
    /// A [`Stage`].
    pub stage: AtomicU8,
    /// When it is tried next, epoch ms; 0: unknown.
    pub next_try_ms: AtomicI64,
    got_through: AtomicBool,
    received_ms: i64,
    received_steady_ms: i64,
}

impl Open {
    /// A record received at `received_ms`.
    pub fn new(received_ms: i64) -> Self {
        Self { received_ms, received_steady_ms: steady_ms(), ..Self::default() }
    }

    /// Since when it is open, epoch ms.
    pub fn since_ms(&self) -> i64 {
        self.info.get().map_or(self.received_ms, |info| info.since_ms)
    }

    /// The same on [`steady_ms`]: an age that no wall clock that is set since makes negative or longer.
    pub fn since_steady_ms(&self) -> i64 {
        self.steady_of(self.since_ms())
    }

    /// A moment before its receipt, epoch ms, on [`steady_ms`]; one after it counts as its receipt.
    pub fn steady_of(&self, at_ms: i64) -> i64 {
        self.received_steady_ms - self.received_ms.saturating_sub(at_ms).max(0)
    }

    /// Where the work stands.
    pub fn stage(&self) -> Stage {
        Stage::from_u8(self.stage.load(Ordering::Relaxed))
    }

    /// Says where the work stands.
    pub fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Its lane got through with it: it was answered for, or nothing had to be sent.
    pub fn got_through(&self) -> bool {
        self.got_through.load(Ordering::Relaxed)
    }

    /// Says that its lane got through with it.
    pub fn set_got_through(&self) {
        self.got_through.store(true, Ordering::Relaxed);
    }

    /// Says when it is tried next, epoch ms.
    pub fn set_next_try_ms(&self, at_ms: i64) {
        self.next_try_ms.store(at_ms, Ordering::Relaxed);
    }
}

/// What decoding found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Index of the account: a metrics handle, not a name.
    pub account: usize,
    /// Identity of the event.
    pub trans_id: Box<str>,
    /// Since when the event is open, epoch ms.
    pub since_ms: i64,
    /// Bytes that count against the bounds.
    pub bytes: usize,
}

/// Where the work on a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Not due yet, or its lane is closed.
    Waiting = 0,
    /// In its lane's queue.
    Queued = 1,
    /// Asking Redis for the claim.
    Claiming = 2,
    /// On its way to the platform.
    Sending = 3,
    /// Confirming, publishing.
    Settling = 4,
    /// Our own Redis or Kafka is away.
    Held = 5,
}

impl Stage {
    /// The name in `blocked` and in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Waiting => "waiting",
            Stage::Queued => "queued",
            Stage::Claiming => "claiming",
            Stage::Sending => "sending",
            Stage::Settling => "settling",
            Stage::Held => "held",
        }
    }

    fn from_u8(byte: u8) -> Stage {
        match byte {
            1 => Stage::Queued,
            2 => Stage::Claiming,
            3 => Stage::Sending,
            4 => Stage::Settling,
            5 => Stage::Held,
            _ => Stage::Waiting,
        }
    }
}

/// One partition, from the moment it is given to this member until it is handed back. The same partition given again
/// is another assignment.
#[derive(Debug)]
pub struct Assignment {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Never used twice in a process.
    pub generation: u64,
    leaving: AtomicBool,
    gone: AtomicBool,
    unconfirmed: AtomicBool,
}

impl Assignment {
    pub(crate) fn new(topic: Arc<str>, partition: i32, generation: u64) -> Self {
        let [leaving, gone, unconfirmed] = [const { AtomicBool::new(false) }; 3];
        Self { topic, partition, generation, leaving, gone, unconfirmed }
    }

    /// Nothing more of it may be started.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// It was handed back, or taken away: another member may be reading it.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// The broker confirms no commit of this consumer: nothing of it may be sent until it does.
    pub fn is_unconfirmed(&self) -> bool {
        self.unconfirmed.load(Ordering::Acquire)
    }

    pub(crate) fn set_unconfirmed(&self, unconfirmed: bool) {
        self.unconfirmed.store(unconfirmed, Ordering::Release);
    }

    pub(crate) fn set_leaving(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    pub(crate) fn set_gone(&self) {
        self.leaving.store(true, Ordering::Release);
        self.gone.store(true, Ordering::Release);
    }
}

/// The right and the duty to end the work on one record.
///
/// Dropped without an end, e.g. by a panic, it sends [`End::Lost`]: the record is read again.
#[must_use = "an ack handle that is dropped makes its record be read again"]
pub struct AckHandle {
    assignment: Arc<Assignment>,
    open: Arc<Open>,
    seq: u64,
    sender: Option<Sender<Command>>,
}

impl AckHandle {
    pub(super) fn new(assignment: Arc<Assignment>, open: Arc<Open>, seq: u64, sender: Sender<Command>) -> Self {
        Self { assignment, open, seq, sender: Some(sender) }
    }

    /// A ack handle of no consumer, and what it was completed with: for tests of those who hold ack handles.
    #[cfg(test)]
    pub(crate) fn stub(assignment: Arc<Assignment>, seq: u64) -> (Self, impl FnMut() -> Option<End>) {
        let (sender, commands) = std::sync::mpsc::channel();
        let ended = move || match commands.try_recv() {
            Ok(Command::Done { end, .. }) => Some(end),
            _ => None,
        };
        (Self::new(assignment, Arc::new(Open::new(0)), seq, sender), ended)
    }

    /// The assignment its record came with.
    pub fn assignment(&self) -> &Arc<Assignment> {
        &self.assignment
    }

    /// What is known about its record.
    pub fn open(&self) -> &Arc<Open> {
        &self.open
    }

    /// Ends the work. What arrives for an assignment that is gone is ignored.
    pub fn complete(mut self, end: End) {
        self.send(end);
    }

    fn send(&mut self, end: End) {
        if let Some(sender) = self.sender.take() {
            // The polling thread may have ended: then nothing is stored any more, and the record is read again.
            let _ = sender.send(Command::Done { generation: self.assignment.generation, seq: self.seq, end });
        }
    }
}

impl Drop for AckHandle {
    fn drop(&mut self) {
        // Of an assignment that is gone nobody waits for an end.
        if self.sender.is_some() && !self.assignment.is_gone() {
            let Assignment { topic, partition, .. } = &*self.assignment;
            tracing::error!(kafka.topic = %topic, kafka.partition = partition, seq = self.seq, "work on a record was dropped");
            self.send(End::Lost);
        }
    }
}

impl fmt::Debug for AckHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AckHandle({} [{}] #{})", self.assignment.topic, self.assignment.partition, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Outcome;

    fn assignment() -> Arc<Assignment> {
        Arc::new(Assignment::new("t".into(), 0, 1))
    }

    #[test]
    fn a_ticket_says_its_end_once_and_a_dropped_one_says_that_it_was_lost() {
        let (ack, mut ended) = AckHandle::stub(assignment(), 0);
        ack.complete(End::Finished(Outcome::Duplicate));
        assert_eq!((ended(), ended()), (Some(End::Finished(Outcome::Duplicate)), None));

        let (ack, mut ended) = AckHandle::stub(assignment(), 0);
        let panicked = std::thread::spawn(move || {
            let _held = ack;
            panic!("the work on it panics");
        });
        assert!(panicked.join().is_err());
        assert_eq!(ended(), Some(End::Lost));
    }

    #[test]
    fn of_an_assignment_that_is_gone_nobody_waits_for_an_end() {
        let (ack, mut ended) = AckHandle::stub(assignment(), 0);
        ack.assignment().set_gone();
        assert!(ack.assignment().is_leaving() && ack.assignment().is_gone());
        drop(ack);
        assert_eq!(ended(), None);
    }

    #[test]
    fn a_stage_is_read_back_as_it_was_set() {
        let open = Open::new(7);
        for stage in [Stage::Waiting, Stage::Queued, Stage::Claiming, Stage::Sending, Stage::Settling, Stage::Held] {
            open.set_stage(stage);
            assert_eq!(open.stage(), stage);
        }
        assert_eq!(open.since_ms(), 7);
    }

    #[test]
    fn an_age_is_what_it_was_at_its_receipt_and_what_has_passed_since() {
        let since = |ms: i64| Info { account: 0, trans_id: "t".into(), since_ms: ms, bytes: 0 };
        let now_ms = 1_790_000_000_000;
        for (since_ms, age_ms) in [(now_ms - 60_000, 60_000), (now_ms, 0), (now_ms + 3_600_000, 0)] {
            let open = Open::new(now_ms);
            let received = open.since_steady_ms();
            assert!((steady_ms() - received) < 30_000);
            open.info.set(since(since_ms)).unwrap();
            assert_eq!(received - open.since_steady_ms(), age_ms, "none is negative");
        }
    }
}
