//! The endpoints of the API, by subject.

mod accounts;
mod audit;
mod change;
mod dead_letters;
mod export;
mod platforms;
mod preview;
mod reconcile;
mod reload;
mod replays;
mod state;
mod trace;
mod unblock;

use super::endpoint::Endpoint;

/// Every endpoint, in the order of the document.
pub(super) fn all() -> Vec<Endpoint> {
    [
        state::endpoints(),
        accounts::endpoints(),
        platforms::endpoints(),
        audit::endpoints(),
        reload::endpoints(),
        unblock::endpoints(),
        preview::endpoints(),
        dead_letters::endpoints(),
        export::endpoints(),
        trace::endpoints(),
        replays::endpoints(),
        reconcile::endpoints(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
