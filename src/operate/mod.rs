//! What operators control and what they see. It is kept in Redis under one prefix, so that every replica obeys and
//! shows it.
//!
//! The keys, and what each holds:
//!
//! - `<prefix>:lanes` (hash): `<account>:paused` and `<account>:halted` to JSON of [`Switch`]; `<account>:resumed`: a
//!   token of the last resume.
//! - `<prefix>:halt_probe:<account>`: the replica that tries a parked event of a halted account, expires after 30 s; or
//!   why none may, until then.
//! - `<prefix>:audit:out` (hash): id to JSON of the [`audit::AuditRecord`]s that are not published to `kafka.audit`
//!   yet.
//! - `<prefix>:audit:turn`: the process that publishes them, for at most a minute.
//! - `<prefix>:replicas`, `<prefix>:replica:<id>`: set of ids; JSON of [`ReplicaSnapshot`], expires after 15 s.
//! - `<prefix>:orders` (hash): `<topic>/<partition>` to JSON of [`Order`].
//! - `<prefix>:storms` (hash): `<topic>:stopped` to JSON of [`crate::storm::Storm`]; `<topic>:released`: a token of the
//!   last release; `<topic>:pass`: how many bad records may still pass.
//! - `<prefix>:unplaced`: set of `<topic>/<partition>`: parked because they have no offset, until an operator places
//!   them.
//! - `<prefix>:arrived:<topic>:<account>`: exists if the account received from this topic in the last 7 days.
//! - `<prefix>:topics` (hash): each entry of `kafka.input`, and each input topic that was found, with its id and where
//!   it began.
//! - `<prefix>:positions` (hash): `<topic>/<partition>` of tiers and parking that had a committed offset, to the id of
//!   the topic.
//! - `<prefix>:replays`, `<prefix>:replay:<id>`: sorted set of ids by time; hash: the plan of a replay and how far it
//!   is.
//! - `<prefix>:replay:<id>:places`, `:done:<partition>:<chunk>`, `:outcomes`: what it selected; bitmaps of the dead
//!   letters that it has ended; what came of them.
//! - `<prefix>:replay:running`, `<prefix>:replay:lock`: the id of the one that runs; the token of the replica that runs
//!   it, expires after 30 s.
//! - `<prefix>:replayed:[<topic id>:]<partition>:<chunk>`: bitmap of the dead letters that were ever replayed.
//! - `<prefix>:letter_topic`: the id of the dead-letter topic whose bitmaps have no id in their names.
//! - `<prefix>:epoch`: `starting`, then a random id; missing: the store was flushed or is new.
//!
//! Pause and halt of one account are two fields, so that setting or clearing one cannot overwrite the other, without a
//! script. An absent field is a switch that is off.

pub mod arrivals;
pub mod audit;
pub mod coordinator;
pub mod foreign;
mod holds;
pub mod keys;
pub mod lanes;
pub mod orders;
pub mod readiness;
pub mod reload;
pub(crate) mod replica;
pub mod report;
pub mod seen;
pub mod snapshot;
pub mod status;
pub mod storms;
pub mod unblock;

use serde::Serialize;

pub use crate::lane::handle::switches::{Switch, Switches};
pub use audit::By;
pub use keys::Keys;
pub use lanes::SwitchesByAccount;
pub use orders::{Order, Place, Target};
pub use snapshot::{ConsumerSnapshot, LaneLoad, LaneSnapshot, PartitionRow, ReplicaSnapshot};

/// The message for an operator who names an account that is not configured.
pub fn unknown_account(account: &str, close: Option<&str>) -> String {
    let hint = match close {
        Some(close) => format!("did you mean `{close}`?"),
        None => "`postback accounts list` shows those of the file that `--config` names".into(),
    };
    format!("no account `{}` is configured; {hint}", audit::safe(account))
}

/// The JSON of one of our plain structs, which can always be serialised.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_close_is_suggested() {
        assert_eq!(
            unknown_account("acme-sp", Some("acme-ps")),
            "no account `acme-sp` is configured; did you mean `acme-ps`?"
        );
        assert_eq!(
            unknown_account("zzz", None),
            "no account `zzz` is configured; `postback accounts list` shows those of the file that `--config` names"
        );
    }
}
