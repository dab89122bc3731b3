//! Reads from a receipt or a dead letter how an input record ended.

use std::cmp::Ordering;

use serde::Deserialize;

use crate::error::{Outcome, Reason};
use crate::inspect::dead_letters::DeadLetter;
use crate::kafka::record::Record;

/// Partition and offset in an input topic.
pub type Place = (i32, i64);

/// Where a receipt or a dead letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub partition: i32,
    pub offset: i64,
    /// Record time, epoch ms.
    pub at_ms: Option<i64>,
}

impl Written {
    pub fn of(record: &Record) -> Self {
        Self { partition: record.partition, offset: record.offset, at_ms: record.timestamp_ms }
    }

    /// Which of two was written later. Inside a partition the offset tells it. The clocks of two writers may differ, so
    /// they tell it only across partitions.
    pub(super) fn order(one: Option<Self>, other: Option<Self>) -> Ordering {
        match one.zip(other) {
            Some((one, other)) if one.partition == other.partition => one.offset.cmp(&other.offset),
            _ => one.and_then(|one| one.at_ms).cmp(&other.and_then(|other| other.at_ms)),
        }
    }
}

/// The end of one record as a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterRecord {
    /// The input topic.
    pub topic: String,
    /// The place of the record in that topic.
    pub place: Place,
    pub reason: Reason,
    /// How often it was replayed before.
    pub replays: i64,
}

/// The end of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRecord {
    /// The input topic.
    pub topic: String,
    /// The place of the record in that topic.
    pub place: Place,
    pub outcome: Outcome,
    /// Declared sends that could be a second one.
    pub resends: u32,
    /// Account as given.
    pub account: Option<String>,
}

/// Reads a record of the receipts topic; `None`: no worker wrote it.
pub fn receipt(record: &Record) -> Option<ReceiptRecord> {
    #[derive(Deserialize)]
    struct Written {
        outcome: String,
        #[serde(default)]
        account: Option<String>,
        #[serde(default)]
        resends: u32,
        origin: Origin,
    }
    #[derive(Deserialize)]
    struct Origin {
        topic: String,
        partition: i32,
        offset: i64,
    }
    let written: Written = serde_json::from_slice(record.value.as_deref()?).ok()?;
    Some(ReceiptRecord {
        topic: written.origin.topic,
        place: (written.origin.partition, written.origin.offset),
        outcome: Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == written.outcome)?,
        resends: written.resends,
        account: written.account,
    })
}

/// Reads a record of the dead-letter topic; `None`: no worker wrote it.
pub fn dead_letter(record: &Record) -> Option<DeadLetterRecord> {
    let letter = DeadLetter::read(record);
    let partition = i32::try_from(letter.number("origin-partition")?).ok()?;
    Some(DeadLetterRecord {
        topic: letter.text("origin-topic")?.to_owned(),
        place: (partition, letter.number("origin-offset")?),
        reason: letter.reason()?,
        replays: letter.replays(),
    })
}

/// Reads a record of a results topic and returns the input topic of the call and the place in it; `None`: no worker
/// wrote it, or a further result of the call follows.
pub fn final_result(record: &Record) -> Option<(String, Place)> {
    #[derive(Deserialize)]
    struct Written {
        schema: String,
        #[serde(rename = "final")]
        is_final: bool,
    }
    let written: Written = serde_json::from_slice(record.value.as_deref()?).ok()?;
    if written.schema != "postback.result/1" || !written.is_final {
        return None;
    }
    // A result has the headers of a dead letter that tell where its event came from.
    let headers = DeadLetter::read(record);
    let partition = i32::try_from(headers.number("origin-partition")?).ok()?;
    Some((headers.text("origin-topic")?.to_owned(), (partition, headers.number("origin-offset")?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::dead_letters::tests::record;

    #[test]
    fn a_receipt_is_read_as_the_worker_writes_it_and_anything_else_is_none() {
        let read = |value: &str| receipt(&Record { value: Some(value.to_owned().into()), ..record(0, 1, &[]) });
        let found = read(
            r#"{"schema":"postback.receipt/1","trans_id":"t-1","account":"acme-ps","outcome":"delivered","resends":2,
                "origin":{"topic":"conversions","partition":3,"offset":17}}"#,
        );
        let wanted = ReceiptRecord {
            topic: "conversions".into(),
            place: (3, 17),
            outcome: Outcome::Delivered,
            resends: 2,
            account: Some("acme-ps".into()),
        };
        assert_eq!(found, Some(wanted));
        for other in ["", "{}", r#"{"outcome":"lost","origin":{"topic":"t","partition":0,"offset":0}}"#] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn a_result_names_its_origin_once_it_is_the_last_one() {
        let headers = [("origin-topic", "conversions"), ("origin-partition", "3"), ("origin-offset", "17")];
        let read =
            |value: &str| final_result(&Record { value: Some(value.to_owned().into()), ..record(2, 9, &headers) });
        let wanted = Some(("conversions".to_owned(), (3, 17)));
        assert_eq!(read(r#"{"schema":"postback.result/1","status":"ok","page":4,"final":true}"#), wanted);
        for other in [r#"{"schema":"postback.result/1","final":false}"#, r#"{"schema":"other/1","final":true}"#, "{}"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn a_dead_letter_names_its_origin_and_its_reason() {
        let found = dead_letter(&record(2, 9, &[("origin-offset", "17"), ("reason", "expired"), ("replays", "2")]));
        let wanted =
            DeadLetterRecord { topic: "conversions".into(), place: (0, 17), reason: Reason::Expired, replays: 2 };
        assert_eq!(found, Some(wanted));
        assert_eq!(dead_letter(&record(2, 9, &[("reason", "of another program")])), None);
    }
}
