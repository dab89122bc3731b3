//! Who changes something, from where, and why, as the body of a change says it.

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::admin::refusal::Refusal;
use crate::operate::By;
use crate::operate::audit::Via;

/// The members of every change.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Change {
    /// Why. It is kept in the audit.
    #[serde(alias = "why")]
    #[schemars(length(max = 256))]
    pub(super) reason: String,
    /// Who asks for it, as claimed.
    #[schemars(length(max = 256))]
    pub(super) who: String,
    /// From where: `api` if it is absent. A page of the console says `console`, a command says `cli`.
    pub(super) via: Via,
}

impl Change {
    /// A missing `who` becomes `api`. A reason is optional, because during an incident the switch comes first.
    pub(super) fn by(&self) -> Result<By, Refusal> {
        by(&self.who, self.via, reason(&self.reason))
    }
}

/// The most bytes of a body that may name dead letters one by one.
pub(super) const LARGEST_SELECTION: usize = 512 * 1024;

/// The reason of a change that may lack one.
pub(super) fn reason(given: &str) -> &str {
    if given.trim().is_empty() { "no reason given" } else { given }
}

/// Who acts on something, and why.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Act {
    /// Who asks for it, as claimed.
    #[schemars(length(max = 256))]
    pub(super) who: String,
    pub(super) via: Via,
    /// Why; required. It is kept in the audit.
    #[schemars(length(max = 256))]
    pub(super) why: String,
}

impl Act {
    /// # Errors
    /// Refuses an act without a reason.
    pub(super) fn by(&self) -> Result<By, Refusal> {
        with_why(&self.who, self.via, &self.why)
    }
}

/// As [`by`], for a change that has to say why.
///
/// # Errors
/// Refuses a change without a reason.
pub(super) fn with_why(who: &str, via: Via, why: &str) -> Result<By, Refusal> {
    said("why", why)?;
    by(who, via, why)
}

/// Refuses a change whose member `field` gives no reason.
pub(super) fn said(field: &str, why: &str) -> Result<(), Refusal> {
    if why.trim().is_empty() { Err(Refusal::field(field, "say why: it is kept in the audit")) } else { Ok(()) }
}

/// Makes the author of a change safe to store.
///
/// # Errors
/// Refuses what only the worker says of itself.
pub(super) fn by(who: &str, via: Via, why: &str) -> Result<By, Refusal> {
    if via == Via::Worker {
        let text = "`worker` marks what a worker does by itself; say api, cli or console";
        return Err(Refusal::field("via", text));
    }
    let by = By::new(via, who, why);
    Ok(if by.who.is_empty() { By { who: "api".to_owned(), ..by } } else { by })
}

/// Refuses a request because Redis, which keeps the change, does not answer.
pub(super) fn no_redis(detail: &str) -> Refusal {
    let text = format!("the change could not be stored, try again: {}", crate::redact::mask_text(detail));
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
}
