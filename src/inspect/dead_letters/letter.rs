//! One dead letter: its headers by name, its reason, its origin.

use serde_json::{Map, Value};

use crate::envelope::own_headers;
use crate::error::Reason;
use crate::kafka::record::Record;
use crate::redact::mask_text;

/// What a header's text is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
}

/// The headers of a dead letter without `pb-`, in the order of contract section 4.
pub(super) const FIELDS: [(&str, Kind); 24] = [
    ("origin-topic", Kind::Text),
    ("origin-partition", Kind::Number),
    ("origin-offset", Kind::Number),
    ("origin-timestamp", Kind::Number),
    ("first-seen", Kind::Number),
    ("first-attempt", Kind::Number),
    ("attempts", Kind::Number),
    ("resends", Kind::Number),
    ("last-error", Kind::Text),
    ("last-code", Kind::Text),
    ("last-status", Kind::Number),
    ("platform", Kind::Text),
    ("account", Kind::Text),
    ("trans-id", Kind::Text),
    ("event", Kind::Text),
    ("reason", Kind::Text),
    ("field", Kind::Text),
    ("detail", Kind::Text),
    ("failed-at", Kind::Number),
    ("worker", Kind::Text),
    ("truncated", Kind::Number),
    ("replay-id", Kind::Text),
    ("replays", Kind::Number),
    ("replay-force", Kind::Flag),
];

/// Where an event first came from: topic, partition, offset.
pub(super) type Origin = (Box<str>, i64, i64);
/// When a letter was written, and where it lies.
pub(super) type Rank = (i64, i64, i32, i64);

/// One dead letter, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Partition of the dead-letter topic.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Record time, epoch ms.
    timestamp_ms: i64,
    /// Place in [`FIELDS`], and the text.
    headers: Vec<(u8, Box<str>)>,
}

impl DeadLetter {
    /// Reads a record of the dead-letter topic. One that no worker wrote has no headers that count.
    pub fn read(record: &Record) -> Self {
        let mut headers: Vec<(u8, Box<str>)> = Vec::new();
        for header in own_headers(record) {
            let Some(name) = header.name.strip_prefix("pb-") else { continue };
            let Some(index) = FIELDS.iter().position(|(field, _)| *field == name) else { continue };
            let text = header.value.as_deref().and_then(|v| std::str::from_utf8(v).ok());
            if let Some(text) = text {
                headers.push((index as u8, text.into()));
            }
        }
        Self {
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms.unwrap_or(0),
            headers,
        }
    }

    /// A header by its name without `pb-`.
    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(index, _)| FIELDS[usize::from(*index)].0 == name)?;
        Some(&found.1)
    }

    /// The same as a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// When it ended, epoch ms.
    pub fn failed_at_ms(&self) -> i64 {
        self.number("failed-at").unwrap_or(self.timestamp_ms)
    }

    /// Why it ended, where that is of the closed list.
    pub fn reason(&self) -> Option<Reason> {
        let text = self.text("reason")?;
        Reason::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// Where the event first came from; its own place where that is not said.
    pub(super) fn origin(&self) -> Origin {
        let stated = || {
            let topic = self.text("origin-topic")?;
            Some((topic.into(), self.number("origin-partition")?, self.number("origin-offset")?))
        };
        stated().unwrap_or_else(|| ("".into(), i64::from(self.partition), self.offset))
    }

    /// The same as `topic:partition:offset`, where it is said.
    pub fn stated_origin(&self) -> Option<String> {
        let (topic, partition, offset) = self.origin();
        (!topic.is_empty()).then(|| format!("{topic}:{partition}:{offset}"))
    }

    /// Later ones replace earlier ones of the same origin.
    pub(super) fn rank(&self) -> Rank {
        (self.failed_at_ms(), self.timestamp_ms, self.partition, self.offset)
    }

    /// Every header of contract section 4 by name, personal data masked; null where it is absent.
    pub fn json(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("partition".to_owned(), self.partition.into());
        members.insert("offset".to_owned(), self.offset.into());
        for (name, kind) in FIELDS {
            let value = self.text(name).map_or(Value::Null, |text| shown(kind, text));
            members.insert(name.replace('-', "_"), value);
        }
        members
    }

    /// Every header that is there, in order, with its whole name, personal data masked.
    pub fn lines(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.headers.iter().map(|(index, text)| {
            let name = FIELDS[usize::from(*index)].0;
            (format!("pb-{name}"), mask_text(text).into_owned())
        })
    }
}

fn shown(kind: Kind, text: &str) -> Value {
    match kind {
        // A number that is none was forged or cut: shown as it is.
        Kind::Number => text.parse::<i64>().map_or_else(|_| mask_text(text).into(), Value::from),
        Kind::Flag => Value::Bool(true),
        Kind::Text => mask_text(text).into(),
    }
}
