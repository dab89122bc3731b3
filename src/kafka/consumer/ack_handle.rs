//! The handle that completes a record's offset.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::assignment::Assignment;
use super::command::Command;
use super::work::Work;

/// The right and the duty to end the work on one record.
///
/// If it is dropped without an end, for example because of a panic, it sends [`Work::LOST`], and the record is read
/// again.
#[must_use = "an ack handle that is dropped makes its record be read again"]
pub struct AckHandle<W: Work> {
    assignment: Arc<Assignment>,
    open: Arc<W>,
    seq: u64,
    sender: Option<Sender<Command<W>>>,
}

impl<W: Work> AckHandle<W> {
    pub(super) fn new(assignment: Arc<Assignment>, open: Arc<W>, seq: u64, sender: Sender<Command<W>>) -> Self {
        Self { assignment, open, seq, sender: Some(sender) }
    }

    /// An ack handle without a consumer, and a function that returns its end. For tests of code that holds ack handles.
    #[cfg(test)]
    pub(crate) fn stub(assignment: Arc<Assignment>, seq: u64) -> (Self, impl FnMut() -> Option<W::End>) {
        let (sender, commands) = std::sync::mpsc::channel();
        let ended = move || match commands.try_recv() {
            Ok(Command::Done { end, .. }) => Some(end),
            _ => None,
        };
        (Self::new(assignment, Arc::new(W::received(0)), seq, sender), ended)
    }

    /// The assignment in which its record was read.
    pub fn assignment(&self) -> &Arc<Assignment> {
        &self.assignment
    }

    /// What is known about the work on its record.
    pub fn open(&self) -> &Arc<W> {
        &self.open
    }

    /// Ends the work. The polling thread ignores it if the assignment is gone.
    pub fn complete(mut self, end: W::End) {
        self.send(end);
    }

    fn send(&mut self, end: W::End) {
        if let Some(sender) = self.sender.take() {
            // The polling thread may have ended. Then no position is stored any more, and the record is read again.
            let _ = sender.send(Command::Done { generation: self.assignment.generation, seq: self.seq, end });
        }
    }
}

impl<W: Work> Drop for AckHandle<W> {
    fn drop(&mut self) {
        // Nobody waits for an end if the assignment is gone.
        if self.sender.is_some() && !self.assignment.is_gone() {
            let Assignment { topic, partition, .. } = &*self.assignment;
            tracing::error!(kafka.topic = %topic, kafka.partition = partition, seq = self.seq, "work on a record was dropped");
            self.send(W::LOST);
        }
    }
}

impl<W: Work> fmt::Debug for AckHandle<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AckHandle({} [{}] #{})", self.assignment.topic, self.assignment.partition, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::progress::End;
    use crate::error::Outcome;

    type AckHandle = super::AckHandle<crate::delivery::progress::Open>;

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
}
