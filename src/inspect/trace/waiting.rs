//! Describes a copy that waits in a tier or in a parking topic, and says what it waits for (pure).

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::account::rollout::partition_of;
use crate::account::{Account, Accounts};
use crate::envelope::{Envelope, Source};
use crate::event::Identity;
use crate::kafka;
use crate::kafka::matching::WaitingNames;
use crate::kafka::record::Record;
use crate::metrics::LaneState;
use crate::redact::mask_text;
use crate::units::parse_duration;

/// The kinds of the topics, and the lanes that do not flow.
#[derive(Clone, Default)]
pub struct Rules {
    /// The dead-letter topic.
    pub dead_letter: String,
    /// The topic of receipts; empty: there is none.
    pub receipts: String,
    retry_prefix: String,
    names: WaitingNames,
    closed: ClosedLanes,
    accounts: Accounts,
}

/// The lanes that an operator paused or a worker halted, by account: their state, and since when, epoch ms.
pub type ClosedLanes = BTreeMap<String, (LaneState, i64)>;

/// A copy that no worker has finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WaitingRow {
    /// `retry`, `parked`, or `rollout` for an event that a gray release does not send yet.
    pub kind: &'static str,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// Platform as given, masked.
    pub platform: Option<String>,
    /// Account as given, masked.
    pub account: Option<String>,
    /// The native code if the event is mapped, else `event_type` as given. Dead letters and receipts do the same.
    pub event: Option<String>,
    /// Earliest next try, epoch ms; null while it is parked.
    pub due_ms: Option<i64>,
    /// The condition for which it waits.
    pub until: String,
    /// When it was first parked, epoch ms.
    pub parked_at_ms: Option<i64>,
    /// The time at which it ends as `expired`, epoch ms.
    pub parked_until_ms: Option<i64>,
    /// Attempts made.
    pub attempts: u32,
    /// Declared re-sends.
    pub resends: u32,
    /// Class of the last attempt.
    pub last_error: Option<String>,
    /// The platform's code.
    pub last_code: Option<String>,
    /// HTTP status.
    pub last_status: Option<u16>,
    /// Lineage as `topic:partition:offset`.
    pub origin: String,
}

impl Rules {
    /// Makes the rules of a configuration.
    pub fn new(kafka: &kafka::Config, accounts: &Accounts, closed: ClosedLanes) -> Self {
        Self {
            dead_letter: kafka.dead_letter.clone(),
            receipts: kafka.receipts.clone(),
            retry_prefix: format!("{}.", kafka.retry_prefix),
            names: WaitingNames::new(&kafka.retry_prefix, &kafka.parked_prefix),
            closed,
            accounts: accounts.clone(),
        }
    }

    /// Whether records of this topic wait for a time or for a lane.
    pub fn holds_waiting(&self, topic: &str) -> bool {
        self.names.is_tier(topic) || self.names.is_parking(topic)
    }

    /// Describes a record of a tier or of a parking topic.
    pub fn row(&self, record: &Record, of: &Identity, now_ms: i64) -> Option<WaitingRow> {
        let (envelope, _) = Envelope::read(record, Source::Owned, now_ms);
        let tier = record.topic.strip_prefix(&self.retry_prefix);
        let account = of.account.as_deref().unwrap_or_default();
        let due_ms = tier.map(|tier| {
            let delay = parse_duration(tier).and_then(|d| i64::try_from(d.as_millis()).ok()).unwrap_or(0);
            envelope.due_ms.unwrap_or(record.timestamp_ms.unwrap_or(now_ms) + delay)
        });
        let configured = self.accounts.get(account).filter(|a| of.platform.as_deref() == Some(a.platform));
        let is_kept_back = self.names.remainder_of(&record.topic).is_some();
        let max_parked = configured.and_then(|a| i64::try_from(a.retry.max_parked.as_millis()).ok());
        let origin = &envelope.origin;
        let last = envelope.last.as_ref();
        Some(WaitingRow {
            kind: match tier {
                Some(_) => "retry",
                None if is_kept_back => "rollout",
                None => "parked",
            },
            topic: record.topic.to_string(),
            partition: record.partition,
            offset: record.offset,
            platform: of.platform.as_deref().map(shown),
            account: of.account.as_deref().map(shown),
            event: configured.and_then(|account| native(account, of)).or_else(|| of.event.as_deref().map(shown)),
            due_ms,
            until: if is_kept_back { kept_back(configured, of) } else { self.until(due_ms, account, now_ms) },
            parked_at_ms: envelope.parked_at_ms,
            parked_until_ms: envelope.parked_at_ms.zip(max_parked).map(|(at, max)| at + max),
            attempts: envelope.attempts,
            resends: envelope.resends,
            last_error: last.map(|l| shown(&l.class)),
            last_code: last.map(|l| shown(&l.code)).filter(|code| !code.is_empty()),
            last_status: last.and_then(|l| l.status),
            origin: format!("{}:{}:{}", origin.topic, origin.partition, origin.offset),
        })
    }

    fn until(&self, due_ms: Option<i64>, account: &str, now_ms: i64) -> String {
        match (due_ms, self.closed.get(account)) {
            (Some(due), _) if due > now_ms => "it is due".to_owned(),
            (_, Some((state, since_ms))) => {
                format!("account {account} is resumed: {} since {}", state.as_str(), moment(*since_ms))
            }
            (Some(_), None) => "a worker takes it: it is due".to_owned(),
            (None, None) => "a worker takes it: its lane is open".to_owned(),
        }
    }
}

fn shown(text: &str) -> String {
    mask_text(text).into_owned()
}

/// What an event waits for that a gray release does not send yet.
fn kept_back(account: Option<&Arc<Account>>, of: &Identity) -> String {
    let Some((account, trans_id)) = account.zip(of.trans_id.as_deref()) else {
        return "a worker takes it: its account is gone".to_owned();
    };
    let (partition, share) = (partition_of(trans_id), account.rollout);
    if share.releases(partition) {
        return "a worker takes it: its share is sent".to_owned();
    }
    format!("rollout.percent of {} is at least {}: it is {share}", account.name, partition + 1)
}

fn native(account: &Account, of: &Identity) -> Option<String> {
    account.native(of.event.as_deref()?, of.platform_event.as_deref()).map(|native| native.into_owned())
}

fn moment(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
        .unwrap_or_default()
}
