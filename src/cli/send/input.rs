//! Splits an input into events, byte for byte, each with its line, and finds what cannot be sent (pure).

use std::fmt;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::byte_order_mark::{is_utf_16, skip, skip_text};

/// An event of the input, and where it stands.
#[derive(Debug)]
pub(super) struct Event<'a> {
    /// The line where it begins, from 1.
    pub line: usize,
    /// The text of the event as it stands in the input.
    pub json: &'a RawValue,
}

/// A part of the input that cannot be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad {
    /// The line where it begins, from 1.
    pub line: usize,
    pub why: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

/// The whole input.
#[derive(Debug, Default)]
pub(super) struct Input<'a> {
    /// The events that can be sent, as far as is known.
    pub events: Vec<Event<'a>>,
    /// The parts that cannot be sent, in the order of their lines.
    pub bad: Vec<Bad>,
}

impl<'a> Input<'a> {
    /// Reads a JSON array, events over several lines each, or one event per line.
    pub fn read(bytes: &'a [u8]) -> Self {
        if is_utf_16(bytes) {
            let why = "the input is UTF-16; save it as UTF-8".to_owned();
            return Self { events: Vec::new(), bad: vec![Bad { line: 1, why }] };
        }
        let bytes = skip(bytes);
        let is_array = bytes.trim_ascii_start().starts_with(b"[");
        if !is_array && !spans_lines(bytes) {
            return lines(bytes);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if is_array => array(text),
            Ok(text) => stream(text),
            Err(error) => {
                let passed = &bytes[..error.valid_up_to()];
                let begins = passed.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
                let line = 1 + passed.iter().filter(|b| **b == b'\n').count();
                let why = format!("not UTF-8 at column {}; the whole input is one text", passed.len() - begins + 1);
                Self { events: Vec::new(), bad: vec![Bad { line, why }] }
            }
        }
    }

    /// Whether the input holds nothing, neither good nor bad.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.bad.is_empty()
    }

    /// Takes out the events that do not fit into `limit` bytes together with their key; `key_bytes` gives the length of
    /// the key.
    pub fn judge_sizes(&mut self, limit: usize, key_bytes: impl Fn(&RawValue) -> usize) {
        let events = std::mem::take(&mut self.events);
        for event in events {
            let bytes = record_bytes(key_bytes(event.json), event.json.get().len());
            if bytes <= limit {
                self.events.push(event);
            } else {
                let why = format!("{bytes} bytes as a record, more than the {limit} that the topic takes");
                self.bad.push(Bad { line: event.line, why });
            }
        }
        self.bad.sort_by_key(|bad| bad.line);
    }
}

/// Whether the first event spans several lines, as `jq .` prints it. If the second line is an event, the input has one
/// event per line, and the first one was cut off.
fn spans_lines(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let read = |text| serde_json::from_slice::<IgnoredAny>(text);
    lines.next().is_some_and(|first| read(first).is_err_and(|error| error.is_eof()))
        && (lines.next().is_some_and(|second| read(second).is_err()) || read(bytes).is_ok())
}

/// Reads one event after the other, each over several lines. It stops at the first fault, because nobody knows where
/// the next event begins.
fn stream(text: &str) -> Input<'_> {
    let (mut input, mut lines) = (Input::default(), Lines::new(text));
    for read in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        match read {
            Ok(json) => input.events.push(lines.locate(json)),
            Err(error) => {
                let why = format!("not JSON, and what follows was not read: {error}");
                input.bad.push(Bad { line: error.line().max(1), why });
            }
        }
    }
    input
}

fn array(text: &str) -> Input<'_> {
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(events) => {
            let mut lines = Lines::new(text);
            Input { events: events.into_iter().map(|json| lines.locate(json)).collect(), bad: Vec::new() }
        }
        Err(error) => {
            let why = format!("not a JSON array of events: {error}");
            Input { events: Vec::new(), bad: vec![Bad { line: error.line().max(1), why }] }
        }
    }
}

/// Counts lines while it goes through the text, so that a large array is searched only once.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// Returns the next event with its line. `json` borrows from the text.
    fn locate(&mut self, json: &'a RawValue) -> Event<'a> {
        let begins = (json.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let passed = self.text.as_bytes().get(self.at..begins).unwrap_or_default();
        self.line += passed.iter().filter(|b| **b == b'\n').count();
        self.at = begins.max(self.at);
        Event { line: self.line, json }
    }
}

fn lines(bytes: &[u8]) -> Input<'_> {
    let mut input = Input::default();
    for (n, bytes) in bytes.split(|b| *b == b'\n').enumerate() {
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let line = n + 1;
        let read = match std::str::from_utf8(bytes) {
            // Joined files have a byte order mark in the middle. The library also counts lines; in a text of one line
            // only the column helps.
            Ok(text) => serde_json::from_str(skip_text(text))
                .map_err(|e| e.to_string().replacen(" at line 1 column", " at column", 1)),
            Err(error) => Err(format!("not UTF-8 at column {}", error.valid_up_to() + 1)),
        };
        match read {
            Ok(json) => input.events.push(Event { line, json }),
            Err(why) => input.bad.push(Bad { line, why }),
        }
    }
    input
}

