//! The range of the input that is reconciled.

use chrono::DateTime;
use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::now_ms;
use crate::inspect::dead_letters::moment;
use crate::kafka::scan::Span;
use crate::kafka::topics::{AdminError, Cluster, PartitionName};
use crate::units::show_count;

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    #[error("kafka.brokers: {0}")]
    Kafka(#[from] AdminError),
    /// The range does not exist.
    #[error("{}", .0.message)]
    Range(RangeError),
    /// The range holds more records than may be kept in memory here.
    #[error("the range holds {} records, and at most {} may be reconciled here: take a narrower one, or run `postback reconcile`, which has no bound", shown(.records), shown(.most))]
    TooLarge { records: u64, most: u64 },
    #[error("it was stopped")]
    Stopped,
    /// A fault of the program.
    #[error("the reading broke off; see the log")]
    BrokeOff,
}

fn shown(count: &u64) -> String {
    show_count(*count)
}

/// A part of a range that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeError {
    /// `from`, `to`, `topic` or `partition`.
    pub field: &'static str,
    pub message: String,
}

impl RangeError {
    fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}

/// A range of the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "ReconciledRange")]
pub enum Range {
    /// Offsets of one partition, without the last one; `None`: from its beginning, to its end.
    Offsets { topic: String, partition: i32, from: Option<i64>, to: Option<i64> },
    /// Record times in epoch ms, without the last one, of one topic or of every input.
    Times { topic: Option<String>, from_ms: i64, to_ms: Option<i64> },
}

impl Range {
    /// Reads a range as an operator writes it: offsets with a partition, else times.
    ///
    /// # Errors
    /// A part is missing or cannot be read.
    pub fn read(
        (from, to): (Option<&str>, Option<&str>),
        topic: Option<&str>,
        partition: Option<i32>,
    ) -> Result<Self, RangeError> {
        let Some(partition) = partition else {
            let time = |field, text| moment(text).map_err(|why| RangeError::new(field, why));
            let from_ms = time("from", from.ok_or_else(|| RangeError::new("from", "is missing: a time, such as 2h"))?)?;
            let to_ms = to.map(|text| time("to", text)).transpose()?;
            let now_ms = now_ms();
            if from_ms > now_ms {
                let now = DateTime::from_timestamp_millis(now_ms).unwrap_or_default().format("%Y-%m-%dT%H:%M:%SZ");
                let message = format!("lies in the future (it is {now}): give a time before now, or a span such as 2h");
                return Err(RangeError::new("from", message));
            }
            if to_ms.is_some_and(|to_ms| to_ms <= from_ms) {
                return Err(RangeError::new("to", "does not lie behind the beginning"));
            }
            return Ok(Range::Times { topic: topic.map(str::to_owned), from_ms, to_ms });
        };
        let offset = |field, text: &str| {
            let read = text.parse().ok().filter(|at: &i64| *at >= 0);
            read.ok_or_else(|| RangeError::new(field, "no offset: with a partition it is one"))
        };
        Ok(Range::Offsets {
            topic: topic.ok_or_else(|| RangeError::new("topic", "is missing: a partition belongs to one"))?.to_owned(),
            partition,
            from: from.map(|text| offset("from", text)).transpose()?,
            to: to.map(|text| offset("to", text)).transpose()?,
        })
    }

    /// Whether records of this topic can belong to the range.
    pub(super) fn is_of(&self, topic: &str) -> bool {
        match self {
            Range::Offsets { topic: name, .. } => name == topic,
            Range::Times { topic: name, .. } => name.as_deref().is_none_or(|name| name == topic),
        }
    }

    /// Whether a record of the spans belongs to the range. Record times need not rise with the offsets.
    pub(super) fn holds(&self, record_ms: Option<i64>) -> bool {
        match self {
            Range::Offsets { .. } => true,
            Range::Times { from_ms, to_ms, .. } => {
                record_ms.is_some_and(|at| at >= *from_ms && to_ms.is_none_or(|to| at < to))
            }
        }
    }

