//! One dead letter: its headers by name, its reason, its origin.

use serde_json::{Map, Value};

use crate::envelope::own_headers;
use crate::error::Reason;
use crate::kafka::record::Record;
use crate::redact::mask_text;

/// How the text of a header is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
}

/// The headers of a dead letter in the order of contract section 4. The names stand without `pb-`.
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

/// The place where the event first came from, and its record time there: in a topic that was deleted and made again,
/// another event has this place.
pub(super) type Origin = (Box<str>, i64, i64, i64);
/// The time at which a dead letter was written, then its record time and its place.
pub(super) type Rank = (i64, i64, i32, i64);

/// One dead letter without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The partition in the dead-letter topic.
    pub partition: i32,
    /// The offset in that partition.
    pub offset: i64,
    /// Record time, epoch ms.
    timestamp_ms: i64,
    /// The texts of the headers, one behind the other: a search holds thousands of letters at once.
    texts: Box<str>,
    /// Each header as an index into [`FIELDS`] and the end of its text.
    headers: Box<[(u8, u32)]>,
}

impl DeadLetter {
    /// Reads a record of the dead-letter topic. If no worker wrote the record, its headers do not count.
    pub fn read(record: &Record) -> Self {
        let (mut texts, mut headers) = (String::new(), Vec::new());
        for header in own_headers(record) {
            let Some(name) = header.name.strip_prefix("pb-") else { continue };
            let Some(index) = FIELDS.iter().position(|(field, _)| *field == name) else { continue };
            let text = header.value.as_deref().and_then(|v| std::str::from_utf8(v).ok());
            let end = text.and_then(|text| u32::try_from(texts.len() + text.len()).ok());
            if let Some((text, end)) = text.zip(end) {
                texts.push_str(text);
                headers.push((index as u8, end));
            }
        }
        Self {
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms.unwrap_or(0),
            texts: texts.into(),
            headers: headers.into(),
        }
    }

    /// Each header as an index into [`FIELDS`] and its text.
    fn headers(&self) -> impl Iterator<Item = (u8, &str)> {
        let mut begin = 0;
        self.headers.iter().map(move |(index, end)| {
            let text = &self.texts[begin..*end as usize];
            begin = *end as usize;
            (*index, text)
        })
    }

    /// The text of a header. The name stands without `pb-`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.headers().find(|(index, _)| FIELDS[usize::from(*index)].0 == name).map(|(_, text)| text)
    }

    /// The number in a header.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// When it ended, epoch ms.
    pub fn failed_at_ms(&self) -> i64 {
        self.number("failed-at").unwrap_or(self.timestamp_ms)
    }

    /// The reason, if it is one of the closed list.
    pub fn reason(&self) -> Option<Reason> {
        let text = self.text("reason")?;
        Reason::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// The place where the event first came from; without that header, the place of the dead letter itself.
    pub(super) fn origin(&self) -> Origin {
        let stated = || {
            let topic = self.text("origin-topic")?;
            let at_ms = self.number("origin-timestamp").unwrap_or(0);
            Some((topic.into(), self.number("origin-partition")?, self.number("origin-offset")?, at_ms))
        };
        stated().unwrap_or_else(|| ("".into(), i64::from(self.partition), self.offset, 0))
    }

    /// The place where the event first came from, as `topic:partition:offset`; `None`: the headers do not say it.
    pub fn stated_origin(&self) -> Option<String> {
        let (topic, partition, offset, _) = self.origin();
        (!topic.is_empty()).then(|| format!("{topic}:{partition}:{offset}"))
    }

    /// The order in which dead letters are shown.
    pub(super) fn rank(&self) -> Rank {
        (self.failed_at_ms(), self.timestamp_ms, self.partition, self.offset)
    }

    /// How often it was replayed before.
    pub fn replays(&self) -> i64 {
        self.number("replays").unwrap_or(0)
    }

    /// Orders the newest dead letters of one origin in several partitions, of which the highest one is the newest of
    /// all. Inside a partition the offset alone tells the newest: the clocks of two writers may differ.
    pub(super) fn lineage(&self) -> (i64, Rank) {
        (self.replays(), self.rank())
    }

    /// Every header of contract section 4 by name, with personal data masked. An absent header is null.
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

    /// Every header that is there, in order, with its full name, and with personal data masked.
    pub fn lines(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.headers().map(|(index, text)| {
            let name = FIELDS[usize::from(index)].0;
            (format!("pb-{name}"), mask_text(text).into_owned())
        })
    }
}

fn shown(kind: Kind, text: &str) -> Value {
    match kind {
        // A text that is no number was forged or cut, and is shown as it is.
        Kind::Number => text.parse::<i64>().map_or_else(|_| mask_text(text).into(), Value::from),
        Kind::Flag => Value::Bool(true),
        Kind::Text => mask_text(text).into(),
    }
}
