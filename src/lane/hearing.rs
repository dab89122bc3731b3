//! What the answers to requests say of the platform: the breaker judges them, and the one record that is tried opens a
//! closed lane or leaves it closed.

use crate::delivery::Delivery;
use crate::error::{Answer, Class, DeliveryError};
use crate::lane::handle::breaker::{Change, Heard};
use crate::lane::state::Lane;

/// The answer to one request about one record: it was accepted, or why not.
pub(super) type Said<'a> = Result<(), &'a DeliveryError>;

/// What one record of a request tells. `None`: nothing, because no request was made for it.
/// `is_again`: the record was tried before.
fn heard(is_again: bool, said: Said<'_>) -> Option<Heard> {
    let class = match said {
        Ok(()) => Class::Delivered,
        Err(error) => error.class()?,
    };
    Some(match class {
        Class::Delivered | Class::Permanent => Heard::Good,
        Class::Retry | Class::Ambiguous if is_again => Heard::FailedAgain,
        Class::Retry | Class::Ambiguous => Heard::Failed,
        Class::Throttled | Class::Refresh | Class::Halt => Heard::Other,
    })
}

/// What a failed request came to, in words that are safe to show.
fn what(said: Said<'_>) -> String {
    match said.err().and_then(DeliveryError::answer) {
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
    pub(super) fn hear(&self, delivery: &mut Delivery, said: Said<'_>) {
        if let Some(heard) = heard(delivery.envelope.attempts > 1, said) {
            self.tell(heard, is_probe(delivery), delivery.is_replayed(), || what(said));
            self.end_probe(delivery, said);
        }
    }

    /// Takes the answer to one request for several records, before it is counted among their attempts: it counts once. It failed if it did so for all of them. Records
    /// that an operator replayed say nothing beside others.
    pub(super) fn hear_together<'a>(&self, answers: impl Iterator<Item = (&'a mut Delivery, Said<'a>)>) {
        let mut together: Option<(Heard, bool)> = None;
        let mut last = String::new();
        let mut was_probe = false;
        for (delivery, said) in answers {
            let Some(heard) = heard(delivery.envelope.attempts > 0, said) else { continue };
            let (is_probe, is_replayed) = (is_probe(delivery), delivery.is_replayed());
            if heard.is_failed() {
                last = what(said);
            }
            was_probe |= is_probe;
            let counts_less = is_replayed && !is_probe;
            together = match together {
                None => Some((heard, counts_less)),
                Some((_, true)) if !counts_less => Some((heard, false)),
                Some((known, false)) if counts_less => Some((known, false)),
                Some((known, replayed)) => Some((of_both(known, heard), replayed)),
            };
            self.end_probe(delivery, said);
        }
        if let Some((heard, is_replayed)) = together {
            self.tell(heard, was_probe, is_replayed, || last);
        }
    }

    /// Takes the answer to a request that was refused as a whole for the sake of some of its records, which are sent alone
    /// now. The platform works.
    pub(super) fn hear_split<'a>(&self, items: impl Iterator<Item = &'a Delivery> + Clone) {
        let was_probe = items.clone().any(is_probe);
        let is_replayed = items.clone().all(Delivery::is_replayed);
        self.tell(Heard::Good, was_probe, is_replayed, String::new);
    }

    /// Replayed events fail for reasons of their own, so their answers do not count. A good one lets the ramp go on, because
    /// there may be nothing else to send.
    fn tell(&self, heard: Heard, is_probe: bool, is_replayed: bool, what: impl FnOnce() -> String) {
        let ramps = heard == Heard::Good && self.handle.ramp_permits() != usize::MAX;
        if is_replayed && !is_probe && !ramps {
            return;
        }
        let account = &*self.account.name;
        match self.handle.heard(heard, is_probe, what) {
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
    fn end_probe(&self, delivery: &mut Delivery, said: Said<'_>) {
        if matches!(said, Err(DeliveryError::Refresh(_))) {
            return;
        }
        if let Some(probe) = &mut delivery.probe
            && !probe.is_answered()
        {
            probe.set_answered();
            if probe.is_through_halt() {
                self.handle.halt_probe().answered(said.is_ok());
            }
        }
    }
}

/// The answer to a request that said this of one record and that of another.
fn of_both(one: Heard, other: Heard) -> Heard {
    match (one, other) {
        (Heard::Good, _) | (_, Heard::Good) => Heard::Good,
        (Heard::Other, _) | (_, Heard::Other) => Heard::Other,
        (Heard::FailedAgain, Heard::FailedAgain) => Heard::FailedAgain,
        (Heard::Failed | Heard::FailedAgain, Heard::Failed | Heard::FailedAgain) => Heard::Failed,
    }
}

#[cfg(test)]
mod tests;
