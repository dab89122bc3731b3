//! Reads settings with serde. The type that is wanted decides how a text from outside the file is read. Where a text is
//! wanted it stays as it is. Where a number, a switch, a list or a table is wanted, it is read as the TOML value that
//! it spells.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::suggest::unknown;
use super::tree::{Node, Value};

/// The reason why a setting cannot be read.
#[derive(Debug)]
pub(crate) struct Error {
    reason: String,
    /// More of the reason; it is shown only if the value stands openly in the file.
    detail: String,
    /// The wrong member of the table, if it is not the whole table.
    pub member: Option<String>,
    /// The members that the table may have, if `member` is an unknown one.
    pub known: Option<&'static [&'static str]>,
}

impl Error {
    fn new(reason: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { reason: reason.into(), detail: detail.into(), member: None, known: None }
    }

    fn of(member: &str, reason: String) -> Self {
        Self { member: Some(member.to_owned()), ..Self::new(reason, "") }
    }

    fn one_of(words: &[&str], met: Unexpected<'_>) -> Self {
        let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
        Self::new(format!("has to be {}", words.join(" or ")), not(met))
    }

    /// The text of the reason for `node`. It does not repeat a value that came from outside the file.
    pub fn shown(self, node: &Node) -> String {
        if node.holds_indirect() { self.reason } else { self.reason + &self.detail }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self::new(reason.to_string(), "")
    }

    fn invalid_type(met: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("has to be {expected}"), not(met))
    }

    fn invalid_value(met: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match met {
            // The function `refuse` makes such an error.
            Unexpected::Other(detail) => Self::new(expected.to_string(), detail),
            met => Self::invalid_type(met, expected),
        }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::one_of(expected, Unexpected::Str(variant))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self { known: Some(expected), ..Self::of(field, unknown(field, expected)) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::of(field, "is missing".to_owned())
    }
}

/// Formats a value as `, not "soon"`.
fn not(met: Unexpected<'_>) -> String {
    match met {
        Unexpected::Str(text) => format!(", not {text:?}"),
        Unexpected::Signed(n) => format!(", not {n}"),
        Unexpected::Float(n) => format!(", not {n}"),
        Unexpected::Bool(flag) => format!(", not {flag}"),
        Unexpected::Seq => ", not a list".to_owned(),
        Unexpected::Map => ", not a table".to_owned(),
        Unexpected::Other(what) => format!(", not {what}"),
        _ => String::new(),
    }
}

/// Makes the error of a reader that refuses a value: its reason, and a detail that is shown only if the value stands
/// openly in the file.
pub(crate) fn refuse<E: de::Error>(reason: &str, detail: &str) -> E {
    E::invalid_value(Unexpected::Other(detail), &reason)
}

/// Does the same as [`refuse`]; the detail is the refused text.
pub(crate) fn refuse_text<E: de::Error>(reason: &str, text: &str) -> E {
    refuse(reason, &not(Unexpected::Str(text)))
}

impl Node {
    fn unexpected(&self) -> Unexpected<'_> {
        match &self.value {
            Value::Text(text) => Unexpected::Str(text),
            Value::Integer(n) => Unexpected::Signed(*n),
            Value::Float(n) => Unexpected::Float(*n),
            Value::Flag(flag) => Unexpected::Bool(*flag),
            Value::Datetime(_) => Unexpected::Other("a date"),
            Value::List(_) => Unexpected::Seq,
            Value::Table(_) => Unexpected::Map,
            Value::Broken => Unexpected::Unit,
        }
    }

    fn no(&self, expected: &str) -> Error {
        de::Error::invalid_type(self.unexpected(), &expected)
    }

    /// Reads a value that is not a text. A text from outside counts as the value that it spells.
    fn spelled<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Error> {
        match self.read() {
            Some(value) => Node { value, place: self.place.clone(), indirect: true }.deserialize_str(visitor),
            None => self.deserialize_str(visitor),
        }
    }
}

/// Reads numbers of a type whose error names its range.
macro_rules! whole {
    ($($method:ident $type:ident),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.read().as_ref().unwrap_or(&self.value) {
                Value::Integer(n) if $type::try_from(*n).is_ok() => visitor.visit_i64(*n),
                _ => Err(self.no(&format!("a whole number from {} to {}", $type::MIN, $type::MAX))),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for &Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Integer(n) => visitor.visit_i64(*n),
            Value::Float(n) => visitor.visit_f64(*n),
            Value::Flag(flag) => visitor.visit_bool(*flag),
            Value::Datetime(time) => visitor.visit_string(time.to_string()),
            Value::List(list) => visitor.visit_seq(Members(list.iter())),
            Value::Table(table) => visitor.visit_map(Keys { rest: table.iter(), value: None }),
            Value::Broken => Err(de::Error::invalid_type(Unexpected::Unit, &visitor)),
        }
    }

    whole! {
        deserialize_i8 i8, deserialize_i16 i16, deserialize_i32 i32,
        deserialize_u8 u8, deserialize_u16 u16, deserialize_u32 u32, deserialize_u64 u64
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.spelled(visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.spelled(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.spelled(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.read().as_ref().unwrap_or(&self.value) {
            Value::Flag(flag) => visitor.visit_bool(*flag),
            _ => Err(self.no("true or false")),
        }
    }

    /// The reader itself says what it expected.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Datetime(_) | Value::List(_) | Value::Table(_) => {
                Err(de::Error::invalid_type(self.unexpected(), &visitor))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    /// Reads any text. A value that is not a text is not shown, because a secret without quotes may be a number.
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Text(text) => visitor.visit_str(text),
            _ => Err(Error::new("has to be a string in quotes", "")),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let list = self.list().ok_or_else(|| self.no("a list, e.g. [\"a\", \"b\"]"))?;
        visitor.visit_seq(Members(list.iter()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let table = self.table().ok_or_else(|| Error::new(self.no_table(), ""))?;
        visitor.visit_map(Keys { rest: table.iter(), value: None })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let table = self.table().ok_or_else(|| Error::new(self.no_table(), ""))?;
        if let Some(key) = table.keys().find(|key| !fields.contains(&key.as_str())) {
            return Err(de::Error::unknown_field(key, fields));
        }
        visitor.visit_map(Keys { rest: table.iter(), value: None })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.value {
            Value::Text(text) if variants.contains(&text.as_str()) => {
                visitor.visit_enum(IntoDeserializer::<Error>::into_deserializer(text.as_str()))
            }
            _ => Err(Error::one_of(variants, self.unexpected())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { char bytes byte_buf unit unit_struct tuple tuple_struct identifier }
}

/// The members of a list. Broken members are skipped, because they are reported already.
struct Members<'a>(std::slice::Iter<'a, Node>);

impl<'de> SeqAccess<'de> for Members<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let member = self.0.find(|node| !matches!(node.value, Value::Broken));
        member.map(|node| seed.deserialize(node)).transpose()
    }
}

/// The members of a table.
struct Keys<'a> {
    rest: indexmap::map::Iter<'a, String, Node>,
    value: Option<&'a Node>,
}

impl<'de> MapAccess<'de> for Keys<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, node)) = self.rest.next() else { return Ok(None) };
        self.value = Some(node);
        seed.deserialize(StrDeserializer::<Error>::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        match self.value.take() {
            Some(node) => seed.deserialize(node),
            None => Err(de::Error::custom("has no value")),
        }
    }
}
