//! Members of an event whose values nobody declares.

use std::fmt;
use std::io;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use super::fields::or_empty;

const MAX_PARAMS: usize = 32;
const MAX_PARAMS_BYTES: usize = 8 * 1024;

/// JSON members in the order of the event. Few enough that looking through them beats a tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members(pub Vec<(String, Value)>);

impl Members {
    /// The member of that name; `null` is the same as absent.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, v)| n == name && !v.is_null()).map(|(_, v)| v)
    }

    /// The names of all members that are there.
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

/// `params`, which are bounded.
pub(super) fn params<'de, D: Deserializer<'de>>(from: D) -> Result<Members, D::Error> {
    let members: Members = or_empty(from)?;
    if members.0.len() > MAX_PARAMS {
        return Err(D::Error::custom(format!("{} members, more than {MAX_PARAMS}", members.0.len())));
    }
    // Measured as compact JSON, so that white space in the record decides nothing.
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

/// Counts bytes.
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