    /// The offsets that hold the range.
    pub(super) fn spans(&self, cluster: &Cluster) -> Result<Vec<Span>, ReconcileError> {
        let mut topics = cluster.inputs()?;
        if let Range::Offsets { topic: name, .. } | Range::Times { topic: Some(name), .. } = self {
            topics.retain(|topic| topic.name == *name);
            if topics.is_empty() {
                let message = format!("{name} is no input topic that exists (kafka.input)");
                return Err(ReconcileError::Range(RangeError::new("topic", message)));
            }
        }
        let offsets = cluster.offsets()?;
        let all: Vec<PartitionName> =
            topics.iter().flat_map(|topic| (0..topic.partitions).map(|p| (topic.name.clone(), p))).collect();
        let (first, ends) = (offsets.first(&all)?, offsets.ends(&all)?);
        let bounds = |name: &PartitionName| Some((*first.get(name)?, *ends.get(name)?));
        match self {
            Range::Offsets { topic, partition, from, to } => {
                let name = (topic.clone(), *partition);
                let bounds = bounds(&name).ok_or_else(|| {
                    let message = format!("{topic} has no partition {partition}: it has {}", all.len());
                    ReconcileError::Range(RangeError::new("partition", message))
                })?;
                let (from, end) = within((*from, *to), bounds).map_err(|(field, why)| {
                    ReconcileError::Range(RangeError::new(field, format!("{topic}/{partition} {why}")))
                })?;
                Ok(vec![Span { topic: name.0, partition: name.1, from, end }])
            }
            Range::Times { from_ms, to_ms, .. } => {
                let since = |at_ms: i64| -> Result<_, AdminError> { offsets.since(&all, at_ms) };
                let (from, to) = (since(*from_ms)?, to_ms.map(since).transpose()?.flatten());
                let spans = all.iter().filter_map(|name| {
                    let (first, end) = bounds(name)?;
                    // A broker that finds no offsets by time has the whole partition read.
                    let from = from.as_ref().map_or(first, |from| from.get(name).map_or(end, |at| *at));
                    let end = to.as_ref().and_then(|to| to.get(name)).map_or(end, |at| *at);
                    (from < end).then_some(Span { topic: name.0.clone(), partition: name.1, from, end })
                });
                Ok(spans.collect())
            }
        }
    }
}

/// The range of offsets, if the partition holds all of it; else which bound is wrong, and why.
fn within(
    (from, to): (Option<i64>, Option<i64>),
    (first, end): (i64, i64),
) -> Result<(i64, i64), (&'static str, String)> {
    let (from, to) = (from.unwrap_or(first), to.unwrap_or(end));
    if from < first {
        let why = format!("begins at offset {first}: retention has deleted what lies between {from} and that");
        return Err(("from", why));
    }
    if to > end {
        return Err(("to", format!("ends at offset {end}: {to} lies behind it")));
    }
    if from > to {
        return Err(("from", format!("has no range from {from} to {to}")));
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_a_partition_the_bounds_are_offsets_and_else_times() {
        let offsets = |from, to| Range::Offsets { topic: "t".into(), partition: 3, from, to };
        assert_eq!(Range::read((Some("5"), Some("9")), Some("t"), Some(3)), Ok(offsets(Some(5), Some(9))));
        assert_eq!(Range::read((None, None), Some("t"), Some(3)), Ok(offsets(None, None)));
        let times = |topic: Option<&str>, to_ms| Range::Times { topic: topic.map(str::to_owned), from_ms: 5, to_ms };
        assert_eq!(Range::read((Some("5"), Some("9")), None, None), Ok(times(None, Some(9))));
        assert_eq!(Range::read((Some("5"), None), Some("t"), None), Ok(times(Some("t"), None)));
        for (from, to, topic, partition, field) in [
            (None, None, None, None, "from"),
            (None, None, None, Some(3), "topic"),
            (Some("9"), Some("5"), None, None, "to"),
            (Some("yesterday"), None, None, None, "from"),
            (Some("2999-01-01T00:00:00Z"), None, None, None, "from"),
            (Some("2999-01-01T00:00:00Z"), Some("2998-01-01T00:00:00Z"), None, None, "from"),
            (Some("2h"), None, Some("t"), Some(3), "from"),
            (Some("1"), Some("-1"), Some("t"), Some(3), "to"),
        ] {
            assert_eq!(Range::read((from, to), topic, partition).unwrap_err().field, field, "{from:?} {to:?}");
        }
    }

    #[test]
    fn a_range_of_offsets_lies_within_its_partition() {
        assert_eq!(within((None, None), (5, 9)), Ok((5, 9)));
        assert_eq!(within((Some(6), Some(8)), (5, 9)), Ok((6, 8)));
        for (range, field, part) in [
            ((Some(4), None), "from", "begins at offset 5: retention has deleted"),
            ((None, Some(10)), "to", "ends at offset 9: 10 lies behind it"),
            ((Some(8), Some(7)), "from", "no range from 8 to 7"),
        ] {
            let (wrong, why) = within(range, (5, 9)).unwrap_err();
            assert!(wrong == field && why.contains(part), "{range:?}: {wrong}: {why}");
        }
    }

    #[test]
    fn a_time_holds_by_the_record_and_not_by_its_offset() {
        let range = Range::Times { topic: None, from_ms: 10, to_ms: Some(20) };
        assert_eq!(
            [None, Some(9), Some(10), Some(19), Some(20)].map(|at| range.holds(at)),
            [false, false, true, true, false]
        );
        assert!(Range::Times { topic: None, from_ms: 10, to_ms: None }.holds(Some(1_000)));
    }
}
