//! The audit: one entry for each change that somebody makes to a running worker.
//!
//! A change and its entry are one transaction in Redis, so that neither exists without the other. The entry waits there
//! in the outbox until it is published to `kafka.audit`, which is what everybody reads ([`trail`]). An entry that is
//! published twice, because a process died in between, has the same id, and readers show it once.
//!
//! An entry says who, from where and why, and what was selected. It holds no payload, and its texts are masked.

pub mod publish;
pub mod trail;

use std::collections::BTreeMap;
use std::fmt;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Pipeline, RedisResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::operate::keys::Keys;

/// From where a change was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    Cli,
    #[default]
    Api,
    Console,
    /// The worker itself, for example when it halts an account.
    Worker,
}

/// Who changes something, from where, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// The name as claimed: a person, or `worker <id>`.
    pub who: String,
    pub via: Via,
    pub why: String,
    /// The id of the replica that was asked, or that acts by itself. Empty for a command that works through Redis.
    pub worker: String,
}

impl By {
    /// Makes both texts safe to store and show: masked, without control characters, and at most 256 characters long.
    pub fn new(via: Via, who: &str, why: &str) -> Self {
        Self { who: safe(who), via, why: safe(why), worker: String::new() }
    }

    /// The same, asked of this replica.
    pub fn at(self, worker: &str) -> Self {
        Self { worker: worker.to_owned(), ..self }
    }
}

/// Makes a text of an operator safe to store and show.
pub(crate) fn safe(text: &str) -> String {
    let shown = crate::redact::mask_text(text);
    shown.chars().map(|c| if c.is_control() { ' ' } else { c }).take(256).collect::<String>().trim().to_owned()
}

macro_rules! changes {
    ($($name:ident = $text:literal,)+) => {
        /// What was changed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Change {
            $($name,)+
        }

        impl Change {
            pub const ALL: &[Change] = &[$(Change::$name,)+];

            /// The text in an entry.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Change::$name => $text,)+
                }
            }
        }
    };
}

changes! {
    Pause = "pause",
    Resume = "resume",
    Halt = "halt",
    Storm = "storm",
    UnblockOffsets = "unblock offsets",
    UnblockDedupe = "unblock dedupe",
    UnblockStorm = "unblock storm",
    ReplayPlan = "replay plan",
    ReplayRun = "replay run",
    ReplayCancel = "replay cancel",
    ReplayResume = "replay resume",
    ReplayRate = "replay rate",
    Discard = "discard",
    Undiscard = "undiscard",
    Reload = "reload",
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One entry of the audit, as it stands in `kafka.audit`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditRecord {
    /// Unique. Later entries have greater ids, as far as the clocks of the writers agree.
    pub id: String,
    /// When the change was made, in epoch ms.
    pub at_ms: i64,
    /// One of the texts of [`Change`].
    pub what: String,
    /// The name as claimed.
    pub who: String,
    pub via: Via,
    pub why: String,
    /// The account that was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The id of what was changed: a replay, or the discard that is taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What was selected, as the API takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Value>,
    /// The dead letters that were selected one by one, as `PARTITION:OFFSET`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<String>,
    /// The end of each partition up to which the filter selects.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub end_offsets: BTreeMap<i32, i64>,
    /// The id of the dead-letter topic that these offsets belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// How many were selected, refused and so on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// Further details, for example `conversions/3 to earliest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The id of the replica that was asked, or that acted by itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub worker: String,
}

impl AuditRecord {
    /// An entry with a new id. The caller adds what the change is about.
    pub fn new(what: Change, by: &By, now_ms: i64) -> Self {
        Self {
            id: format!("{now_ms:012x}{:08x}", rand::random::<u32>()),
            at_ms: now_ms,
            what: what.as_str().to_owned(),
            who: by.who.clone(),
            via: by.via,
            why: by.why.clone(),
            worker: by.worker.clone(),
            ..Self::default()
        }
    }

    /// Reads the value of a record of `kafka.audit`. `None`: it is no entry of the audit.
    pub fn read(value: Option<&[u8]>) -> Option<Self> {
        let record: Self = serde_json::from_slice(value?).ok()?;
        (!record.id.is_empty()).then_some(record)
    }

    /// The JSON of this entry. It holds only plain values, which can always be written.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Adds an entry to a pipeline. The same transaction makes the change that the entry describes.
pub fn push(pipe: &mut Pipeline, keys: &Keys, record: &AuditRecord) {
    pipe.cmd("HSET").arg(keys.audit_out()).arg(&record.id).arg(record.json()).ignore();
}

/// Takes an entry back because the change was not made after all.
///
/// # Errors
/// Fails if Redis does not answer. The entry then stays.
pub async fn take_back(connection: &mut MultiplexedConnection, keys: &Keys, record: &AuditRecord) -> RedisResult<()> {
    ::redis::cmd("HDEL").arg(keys.audit_out()).arg(&record.id).query_async(connection).await
}

/// The entries that are not published yet, oldest first. It leaves out entries that cannot be read.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn waiting(connection: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<Vec<AuditRecord>> {
    // The ids begin with the time, so that the order of the map is the order of the changes.
    let all = crate::redis::hash(connection, &keys.audit_out()).await?;
    Ok(all.values().filter_map(|text| AuditRecord::read(Some(text.as_bytes()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_and_why_are_kept_short_masked_and_on_one_line() {
        let by = By::new(Via::Cli, " li\u{1b}[2J\n", &format!("call 13812345678 {}", "x".repeat(500)));
        assert_eq!(by.who, "li [2J");
        assert!(by.why.starts_with("call 138****5678 xxx"));
        assert_eq!(by.why.chars().count(), 256);
    }

    #[test]
    fn an_entry_reads_as_it_was_written_and_holds_no_empty_fields() {
        let by = By::new(Via::Console, "li", "campaign ended").at("w1");
        let record = AuditRecord {
            filter: Some(serde_json::json!({"reason": "invalid"})),
            end_offsets: [(0, 12)].into(),
            counts: [("selected".to_owned(), 3)].into(),
            ..AuditRecord::new(Change::Discard, &by, 1_736_956_740_000)
        };
        let id = &record.id;
        assert!(id.starts_with("01946ab081a0") && id.len() == 20, "{id}");
        assert_eq!(
            record.json(),
            format!(
                r#"{{"id":"{id}","at_ms":1736956740000,"what":"discard","who":"li","via":"console","why":"campaign ended","filter":{{"reason":"invalid"}},"end_offsets":{{"0":12}},"counts":{{"selected":3}},"worker":"w1"}}"#
            )
        );
        assert_eq!(AuditRecord::read(Some(record.json().as_bytes())), Some(record));
    }

    #[test]
    fn an_entry_of_another_version_can_still_be_read_and_what_is_none_is_left_out() {
        let text = br#"{"id":"1","at_ms":1,"who":"a","why":"b","what":"reload","via":"cli","new":true}"#;
        assert_eq!(AuditRecord::read(Some(text)).map(|r| (r.what, r.via)), Some(("reload".to_owned(), Via::Cli)));
        for none in [None, Some(&b"x"[..]), Some(b"{}"), Some(b"[]")] {
            assert_eq!(AuditRecord::read(none), None);
        }
    }

    #[test]
    fn no_two_changes_have_one_text() {
        let texts: std::collections::BTreeSet<_> = Change::ALL.iter().map(|change| change.as_str()).collect();
        assert_eq!(texts.len(), Change::ALL.len());
    }
}
