//! The header `Retry-After`: seconds, with or without a fraction, or an HTTP date.

use std::time::{Duration, SystemTime};

/// The longest wait that is obeyed, so that no platform stops a lane for longer.
pub const CAP: Duration = Duration::from_secs(15 * 60);

/// How long to wait from `now_ms`, which is the time by the clock of the server that wrote the text. `None`: the text
/// has neither form. A date in the past means no wait.
pub fn parse(text: &str, now_ms: i64) -> Option<Duration> {
    let text = text.trim_matches([' ', '\t']);
    if let Some(wait) = seconds(text) {
        return Some(wait.min(CAP));
    }
    let wait = date_ms(text)?.saturating_sub(now_ms.max(0));
    Some(Duration::from_millis(u64::try_from(wait).unwrap_or(0)).min(CAP))
}

/// Reads an HTTP date, as epoch ms.
pub fn date_ms(text: &str) -> Option<i64> {
    let date = httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(date.as_millis()).ok()
}

/// Reads decimal seconds. A fraction is rounded up, so that a wait of 1.5 s never ends after 1 s.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let more = u64::from(fraction.bytes().any(|b| b != b'0'));
    // More digits than the number type holds mean more seconds than the cap.
    let whole = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(CAP.as_secs()) };
    Some(Duration::from_secs(whole.saturating_add(more)))
}

#[cfg(test)]
mod tests;
