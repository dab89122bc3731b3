//! Reads from a receipt or a dead letter how an input record ended.

use serde::Deserialize;

use crate::error::{Outcome, Reason};
use crate::inspect::dead_letters::DeadLetter;
use crate::kafka::record::Record;

/// Partition and offset in an input topic.
pub type Place = (i32, i64);

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

/// Reads a record of the dead-letter topic and returns the input topic, the place in it and the reason; `None`: no
/// worker wrote it.
pub fn dead_letter(record: &Record) -> Option<(String, Place, Reason)> {
    let letter = DeadLetter::read(record);
    let partition = i32::try_from(letter.number("origin-partition")?).ok()?;
    let place = (partition, letter.number("origin-offset")?);
    Some((letter.text("origin-topic")?.to_owned(), place, letter.reason()?))
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
        let found = dead_letter(&record(2, 9, &[("origin-offset", "17"), ("reason", "expired")]));
        assert_eq!(found, Some(("conversions".to_owned(), (0, 17), Reason::Expired)));
        assert_eq!(dead_letter(&record(2, 9, &[("reason", "of another program")])), None);
    }
}
