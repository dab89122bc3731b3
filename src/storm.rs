//! The storm brake: a topic whose records mostly cannot be events, or name no account of ours, is not read on until an
//! operator says so. Such a flood means that a producer or the configuration is wrong, and not the events.
//!
//! Each process counts for itself what it reads of a topic, over all partitions that it owns ([`count`]). Which topics
//! are stopped is kept in Redis, for every replica and over restarts; [`board`] is what this process knows of it. An
//! operator may let a number of bad records pass uncounted ([`pass`]), so that a backlog of them can be read to its
//! end.

pub mod board;
pub mod count;
pub mod pass;

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::redact::mask_event_text;

/// The most characters of a sample.
const SAMPLE_CHARS: usize = 200;
/// The most bytes of a record that a sample is made of. It is more than is shown, so that no cut shows half of a
/// number.
const SAMPLE_BYTES: usize = 16 * 1024;

/// A topic that the storm brake stopped, and what was seen there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Storm {
    pub topic: String,
    /// Since when it is not read, in epoch ms.
    pub since_ms: i64,
    /// The replica that stopped it.
    pub replica: String,
    /// Which rule stopped it, in words.
    pub why: String,
    /// How many such records were seen, by reason: `malformed`, `unknown_account`.
    pub counts: BTreeMap<String, u64>,
    /// The first of them, by arrival.
    pub first: Place,
    /// The last of them.
    pub last: Place,
    /// The reason of the last one.
    pub reason: String,
    /// What is wrong with the last one.
    pub detail: String,
    /// The value of the last one on one line, shortened, with what is personal or secret masked.
    pub sample: String,
    /// The command after which the topic is read on.
    pub unblock: String,
}

/// Where a record stands in its topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

impl Storm {
    /// What is known of a stopped topic whose entry cannot be read. It stays stopped, because that is the safe side.
    pub fn unreadable(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            why: "its entry in Redis cannot be read".into(),
            unblock: unblock(topic),
            ..Self::default()
        }
    }

    /// What was seen, in one sentence without the sample.
    pub fn summary(&self) -> String {
        let counts: Vec<_> = self.counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        if counts.is_empty() {
            return self.why.clone();
        }
        format!("{}: {}, from {} to {} (partition/offset)", self.why, counts.join(", "), self.first, self.last)
    }
}

/// The command after which a topic is read on.
pub fn unblock(topic: &str) -> String {
    format!("postback unblock storm --topic {topic} --reason TEXT")
}

/// The command after which no more bad records of a topic pass without being judged.
pub fn end_pass(topic: &str) -> String {
    format!("postback unblock storm --topic {topic} --pass 0 --reason TEXT")
}

/// Shows the value of a record on one line.
pub fn sample(value: Option<&[u8]>) -> String {
    let Some(value) = value else { return "(no value)".into() };
    let shown = mask_event_text(&value[..value.len().min(SAMPLE_BYTES)]);
    let mut line: String =
        shown.chars().take(SAMPLE_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    if shown.chars().nth(SAMPLE_CHARS).is_some() || value.len() > SAMPLE_BYTES {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_one_line_short_and_masked() {
        assert_eq!(sample(None), "(no value)");
        assert_eq!(sample(Some(b"tel\r\n13812345678\x1b[2J \xff")), "tel  138****5678 [2J \u{fffd}");
        let event = br#"{"account":"nobody","user":{"phone":"13812345678"},"secret":"K3Y"}"#;
        let shown = sample(Some(event));
        assert!(shown.contains("nobody") && !shown.contains("12345678") && !shown.contains("K3Y"), "{shown}");
        let long = sample(Some(&[b'x'; 1_000_000]));
        assert_eq!(long.chars().count(), SAMPLE_CHARS + 1);
        // A number over the cut of what is read is not shown in part.
        let mut cut = vec![b' '; SAMPLE_BYTES - 6];
        cut.extend(b"13812345678");
        assert!(!sample(Some(&cut)).contains("13812"));
    }

    #[test]
    fn a_summary_says_how_many_of_what_kind_and_where() {
        let storm = Storm {
            why: "100 records in a row".into(),
            counts: BTreeMap::from([("malformed".into(), 99), ("unknown_account".into(), 1)]),
            first: Place { partition: 2, offset: 7 },
            last: Place { partition: 0, offset: 41 },
            ..Storm::default()
        };
        let text = "100 records in a row: 99 malformed, 1 unknown_account, from 2/7 to 0/41 (partition/offset)";
        assert_eq!(storm.summary(), text);
        let unreadable = Storm::unreadable("conversions");
        assert_eq!(unreadable.summary(), "its entry in Redis cannot be read");
        assert_eq!(unreadable.unblock, "postback unblock storm --topic conversions --reason TEXT");
    }
}
