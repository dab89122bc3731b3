//! Reads moments: RFC 3339, epoch ms, or a span before now.

use chrono::DateTime;
use serde::{Deserialize, Deserializer};

use crate::units::parse_duration;

/// Reads a moment as epoch ms, as the options of commands have it.
pub fn moment(text: &str) -> Result<i64, String> {
    moment_at(text, crate::clock::now_ms())
}

/// Reads a moment as epoch ms.
pub(super) fn moment_at(text: &str, now_ms: i64) -> Result<i64, String> {
    let wrong = || "neither RFC 3339 (2025-01-15T08:00:00Z), nor epoch ms, nor a span such as 90m, 2h or 7d".to_owned();
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| wrong());
    }
    if let Some(span) = parse_duration(text) {
        return Ok(now_ms.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)));
    }
    DateTime::parse_from_rfc3339(text).map(|at| at.timestamp_millis()).map_err(|_| wrong())
}

/// Reads a moment of JSON: a number of ms, or one of the texts.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "neither RFC 3339, nor epoch ms, nor a span such as 90m, 2h or 7d")]
    enum Written {
        Ms(i64),
        Text(String),
    }
    match Option::<Written>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Written::Ms(ms)) => Ok(Some(ms)),
        Some(Written::Text(text)) => moment(&text).map(Some).map_err(serde::de::Error::custom),
    }
}
