//! Members of an event whose values are not declared.

use std::fmt;
use std::io;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use super::fields::or_empty;

const MAX_PARAMS: usize = 32;
const MAX_PARAMS_BYTES: usize = 8 * 1024;

/// JSON members in the order of the event. They are few, so that a search from the first to the last is faster than a
/// tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members(pub Vec<(String, Value)>);

impl Members {
    /// The member with this name. `null` counts as absent.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, v)| n == name && !v.is_null()).map(|(_, v)| v)
    }

    /// The names of all members that are present.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, v)| !v.is_null()).map(|(n, _)| n.as_str())
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(All)
    }
}

struct All;

impl<'de> Visitor<'de> for All {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut of: A) -> Result<Members, A::Error> {
        let mut members = Vec::with_capacity(of.size_hint().unwrap_or(0));
        while let Some(member) = of.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// Reads `params`, whose number and size are bounded.
pub(super) fn params<'de, D: Deserializer<'de>>(from: D) -> Result<Members, D::Error> {
    let members: Members = or_empty(from)?;
    if members.0.len() > MAX_PARAMS {
        return Err(D::Error::custom(format!("{} members, more than {MAX_PARAMS}", members.0.len())));
    }
    // The size is that of compact JSON, so that white space in the record does not matter.
    let mut size = Size(2 + members.0.len().saturating_sub(1));
    let counted = members.0.iter().try_for_each(|(name, value)| {
        serde_json::to_writer(&mut size, name)?;
        size.0 += 1;
        serde_json::to_writer(&mut size, value)
    });
    if counted.is_err() || size.0 > MAX_PARAMS_BYTES {
        return Err(D::Error::custom(format!("{} bytes, more than {MAX_PARAMS_BYTES}", size.0)));
    }
    Ok(members)
}

/// Counts the bytes that are written to it.
struct Size(usize);

impl io::Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
