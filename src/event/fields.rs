//! Reads single members whose type does not express all rules.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use super::node::safe_name;
use super::placeholder::{is_guid, is_placeholder};

/// The first millisecond of 2001, UTC. Moments up to [`LAST_MS`] that are written in seconds, microseconds or
/// nanoseconds are out of range.
pub(super) const FIRST_MS: i64 = 978_307_200_000;
/// The last millisecond of 2100, UTC.
pub(super) const LAST_MS: i64 = 4_133_980_799_999;
/// The longest text of a click.
pub(super) const MAX_CLICK_BYTES: usize = 4096;
const MAX_TRANS_ID: usize = 128;

/// Reads a value that is empty where it is absent.
pub(super) fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    from.deserialize_option(OrEmpty(PhantomData))
}

/// With an `Option` in between, a large struct would be copied once more.
struct OrEmpty<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for OrEmpty<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_none<E: Error>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        T::deserialize(from)
    }
}

pub(super) fn trans_id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let trans_id = String::deserialize(from)?;
    if !(1..=MAX_TRANS_ID).contains(&trans_id.len()) || !trans_id.bytes().all(|b| matches!(b, 0x21..=0x7e)) {
        return Err(D::Error::custom("not 1 to 128 visible ASCII characters"));
    }
    if is_placeholder(&trans_id) && !is_guid(&trans_id) {
        // If the text were accepted, every event of this producer would count as a repeat of the first.
        return Err(D::Error::custom(
            "a placeholder that was never filled in: the producer has to put a value of its own into each event",
        ));
    }
    Ok(trans_id)
}

/// Reads a moment in epoch milliseconds. A value in any other unit is out of range.
pub(super) fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    from.deserialize_any(Moment)?.ok_or_else(|| D::Error::custom("missing"))
}

pub(super) fn optional_moment<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    from.deserialize_any(Moment)
}

/// A moment, or nothing. The error says what is there instead and never repeats a text.
struct Moment;

impl<'de> Visitor<'de> for Moment {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("milliseconds since 1970")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<i64>, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, ms: i64) -> Result<Option<i64>, E> {
        misread(ms).map_or(Ok(Some(ms)), |why| Err(E::custom(why)))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Option<i64>, E> {
        Err(E::custom(NO_MOMENT))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<i64>, E> {
        // A clock that tells seconds with a fraction, such as `time.time()` of Python. The fraction does not matter.
        let is_seconds = (FIRST_MS as f64..=LAST_MS as f64).contains(&(number * 1000.0));
        Err(E::custom(if is_seconds { SECONDS } else { NO_MOMENT }))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Option<i64>, E> {
        Err(E::custom("a text: it has to be a number, milliseconds since 1970"))
    }
}

const SECONDS: &str = "looks like seconds: it has to be milliseconds since 1970";
const NO_MOMENT: &str = "not a whole number of 64 bits: it has to be milliseconds since 1970";

/// The largest count that a call may state.
pub(super) const MOST: i64 = 1_000_000_000;

pub(super) fn optional_count<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    let count = Option::<i64>::deserialize(from)?;
    if count.is_none_or(|n| (1..=MOST).contains(&n)) {
        return Ok(count);
    }
    Err(D::Error::custom(format!("not from 1 to {MOST}")))
}

/// Says what is wrong with a moment outside 2001 to 2100. Mostly it is in another unit, which would mean 1970 or the
/// far future.
fn misread(ms: i64) -> Option<&'static str> {
    let within = |ms: &i64| (FIRST_MS..=LAST_MS).contains(ms);
    if within(&ms) {
        None
    } else if ms.checked_mul(1000).is_some_and(|ms| within(&ms)) {
        Some(SECONDS)
    } else if within(&(ms / 1000)) {
        Some("looks like microseconds: it has to be milliseconds since 1970")
    } else if within(&(ms / 1_000_000)) {
        Some("looks like nanoseconds: it has to be milliseconds since 1970")
    } else {
        Some("not from 2001 to 2100, in milliseconds since 1970")
    }
}

pub(super) fn currency<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let currency = String::deserialize(from)?;
    if currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(currency);
    }
    Err(D::Error::custom("not three capital letters"))
}

/// One text of a click.
struct ClickText(String);

impl<'de> Deserialize<'de> for ClickText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.len() > MAX_CLICK_BYTES { Err(D::Error::custom("longer than 4096 bytes")) } else { Ok(Self(text)) }
    }
}

/// Reads the texts of a click with their names, in the order of the event.
pub(super) fn click_texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Texts;
    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of texts")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut texts = Vec::with_capacity(members.size_hint().unwrap_or(0));
            while let Some((name, text)) = members.next_entry::<String, Option<ClickText>>()? {
                texts.extend(text.map(|ClickText(text)| (name, text)));
            }
            Ok(texts)
        }
    }
    from.deserialize_map(Texts)
}

/// Reads the names of the members that have a value. A name that may identify a person is not repeated.
pub(super) fn names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut names = Vec::new();
            while let Some((name, value)) = members.next_entry::<String, Value>()? {
                if !value.is_null() && value != "" {
                    names.push(safe_name(&name).to_owned());
                }
            }
            Ok(names)
        }
    }
    from.deserialize_map(Names)
}
