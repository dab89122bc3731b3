//! Reads single settings for `#[serde(deserialize_with = …)]`: durations, sizes, numbers and texts within their bounds.
//!
//! The bound stands on the field, e.g. `whole::<_, _, 1, 10_000>`. Durations are bounded in milliseconds.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use chrono::DateTime;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

pub(crate) use super::deserialize::{refuse, refuse_text};
use super::secret::intact;
use crate::secret::SecretString;
use crate::units::{parse_duration, parse_size, show_duration};

pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const HOUR: u64 = 60 * MINUTE;
/// In milliseconds. A claim lives 30 days, so nothing may be remembered or wait longer.
pub(crate) const MONTH: u64 = 30 * 24 * HOUR;

/// A whole number.
pub(crate) fn whole<'de, D, T, const MIN: i64, const MAX: i64>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64, Error: fmt::Display>,
{
    from.deserialize_i64(Whole::<MIN, MAX>).and_then(|n| T::try_from(n).map_err(D::Error::custom))
}

struct Whole<const MIN: i64, const MAX: i64>;

impl<const MIN: i64, const MAX: i64> Visitor<'_> for Whole<MIN, MAX> {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {MIN} to {MAX}")
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<i64, E> {
        if (MIN..=MAX).contains(&n) { Ok(n) } else { Err(E::invalid_value(Unexpected::Signed(n), &self)) }
    }
}

/// A number above 0.
pub(crate) fn rate<'de, D: Deserializer<'de>, const MAX: u32>(from: D) -> Result<f64, D::Error> {
    from.deserialize_f64(Rate::<MAX>)
}

struct Rate<const MAX: u32>;

impl<const MAX: u32> Visitor<'_> for Rate<MAX> {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number above 0, at most {MAX}")
    }

    #[expect(clippy::cast_precision_loss, reason = "rates are far below 2^52")]
    fn visit_i64<E: Error>(self, n: i64) -> Result<f64, E> {
        self.visit_f64(n as f64)
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<f64, E> {
        let fine = n > 0.0 && n <= f64::from(MAX);
        if fine { Ok(n) } else { Err(E::invalid_value(Unexpected::Float(n), &self)) }
    }
}

/// A text of this kind; the error for any other value names the kind.
struct Quoted(&'static str);

impl Visitor<'_> for Quoted {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

/// A duration such as `250ms`.
pub(crate) fn duration<'de, D, const MIN: u64, const MAX: u64>(from: D) -> Result<Duration, D::Error>
where
    D: Deserializer<'de>,
{
    let text = from.deserialize_str(Quoted("a duration in quotes, e.g. \"5s\""))?;
    let duration = parse_duration(&text)
        .ok_or_else(|| refuse_text("is no duration: write a whole number and ms, s, m, h or d, e.g. \"5s\"", &text))?;
    let (min, max) = (Duration::from_millis(MIN), Duration::from_millis(MAX));
    if (min..=max).contains(&duration) {
        return Ok(duration);
    }
    Err(refuse_text(&format!("has to be from {} to {}", show_duration(min), show_duration(max)), &text))
}

/// A size such as `64KiB`.
pub(crate) fn size<'de, D, const MIN: usize, const MAX: usize>(from: D) -> Result<usize, D::Error>
where
    D: Deserializer<'de>,
{
    let text = from.deserialize_str(Quoted("a size in quotes, e.g. \"64MiB\""))?;
    let size = parse_size(&text)
        .ok_or_else(|| refuse_text("is no size: write a whole number and B, KiB, MiB or GiB, e.g. \"64MiB\"", &text))?;
    if (MIN..=MAX).contains(&size) {
        return Ok(size);
    }
    Err(refuse_text(&format!("has to be from {MIN} to {MAX} bytes"), &text))
}

/// A text that is not blank.
pub(crate) fn words<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() { Err(D::Error::custom("is empty")) } else { Ok(text) }
}

/// Texts that are not blank.
pub(crate) fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let all = Vec::<String>::deserialize(from)?;
    if all.iter().any(String::is_empty) { Err(D::Error::custom("holds a member that is empty")) } else { Ok(all) }
}

/// A secret that is not empty.
pub(crate) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    match optional_secret(from)? {
        secret if secret.expose().is_empty() => Err(D::Error::custom("is empty")),
        secret => Ok(secret),
    }
}

/// A secret; empty without one.
pub(crate) fn optional_secret<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    let text = String::deserialize(from)?;
    intact(&text).map_err(D::Error::custom)?;
    Ok(SecretString::new(text))
}

/// A time, as epoch ms. It stands next to secrets, so a value that is not a time is not shown.
pub(crate) fn instant<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let why = "has to be a time with its zone (RFC 3339), e.g. \"2026-10-01T00:00:00+08:00\"";
    let text = from.deserialize_any(Quoted("a time")).map_err(|_| D::Error::custom(why))?;
    DateTime::parse_from_rfc3339(&text).map(|t| t.timestamp_millis()).map_err(|_| D::Error::custom(why))
}

/// The address on which a server listens.
pub(crate) fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| D::Error::custom("has to be IP:port, e.g. \"127.0.0.1:9464\" or \"[::]:9464\""))
}
