//! Reads the missing records once more, to name their keys. The book keeps only their places, because it must be small.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use schemars::JsonSchema;
use serde::Serialize;

use crate::event::identify;
use crate::inspect::ledger::Place;
use crate::kafka::Config;
use crate::kafka::lookup::Lookup;
use crate::kafka::record::Record;
use crate::kafka::scan::{Progress, Span};
use crate::kafka::topics::AdminError;
use crate::redact::{mask_text, mask_trans_id};

/// Records that lie closer together than this are read in one go.
const NEAR: i64 = 5_000;

/// A record without an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MissingKey {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// Record time, epoch ms.
    pub at_ms: Option<i64>,
    /// The key in Kafka.
    pub key: Option<String>,
    pub trans_id: Option<String>,
    pub platform: Option<String>,
    pub account: Option<String>,
    /// The event as given.
    pub event: Option<String>,
    /// What there is of an end, and what is missing.
    pub found: &'static str,
}

/// Reads the records at these places. A record that retention has deleted meanwhile is named by its place alone.
pub(super) fn read_keys(
    kafka: &Config,
    missing: BTreeMap<Arc<str>, Vec<(Place, &'static str)>>,
    progress: &Progress,
) -> Result<Vec<MissingKey>, AdminError> {
    let mut keys = Vec::new();
    for (topic, places) in missing {
        let mut found: BTreeMap<Place, MissingKey> =
            places.iter().map(|(place, found)| (*place, nameless(&topic, *place, found))).collect();
        for run in runs(places.iter().map(|(place, _)| *place)) {
            if progress.stop.load(Relaxed) {
                return Ok(keys);
            }
            let span = Span { topic: topic.to_string(), partition: run.0, from: run.1, end: run.2 };
            let mut take = |record: Record| {
                if let Some(key) = found.get_mut(&(record.partition, record.offset)) {
                    name(key, &record);
                }
            };
            Lookup::new(kafka)?.read(&[span], None, progress, &|_| true, &mut take)?;
        }
        keys.extend(found.into_values());
    }
    Ok(keys)
}

/// Ranges of offsets (partition, first, end) that hold these places, which come in order.
fn runs(places: impl Iterator<Item = Place>) -> Vec<(i32, i64, i64)> {
    let mut runs: Vec<(i32, i64, i64)> = Vec::new();
    for (partition, offset) in places {
        match runs.last_mut() {
            Some(last) if last.0 == partition && offset - last.2 < NEAR => last.2 = offset + 1,
            _ => runs.push((partition, offset, offset + 1)),
        }
    }
    runs
}

fn nameless(topic: &str, (partition, offset): Place, found: &'static str) -> MissingKey {
    MissingKey {
        topic: topic.to_owned(),
        partition,
        offset,
        at_ms: None,
        key: None,
        trans_id: None,
        platform: None,
        account: None,
        event: None,
        found,
    }
}

fn name(key: &mut MissingKey, record: &Record) {
    let (of, masked) = (identify(record.value.as_deref()), |text: String| mask_text(&text).into_owned());
    key.at_ms = record.timestamp_ms;
    key.key = record.key.as_deref().map(|key| mask_text(&String::from_utf8_lossy(key)).into_owned());
    key.trans_id = of.trans_id.as_deref().map(mask_trans_id);
    key.platform = of.platform.map(masked);
    key.account = of.account.map(masked);
    key.event = of.platform_event.or(of.event).map(masked);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::dead_letters::tests::record;

    #[test]
    fn what_a_producer_wrote_is_masked() {
        let event = r#"{"trans_id":"pay-13800138000","platform":"13800138001","account":"li@example.org",
                        "event_type":"pay-13800138002"}"#;
        let record = Record { key: Some("13800138003".into()), value: Some(event.into()), ..record(0, 7, &[]) };
        let mut key = nameless("t", (0, 7), "no end");
        name(&mut key, &record);
        let shown = serde_json::to_string(&key).unwrap();
        assert!(!shown.contains("1380013") && !shown.contains("li@"), "{shown}");
        assert!(key.trans_id.is_some() && key.platform.is_some() && key.account.is_some(), "{shown}");
        assert!(key.event.is_some() && key.key.is_some(), "{shown}");
        let record = Record { value: Some(r#"{"trans_id":"order-1001-pay"}"#.into()), ..record };
        name(&mut key, &record);
        assert_eq!(key.trans_id.as_deref(), Some("order-1001-pay"), "one without personal data is shown");
    }

    #[test]
    fn records_that_lie_near_each_other_are_read_in_one_go() {
        let places = [(0, 1), (0, 2), (0, 4_000), (0, 90_000), (1, 90_001)];
        assert_eq!(runs(places.into_iter()), [(0, 1, 4_001), (0, 90_000, 90_001), (1, 90_001, 90_002)]);
    }
}
