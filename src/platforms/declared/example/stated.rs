//! Compares what became of an event with what its example states.

use crate::error::{DeliveryError, Disposition};
use crate::platforms::declared::definition::Refused;
use crate::platforms::reading::Verdict;

fn refusal(error: &DeliveryError) -> (&'static str, String) {
    let reason = match error.disposition() {
        Disposition::DeadLetter(reason) => reason.as_str(),
        _ => "",
    };
    (reason, error.fault().map(|fault| fault.field.to_string()).unwrap_or_default())
}

/// Whether an event is refused as its example states.
pub(super) fn as_stated(error: &DeliveryError, stated: Option<&Refused>) -> Result<(), String> {
    let (reason, field) = refusal(error);
    match stated {
        None => {
            let detail = error.fault().map(|fault| fault.detail.clone()).unwrap_or_default();
            Err(format!("the event is refused as {reason} of {field:?}: {detail}"))
        }
        Some(stated) if (reason, &field) == (&stated.reason, &stated.field) => Ok(()),
        Some(stated) => Err(format!(
            "the event is refused as {reason} of {field:?}, not as {} of {:?}",
            stated.reason, stated.field
        )),
    }
}

pub(super) fn class(verdict: &Verdict) -> &'static str {
    match verdict {
        Ok(_) => "delivered",
        Err(DeliveryError::Refresh(answer)) if answer.sign_again => "once_more",
        Err(error) => error.class().map_or("", |class| class.as_str()),
    }
}