/// The size of a record that is alone in its batch, as a broker compares it with `max.message.bytes`.
fn record_bytes(key: usize, value: usize) -> usize {
    // The protocol writes numbers as zigzag varints: seven bits a byte, and one bit in all for the sign.
    let varint = |n: usize| (usize::BITS - n.leading_zeros() + 1).div_ceil(7).max(1) as usize;
    // Attributes, time, offset and the number of headers take a byte each. A missing key is written as length -1.
    let body = 4 + varint(key) + key + varint(value) + value;
    61 + varint(body) + body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(input: &str) -> Vec<(usize, String)> {
        let read = Input::read(input.as_bytes());
        assert_eq!(read.bad, []);
        read.events.into_iter().map(|e| (e.line, e.json.get().to_owned())).collect()
    }

    fn event(line: usize, text: &str) -> (usize, String) {
        (line, text.to_owned())
    }

    #[test]
    fn arrays_lines_and_a_single_event_are_read_byte_for_byte() {
        assert_eq!(texts("[{\"a\": 1},\n\n {\"b\":2.50}]"), [event(1, r#"{"a": 1}"#), event(3, r#"{"b":2.50}"#)]);
        assert_eq!(texts("{\"a\":1}\n\n{\"b\": 2}\n"), [event(1, r#"{"a":1}"#), event(3, r#"{"b": 2}"#)]);
        assert_eq!(texts("\n{\n  \"a\": 1\n}\n"), [event(2, "{\n  \"a\": 1\n}")]);
        assert!(Input::read(b" \n\n").is_empty() && Input::read(b"\xef\xbb\xbf\n").is_empty());
    }

    #[test]
    fn several_events_over_several_lines_each_are_read_up_to_the_first_fault_which_is_named_once() {
        assert_eq!(
            texts("{\n \"a\": 1\n}\n{\"b\":2}\n{\n}"),
            [event(1, "{\n \"a\": 1\n}"), event(4, r#"{"b":2}"#), event(5, "{\n}")]
        );
        let input = Input::read(b"{\n \"a\": 1\n}\n{\n \"b\": 2,\n}\n{\"c\": 3}\n5\n");
        assert_eq!(input.events.iter().map(|e| e.line).collect::<Vec<_>>(), [1]);
        assert!(input.bad.len() == 1 && input.bad[0].line == 6, "{:?}", input.bad);
        assert!(input.bad[0].why.contains("what follows was not read"), "{:?}", input.bad);
        // The input has one event per line, and the first one was cut off.
        let input = Input::read(b"{\"a\":\n{\"b\":2}\n{\"c\":3}\n");
        assert_eq!((input.events.len(), input.bad.len(), input.bad[0].line), (2, 1, 1));
    }

    #[test]
    fn a_text_over_several_lines_that_is_no_utf8_has_one_fault_and_no_line_of_it_is_an_event() {
        for input in [&b"[\n{\"a\":1},\n{\"b\":\n \"\xff\"},\n{\"c\":3}\n]"[..], b"{\n\"a\":1\n}\n{\n \"\xff\":\n{}}"] {
            let input = Input::read(input);
            assert!(input.events.is_empty(), "{:?}", input.events);
            assert!(input.bad.len() == 1 && input.bad[0].why.starts_with("not UTF-8 at column"), "{:?}", input.bad);
        }
        assert_eq!(
            Input::read(b"[\n{\"b\":\n \"\xff\"}]").bad[0].to_string().split(';').next(),
            Some("line 3: not UTF-8 at column 3")
        );
    }

    #[test]
    fn a_byte_order_mark_before_a_file_or_a_line_is_skipped() {
        for input in ["\u{feff}{\"a\":1}", "\u{feff}[{\"a\":1}]", "\u{feff}{\"a\":1}\n\u{feff}{\"b\":2}\n"] {
            let read = texts(input);
            assert_eq!(read[0].1, r#"{"a":1}"#, "{input:?}");
            assert!(read.get(1).is_none_or(|second| second.1 == r#"{"b":2}"#), "{read:?}");
        }
    }

    #[test]
    fn an_input_in_utf_16_is_one_fault_that_says_so() {
        for input in [&b"\xff\xfe{\0\"\0a\0\"\0:\x001\0}\0\n\0{\0}\0"[..], b"\xfe\xff\0[\0]"] {
            let input = Input::read(input);
            let told: Vec<String> = input.bad.iter().map(ToString::to_string).collect();
            assert_eq!(
                (input.events.len(), told),
                (0, vec!["line 1: the input is UTF-16; save it as UTF-8".to_owned()])
            );
        }
    }

    #[test]
    fn each_bad_line_is_named_and_the_good_ones_are_known() {
        let input = Input::read(b"{\"a\":1}\n{broken\n\n\xff\n{\"b\":2}\n{\"c\":");
        assert_eq!(input.events.iter().map(|e| e.line).collect::<Vec<_>>(), [1, 5]);
        let told: Vec<String> = input.bad.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "line 2: key must be a string at column 2",
                "line 4: not UTF-8 at column 1",
                "line 6: EOF while parsing a value at column 5"
            ]
        );
        let input = Input::read(b"[{\"a\":1},\n{broken}]");
        assert_eq!((input.events.len(), input.bad[0].line), (0, 2));
    }

    #[test]
    fn what_the_topic_does_not_take_is_named_among_the_others() {
        let text = format!("{{\"a\":1}}\n{{\"a\":\"{}\"}}\n{{broken\n{{\"a\":3}}\n", "x".repeat(200));
        let mut input = Input::read(text.as_bytes());
        input.judge_sizes(250, |_| 5);
        assert_eq!(input.events.iter().map(|e| e.line).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(input.bad.iter().map(|b| b.line).collect::<Vec<_>>(), [2, 3]);
        assert!(input.bad[0].why.contains("bytes as a record, more than the 250"), "{:?}", input.bad);
        // A broker measured: attributes, two deltas, lengths, the header count, and 61 bytes for the batch.
        assert_eq!(record_bytes(0, 10), 61 + 1 + 4 + 1 + 1 + 10);
        assert_eq!(record_bytes(64, 64), 61 + 2 + 4 + 2 + 64 + 2 + 64);
        assert_eq!(record_bytes(10, 63), 61 + 2 + 4 + 1 + 10 + 1 + 63);
    }
}
