//! One event as one line.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::Write as _;

use chrono::{SecondsFormat, Utc};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::redact::mask_text;

/// Characters of one field; what is longer ends in `…`.
const LONGEST: usize = 256;

/// Names that every line has; a field that is called so gets a `_` behind its name.
const FIXED: [&str; 4] = ["time", "level", "target", "message"];

/// The layer that writes lines.
pub struct Lines<W> {
    writer: W,
    json: bool,
    colour: bool,
}

impl<W> Lines<W> {
    /// Lines into `writer`: JSON or text, the level coloured or not.
    pub fn new(writer: W, json: bool, colour: bool) -> Self {
        Self { writer, json, colour }
    }
}

/// Fields in order, each name once: the innermost span and the event itself win.
#[derive(Clone, Default)]
struct Fields {
    list: Vec<(Cow<'static, str>, Value)>,
    message: String,
    /// Target of a record of the `log` crate, whose metadata come as fields.
    target: Option<String>,
}

#[derive(Clone)]
enum Value {
    Text(String),
    Plain(String),
}

impl Fields {
    fn set(&mut self, name: &'static str, value: Value) {
        let name = if FIXED.contains(&name) { Cow::Owned(format!("{name}_")) } else { Cow::Borrowed(name) };
        match self.list.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = value,
            None => self.list.push((name, value)),
        }
    }

    fn text(&mut self, field: &Field, text: &str) {
        match field.name() {
            "message" => self.message = safe(text),
            "log.target" => self.target = Some(safe(text)),
            name if name.starts_with("log.") => {}
            name => self.set(name, Value::Text(safe(text))),
        }
    }

    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        if !field.name().starts_with("log.") {
            self.set(field.name(), Value::Plain(value.to_string()));
        }
    }
}

/// Masked, and cut. Masking first, so that a cut cannot leave half of what would have been masked.
fn safe(text: &str) -> String {
    let masked = mask_text(text);
    match masked.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &masked[..end]),
        None => masked.into_owned(),
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, &value.to_string());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, value);
        } else {
            self.text(field, &value.to_string());
        }
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.list.extend(outer.list.iter().cloned());
            }
        }
        // A name in two spans keeps its innermost value.
        let mut merged = Fields::default();
        for (name, value) in fields.list {
            merged.list.retain(|(n, _)| *n != name);
            merged.list.push((name, value));
        }
        event.record(&mut merged);
        let target = merged.target.take().unwrap_or_else(|| event.metadata().target().to_owned());
        let line = if self.json {
            json(*event.metadata().level(), &target, &merged)
        } else {
            text(*event.metadata().level(), &target, &merged, self.colour)
        };
        // One write a line, so that lines of several threads do not mix. Nobody is left to hear of a failure.
        let _ = self.writer.make_writer_for(event.metadata()).write_all(line.as_bytes());
    }
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn json(level: Level, target: &str, fields: &Fields) -> String {
    let mut line =
        format!("{{\"time\":\"{}\",\"level\":\"{}\",\"target\":", now(), level.as_str().to_ascii_lowercase());
    quoted(&mut line, target);
    line.push_str(",\"message\":");
    quoted(&mut line, &fields.message);
    for (name, value) in &fields.list {
        line.push(',');
        quoted(&mut line, name);
        line.push(':');
        match value {
            Value::Text(text) => quoted(&mut line, text),
            Value::Plain(plain) => line.push_str(plain),
        }
    }
    line.push_str("}\n");
    line
}

fn text(level: Level, target: &str, fields: &Fields, colour: bool) -> String {
    let paint = match level {
        _ if !colour => "",
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        _ => "\u{1b}[2m",
    };
    let plain = if colour { "\u{1b}[0m" } else { "" };
    let mut line = format!("{} {paint}{:>5}{plain} ", now(), level.as_str());
    escaped(&mut line, target, false);
    line.push_str(": ");
    escaped(&mut line, &fields.message, false);
    for (name, value) in &fields.list {
        let _ = write!(line, " {name}=");
        match value {
            Value::Plain(text) => line.push_str(text),
            Value::Text(text) if text.is_empty() || text.contains([' ', '"', '=', '\\']) => quoted(&mut line, text),
            Value::Text(text) => escaped(&mut line, text, false),
        }
    }
    line.push('\n');
    line
}

fn quoted(line: &mut String, text: &str) {
    line.push('"');
    escaped(line, text, true);
    line.push('"');
}

/// Writes text so that neither a terminal nor a line-based reader can be tricked: controls (C0, DEL, C1), line and
/// paragraph separators and marks that turn the direction of writing appear as escapes that JSON understands.
fn escaped(line: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '"' | '\\' if quotes => line.extend(['\\', c]),
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
}
