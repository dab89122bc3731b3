//! `[admin]` and `[telemetry]`: what operators see and touch.

use std::net::{Ipv4Addr, SocketAddr};

use tracing_subscriber::EnvFilter;

use crate::config::secret::intact;
use crate::config::section::Section;
use crate::config::tree::Node;
use crate::config::value::{choice, text};
use crate::platforms::SecretString;

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where API, `/metrics`, `/live` and `/ready` listen; the console is not in this version.
    pub listen: SocketAddr,
    /// The bearer token; empty: only loopback may change anything.
    pub token: SecretString,
}

/// `[telemetry]`.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// A tracing filter.
    pub log: String,
    /// How log lines look.
    pub format: Format,
    /// A second address for `/metrics`, `/live`, `/ready` alone.
    pub listen: Option<SocketAddr>,
}

/// `telemetry.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Text.
    Text,
    /// JSON, one object a line.
    Json,
}

const FORMATS: &[(&str, Format)] = &[("auto", Format::Auto), ("text", Format::Text), ("json", Format::Json)];

pub(super) fn admin(section: &Section<'_>) -> AdminConfig {
    let listen = section
        .get("listen", |node| address(node).map(Some))
        .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)));
    let token = SecretString::new(section.get("token", token));
    let unread = section.report.blames(&section.key("token"));
    if !listen.ip().to_canonical().is_loopback() && token.expose().is_empty() && !unread {
        section.problem("token", format!("is empty, but listen = \"{listen}\" is open to other hosts; set a token, e.g. \"${{ADMIN_TOKEN}}\", or listen on 127.0.0.1"));
    }
    if token.expose().chars().any(|c| !c.is_ascii_graphic()) {
        section.problem("token", "may hold visible ASCII characters only, because it travels in a header");
    }
    section.finish();
    AdminConfig { listen, token }
}

pub(super) fn telemetry(section: &Section<'_>) -> TelemetryConfig {
    let config = TelemetryConfig {
        log: section.get("log", filter),
        format: section.get("format", choice(FORMATS)),
        listen: section.get("listen", optional_address),
    };
    section.read("otlp", no_traces);
    section.finish();
    config
}

fn address(node: &Node) -> Result<SocketAddr, String> {
    text(node)?.parse().map_err(|_| "has to be IP:port, e.g. \"127.0.0.1:9464\" or \"[::]:9464\"".to_owned())
}

/// Empty where there is none.
fn token(node: &Node) -> Result<String, String> {
    let token = text(node)?;
    intact(&token).map(|()| token)
}

fn optional_address(node: &Node) -> Result<Option<SocketAddr>, String> {
    if text(node)?.is_empty() { Ok(None) } else { address(node).map(Some) }
}

fn filter(node: &Node) -> Result<String, String> {
    let filter = text(node)?;
    match EnvFilter::try_new(&filter) {
        Ok(_) => Ok(filter),
        Err(error) if !node.indirect => Err(format!("is no filter such as \"info\" or \"postback=debug\": {error}")),
        Err(_) => Err("is no filter such as \"info\" or \"postback=debug\"".to_owned()),
    }
}

fn no_traces(node: &Node) -> Result<(), String> {
    if text(node)?.is_empty() { Ok(()) } else { Err("has to be empty: this version sends no traces".to_owned()) }
}
