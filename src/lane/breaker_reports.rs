//! What the answers to requests say of the platform: the breaker judges them, and the one record that is tried opens a
//! closed lane or leaves it closed.

use crate::delivery::Delivery;
use crate::error::{Answer, Class, DeliveryError};
use crate::lane::handle::breaker::{BreakerInput, Change};
use crate::lane::state::Lane;

/// The answer to one request about one record: it was accepted, or why not.
pub(super) type AnswerResult<'a> = Result<(), &'a DeliveryError>;

/// What one record of a request tells. `None`: nothing, because no request was made for it.
/// `is_again`: the record was tried before.
fn input_of(is_again: bool, result: AnswerResult<'_>) -> Option<BreakerInput> {
    let class = match result {
        Ok(()) => Class::Delivered,
        Err(error) => error.class()?,
    };
    Some(match class {
        Class::Delivered | Class::Permanent => BreakerInput::Good,
        Class::Retry | Class::Ambiguous if is_again => BreakerInput::FailedAgain,
        Class::Retry | Class::Ambiguous => BreakerInput::Failed,
        Class::Throttled | Class::Refresh | Class::Halt => BreakerInput::Other,
    })
}

/// What a failed request came to, in words that are safe to show.
fn what(result: AnswerResult<'_>) -> String {
    match result.err().and_then(DeliveryError::answer) {
        Some(Answer { status: Some(status), code, .. }) if code.is_empty() => format!("HTTP {status}"),
        Some(Answer { status: Some(status), code, .. }) => format!("HTTP {status}, code {code}"),
        Some(answer) => answer.detail.clone(),
        None => String::new(),
    }
}

/// Whether the answer of the record that is tried is not known yet.
fn is_probe(delivery: &Delivery) -> bool {
    delivery.probe.as_ref().is_some_and(|probe| !probe.is_answered())
}

impl Lane {
    /// Takes the answer to a request for one record, which is counted among its attempts already.
    pub(super) fn report_answer(&self, delivery: &mut Delivery, result: AnswerResult<'_>) {
        if let Some(input) = input_of(delivery.envelope.attempts > 1, result) {
            self.report(input, is_probe(delivery), delivery.is_replayed(), || what(result));
            self.end_probe(delivery, result);
        }
    }

    /// Takes the answer to one request for several records, before it is counted among their attempts: it counts once.
    /// It failed if it did so for all of them. Records that an operator replayed say nothing beside others.
    pub(super) fn report_answers<'a>(&self, answers: impl Iterator<Item = (&'a mut Delivery, AnswerResult<'a>)>) {
        let mut together: Option<(BreakerInput, bool)> = None;
        let mut last = String::new();
        let mut was_probe = false;
        for (delivery, result) in answers {
            let Some(input) = input_of(delivery.envelope.attempts > 0, result) else { continue };
            let (is_probe, is_replayed) = (is_probe(delivery), delivery.is_replayed());
            if input.is_failed() {
                last = what(result);
            }
            was_probe |= is_probe;
            let counts_less = is_replayed && !is_probe;
            together = match together {
                None => Some((input, counts_less)),
                Some((_, true)) if !counts_less => Some((input, false)),
                Some((known, false)) if counts_less => Some((known, false)),
                Some((known, replayed)) => Some((of_both(known, input), replayed)),
            };
            self.end_probe(delivery, result);
        }
        if let Some((input, is_replayed)) = together {
            self.report(input, was_probe, is_replayed, || last);
        }
    }

    /// Takes the answer to a request that was refused as a whole for the sake of some of its records, which are sent
    /// alone now. The platform works.
    pub(super) fn report_split<'a>(&self, items: impl Iterator<Item = &'a Delivery> + Clone) {
        let was_probe = items.clone().any(is_probe);
        let is_replayed = items.clone().all(Delivery::is_replayed);
        self.report(BreakerInput::Good, was_probe, is_replayed, String::new);
    }

    /// Replayed events fail for reasons of their own, so their answers do not count. A good one lets the ramp go on,
    /// because there may be nothing else to send.
    fn report(&self, input: BreakerInput, is_probe: bool, is_replayed: bool, what: impl FnOnce() -> String) {
        let ramps = input == BreakerInput::Good && self.handle.breaker.ramp_permits() != usize::MAX;
        if is_replayed && !is_probe && !ramps {
            return;
        }
        let account = &*self.account.name;
        match self.handle.report(input, is_probe, what) {
            Change::Opened => {
                tracing::warn!(
                    account,
                    why = self.handle.explain().2,
                    "breaker open: events park, and nothing is sent"
                );
            }
            Change::Ramping => tracing::info!(account, "the platform answers again: sending begins with one at a time"),
            Change::Closed => tracing::info!(account, "breaker closed: the lane has all its permits again"),
            Change::ProbeFailed => tracing::debug!(account, "the probe failed"),
            Change::Widened | Change::None => {}
        }
    }

    /// Reports the answer to the record that is tried. A token that has to be renewed first is none.
    fn end_probe(&self, delivery: &mut Delivery, result: AnswerResult<'_>) {
        if matches!(result, Err(DeliveryError::Refresh(_))) {
            return;
        }
        if let Some(probe) = &mut delivery.probe
            && !probe.is_answered()
        {
            probe.set_answered();
            if probe.is_through_halt() {
                self.handle.halt_probe().answered(result.is_ok());
            }
        }
    }
}

/// The answer to a request that said this of one record and that of another.
fn of_both(one: BreakerInput, other: BreakerInput) -> BreakerInput {
    match (one, other) {
        (BreakerInput::Good, _) | (_, BreakerInput::Good) => BreakerInput::Good,
        (BreakerInput::Other, _) | (_, BreakerInput::Other) => BreakerInput::Other,
        (BreakerInput::FailedAgain, BreakerInput::FailedAgain) => BreakerInput::FailedAgain,
        (BreakerInput::Failed | BreakerInput::FailedAgain, BreakerInput::Failed | BreakerInput::FailedAgain) => {
            BreakerInput::Failed
        }
    }
}

#[cfg(test)]
mod tests;
