//! Writes one event as one line, in the formats of tracing-subscriber: `full` for people, `json` for machines.
//!
//! This code adds only three rules that the library's formats do not keep:
//!
//! - Texts are masked and then cut at 256 characters, field by field. A whole line cannot be masked, because an offset
//!   may look like a phone number. So JSON is read back field by field, and `full` gets its own formatter of fields.
//! - The names of the JSON are fixed (`time`, `level`, `target`, `message`) and its fields are flat: the fields of
//!   spans stand next to those of the event, and the innermost wins. A field with a fixed name gets a `_` at its end.
//!   The library nests the fields.
//! - Marks that change the direction of writing, C1 controls and line separators are escaped. The library escapes only
//!   some of them, and only in texts.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::redact::mask_text;

/// The largest number of characters of a field. A longer field is cut and ends in `…`.
const LONGEST: usize = 256;

/// The names that every line has.
const FIXED: [&str; 4] = ["time", "level", "target", "message"];

/// A layer that writes lines into `writer`, as JSON or as text; the text may have colours.
pub fn lines<S, W>(writer: W, json: bool, colour: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // The library reports a failing writer on standard error, and panics if standard error is what failed.
    let layer = tracing_subscriber::fmt::layer().log_internal_errors(false);
    if json {
        layer.json().with_current_span(false).with_writer(Flat(writer)).boxed()
    } else {
        layer.with_ansi(colour).fmt_fields(TextFields).with_writer(writer).boxed()
    }
}

/// Masks a text and then cuts it. In the other order the cut could leave half of a value that would have been masked.
fn safe(text: &str) -> String {
    let masked = mask_text(text);
    match masked.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &masked[..end]),
        None => masked.into_owned(),
    }
}

/// Escapes a text so that it cannot trick a terminal or a line-based reader: controls (C0, DEL, C1), line and paragraph
/// separators and marks that change the direction of writing become escapes of JSON.
fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') =>
            {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line
}

/// Takes lines as the library writes them, and passes them on with fixed names and flat, safe fields.
struct Flat<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Flat<W> {
    type Writer = Flat<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Flat(self.0.make_writer())
    }

    fn make_writer_for(&'w self, of: &Metadata<'_>) -> Self::Writer {
        Flat(self.0.make_writer_for(of))
    }
}

impl<W: io::Write> io::Write for Flat<W> {
    /// The library writes each line in one call, and so does this writer: the lines of several threads do not mix.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(flat(line)?.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A line as the library writes it.
#[derive(Deserialize)]
struct Nested {
    timestamp: String,
    level: String,
    target: String,
    fields: BTreeMap<String, Value>,
    /// The spans, the outermost first. The library adds the name of each one as `name`.
    #[serde(default)]
    spans: Vec<BTreeMap<String, Value>>,
}

/// A line as the worker writes it.
#[derive(Serialize)]
struct Line {
    time: String,
    level: String,
    target: String,
    message: Value,
    #[serde(flatten)]
    fields: BTreeMap<String, Value>,
}

fn flat(line: &[u8]) -> serde_json::Result<String> {
    let mut nested: Nested = serde_json::from_slice(line)?;
    let message = nested.fields.remove("message").map_or_else(|| "".into(), safe_value);
    // A record of the `log` crate has its metadata as fields.
    let target = match nested.fields.remove("log.target") {
        Some(Value::String(target)) => safe(&target),
        _ => nested.target,
    };
    nested.spans.iter_mut().for_each(|span| _ = span.remove("name"));
    let mut fields = BTreeMap::new();
    for (mut name, value) in nested.spans.into_iter().chain([nested.fields]).flatten() {
        if name.starts_with("log.") {
            continue;
        }
        if FIXED.contains(&name.as_str()) {
            name.push('_');
        }
        fields.insert(name, safe_value(value));
    }
    let level = nested.level.to_ascii_lowercase();
    let text = serde_json::to_string(&Line { time: nested.timestamp, level, target, message, fields })?;
    Ok(escaped(&text) + "\n")
}

fn safe_value(value: Value) -> Value {
    match value {
        Value::String(text) => safe(&text).into(),
        value => value,
    }
}

/// Formats the fields of a line for people: `message account=acme-ps why="bad key"`.
struct TextFields;

impl<'w> FormatFields<'w> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = TextLine { writer, is_first: true, written: Ok(()) };
        fields.record(&mut line);
        line.written
    }
}

struct TextLine<'w> {
    writer: Writer<'w>,
    is_first: bool,
    written: fmt::Result,
}

impl TextLine<'_> {
    fn text(&mut self, field: &Field, text: &str) {
        let text = safe(text);
        let is_one_word = !text.is_empty() && !text.contains([' ', '"', '=', '\\']);
        if field.name() == "message" || is_one_word {
            self.plain(field, &escaped(&text));
        } else {
            self.plain(field, &escaped(&Value::from(text).to_string()));
        }
    }

    fn plain(&mut self, field: &Field, value: &dyn fmt::Display) {
        // These fields are the metadata of a record of the `log` crate. The library already shows them in the line.
        if self.written.is_err() || field.name().starts_with("log.") {
            return;
        }
        let gap = if std::mem::take(&mut self.is_first) { "" } else { " " };
        self.written = match field.name() {
            "message" => write!(self.writer, "{gap}{value}"),
            name => write!(self.writer, "{gap}{name}={value}"),
        };
    }
}

impl Visit for TextLine<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, &value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, &value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, &value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.plain(field, &value);
    }
}
