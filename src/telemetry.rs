//! Writes structured logs to standard error: text on a terminal, JSON lines elsewhere.
//!
//! One event is always one line: control characters and escape sequences in its fields are escaped, each field is cut
//! at 256 characters, and everything passes [`crate::redact`].

mod line;
#[cfg(test)]
pub(crate) mod tests;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::OnceLock;

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use line::lines;

/// `[telemetry]`.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// A filter of targets and levels.
    #[serde(deserialize_with = "log")]
    pub log: String,
    /// The format of log lines.
    pub format: Format,
    /// A second address that serves only `/metrics`, `/live` and `/ready`.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// The destination of traces. It must be empty, because this version sends none.
    #[serde(deserialize_with = "otlp")]
    pub otlp: String,
}

fn log<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let filter = String::deserialize(from)?;
    // `refuse` shows the second part of a reason only if it may show the value.
    let reason = "is no filter such as \"info\" or \"postback=debug\"";
    match EnvFilter::try_new(&filter) {
        Ok(_) => Ok(filter),
        Err(error) => Err(D::Error::invalid_value(Unexpected::Other(&format!(": {error}")), &reason)),
    }
}

fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    match String::deserialize(from)?.as_str() {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| D::Error::custom("has to be IP:port, e.g. \"127.0.0.1:9464\" or \"[::]:9464\"")),
    }
}

fn otlp<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match String::deserialize(from)? {
        text if text.is_empty() => Ok(text),
        _ => Err(D::Error::custom("has to be empty: this version sends no traces")),
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    Text,
    /// For machines, one object per line.
    Json,
}

/// Starts logging for the rest of the process. It logs panics and records of the `log` crate too.
///
/// # Errors
/// The filter cannot be read, or logging was started before.
pub fn init(filter: &str, format: Format) -> Result<(), String> {
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        Format::Auto => !terminal,
        Format::Text => false,
        Format::Json => true,
    };
    let layer = lines(std::io::stderr, json, terminal && std::env::var_os("NO_COLOR").is_none());
    let (filter, handle) = reload::Layer::new(parse_filter(filter)?);
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .try_init()
        .map_err(|error| format!("logging cannot be started: {error}"))?;
    // Logging is started once, so this is the only one.
    let _ = FILTER.set(handle);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("(no text)");
        tracing::error!(at = place, "panicked: {text}");
    }));
    Ok(())
}

/// The filter in force, where logging was started.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Logs by another filter from now on. Where this program did not start logging, another one decides what is logged.
///
/// # Errors
/// The filter cannot be read, or cannot be replaced.
pub fn set_filter(filter: &str) -> Result<(), String> {
    let new = parse_filter(filter)?;
    match FILTER.get() {
        None => Ok(()),
        Some(handle) => handle.reload(new).map_err(|error| format!("the log filter cannot be replaced: {error}")),
    }
}

/// Makes the filter of `telemetry.log`.
///
/// A level without a target applies to the worker's own code. Libraries (librdkafka among them) log at `warn`, or at a
/// lower level if the given one is lower. `librdkafka=debug`, or any other target, asks for more.
///
/// # Errors
/// Says what is wrong with the filter.
pub fn parse_filter(filter: &str) -> Result<EnvFilter, String> {
    let mut directives = Vec::new();
    let mut bare = LevelFilter::INFO;
    for part in filter.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        match part.parse::<LevelFilter>() {
            Ok(level) => bare = level,
            Err(_) => directives.push(part.to_owned()),
        }
    }
    directives.insert(0, bare.min(LevelFilter::WARN).to_string());
    directives.insert(1, format!("postback={bare}"));
    EnvFilter::try_new(directives.join(","))
        .map_err(|error| format!("`{filter}` is no log filter ({error}); write a level, or target=level, …"))
}
