//! What operators control and what they see. It is kept in Redis under one prefix, so that every replica obeys and
//! shows it.
//!
//! | key | holds |
//! |---|---|
//! | `<prefix>:lanes` | hash: `<account>:paused` and `<account>:halted` to JSON of [`Switch`]; `<account>:resumed`: a token of the last resume |
//! | `<prefix>:audit` | list, newest first, 10,000 long: JSON of [`AuditEntry`] |
//! | `<prefix>:replicas`, `<prefix>:replica:<id>` | set of ids; JSON of [`ReplicaSnapshot`], expires after 15 s |
//! | `<prefix>:orders` | hash: `<topic>/<partition>` to JSON of [`Order`] |
//! | `<prefix>:unplaced` | set of `<topic>/<partition>`: parked because they have no offset, until an operator places them |
//! | `<prefix>:arrived:<topic>:<account>` | exists if the account received from this topic in the last 7 days |
//! | `<prefix>:topics` | hash: each entry of `kafka.input`, and each input topic that was found, with its id and where it began |
//! | `<prefix>:positions` | hash: `<topic>/<partition>` of tiers and parking that had a committed offset, to the id of the topic |
//! | `<prefix>:epoch` | `starting`, then a random id; missing: the store was flushed or is new |
//!
//! Pause and halt of one account are two fields, so that setting or clearing one cannot overwrite the other, without a
//! script. An absent field is a switch that is off.

pub mod arrivals;
pub mod coordinator;
pub mod keys;
pub mod lanes;
pub mod orders;
pub mod readiness;
pub(crate) mod replica;
pub mod report;
pub mod snapshot;
pub mod status;

use serde::{Deserialize, Serialize};

pub use crate::lane::handle::switches::{Switch, Switches};
pub use keys::Keys;
pub use lanes::SwitchesByAccount;
pub use orders::{Order, Place, Target};
pub use snapshot::{ConsumerSnapshot, LaneLoad, LaneSnapshot, PartitionRow, ReplicaSnapshot};

/// The number of audit entries that are kept.
pub const AUDIT_LENGTH: isize = 10_000;

/// Who changes something, and why. Both are stored in the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// The name as claimed: a person, or `worker <id>`.
    pub who: String,
    pub why: String,
}

impl By {
    /// Makes both texts safe to store and show: masked, without control characters, and at most 256 characters long.
    pub fn new(who: &str, why: &str) -> Self {
        Self { who: safe(who), why: safe(why) }
    }
}

fn safe(text: &str) -> String {
    let shown = crate::redact::mask_text(text);
    shown.chars().map(|c| if c.is_control() { ' ' } else { c }).take(256).collect::<String>().trim().to_owned()
}

/// The message for an operator who names an account that is not configured.
pub fn unknown_account(account: &str, close: Option<&str>) -> String {
    let hint = match close {
        Some(close) => format!("did you mean `{close}`?"),
        None => "`postback accounts list` shows those of the file that `--config` names".into(),
    };
    format!("no account `{}` is configured; {hint}", safe(account))
}

/// One entry of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When the change was made, in epoch ms.
    pub at_ms: i64,
    pub who: String,
    pub why: String,
    /// One of `pause`, `resume`, `halt`, `unblock offsets`, `unblock dedupe`.
    pub what: String,
    /// The account whose lane was changed, if the change is about a lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Further details, for example `conversions/3 to earliest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Adds an entry to a pipeline. The same transaction makes the change that the entry describes.
pub(crate) fn audit(pipe: &mut ::redis::Pipeline, keys: &Keys, entry: &AuditEntry) {
    pipe.cmd("LPUSH").arg(keys.audit()).arg(json(entry)).ignore();
    pipe.cmd("LTRIM").arg(keys.audit()).arg(0).arg(AUDIT_LENGTH - 1).ignore();
}

/// The JSON of one of our plain structs, which can always be serialised.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The newest `count` audit entries, newest first. It leaves out entries that cannot be read.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn read_audit(
    connection: &mut ::redis::aio::MultiplexedConnection,
    keys: &Keys,
    count: isize,
) -> ::redis::RedisResult<Vec<AuditEntry>> {
    let list: Vec<String> =
        ::redis::cmd("LRANGE").arg(keys.audit()).arg(0).arg(count - 1).query_async(connection).await?;
    Ok(list.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_and_why_are_kept_short_masked_and_on_one_line() {
        let by = By::new(" li\u{1b}[2J\n", &format!("call 13812345678 {}", "x".repeat(500)));
        assert_eq!(by.who, "li [2J");
        assert!(by.why.starts_with("call 138****5678 xxx"));
        assert_eq!(by.why.chars().count(), 256);
    }

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

    #[test]
    fn an_audit_entry_of_another_version_can_still_be_read() {
        let entry: AuditEntry =
            serde_json::from_str(r#"{"at_ms":1,"who":"a","why":"b","what":"pause","account":"x","new":true}"#).unwrap();
        assert_eq!(entry.account.as_deref(), Some("x"));
        assert_eq!(serde_json::from_str::<AuditEntry>(&json(&entry)).unwrap(), entry);
    }
}
