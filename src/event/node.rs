//! Lets serde read a JSON value. The members of a struct are read in the order of their declaration, not in the order
//! of the event. So the same one of two wrong members is always named. `null` is the same as absent.

use std::borrow::Cow;
use std::fmt;
use std::vec;

use serde::de::value::{CowStrDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::json::{Node, Object};
use crate::error::Fault;

/// The name of the struct field that takes every member without a field of its own.
pub(super) const REST: &str = "*";

/// The error, and the dotted path of the wrong member; it names the deepest one.
#[derive(Debug)]
pub(super) struct Error(Box<Fault>);

impl Error {
    fn new(detail: impl Into<String>) -> Self {
        Self(Box::new(Fault::whole(detail)))
    }

    /// The path is built only if there is an error.
    fn below(mut self, name: &str) -> Self {
        let path = &self.0.field;
        self.0.field = if path.is_empty() { name.to_owned() } else { format!("{name}.{path}") }.into();
        self
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        *error.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(detail: T) -> Self {
        Self::new(detail.to_string())
    }
}

/// Longer names are not repeated: no programmer writes one.
const LONGEST_NAME: usize = 48;
/// A longer run of digits is not repeated: it is a number of something, not a part of a name.
const MOST_DIGITS: usize = 4;

/// Returns the name, or `?` for a name that must not appear in a header or a log. A name that no programmer would write
/// may be a phone number, a mail address, a person's name or another value in the wrong place.
pub fn safe_name(name: &str) -> &str {
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let fine = name.len() <= LONGEST_NAME
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|b| letter(b) || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
        && !name.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > MOST_DIGITS);
    if fine { name } else { "?" }
}

impl Node<'_> {
    /// The error that this value has the wrong kind.
    fn no(&self, kind: &str) -> Error {
        match self {
            Node::Null => Error::new("missing"),
            _ => Error::new(kind),
        }
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Node::Null => visitor.visit_unit(),
            Node::Bool(flag) => visitor.visit_bool(flag),
            Node::Int(number) => visitor.visit_i64(number),
            Node::Other(number) => number.deserialize_any(visitor).map_err(|error| Error::new(error.to_string())),
            Node::Text(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Node::Text(Cow::Owned(text)) => visitor.visit_string(text),
            Node::List(items) => visitor.visit_seq(Items { rest: items.into_iter(), at: 0, of_objects: false }),
            Node::Object(members) => visitor.visit_map(All { rest: members.into_iter(), at: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Node::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Node::Text(_) => self.deserialize_any(visitor),
            _ => Err(self.no("not a text")),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Node::Int(number) => visitor.visit_i64(number),
            _ => Err(self.no("not a whole number of 64 bits")),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Node::Bool(flag) => visitor.visit_bool(flag),
            _ => Err(self.no("neither true nor false")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self {
            Node::Text(text) if variants.contains(&text.as_ref()) => {
                visitor.visit_enum(StrDeserializer::<Error>::new(text))
            }
            Node::Text(_) => Err(Error::new(format!("neither {}", variants.join(" nor ")))),
            _ => Err(self.no("not a text")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Node::Object(members) => {
                let left = members.len();
                visitor.visit_seq(Fields { members, left, next: 0, rest: fields.iter() })
            }
            _ => Err(self.no("not an object")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Node::Object(_) => self.deserialize_any(visitor),
            _ => Err(self.no("not an object")),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Node::List(items) => visitor.visit_seq(Items { rest: items.into_iter(), at: 0, of_objects: true }),
            _ => Err(self.no("not a list")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes byte_buf unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}

/// The declared members of an object, then the other members if the struct wants them.
struct Fields<'de> {
    members: Object<'de>,
    /// The number of members that nobody has asked for.
    left: usize,
    /// The search for the next member begins here: most events have their members in the documented order.
    next: usize,
    rest: std::slice::Iter<'static, &'static str>,
}

impl<'de> Fields<'de> {
    fn take(&mut self, name: &str) -> Option<Node<'de>> {
        if self.left == 0 {
            return None;
        }
        let is_it = |(member, _): &(Cow<'_, str>, Node<'_>)| member == name;
        let (before, after) = self.members.split_at(self.next);
        let ahead = after.iter().position(is_it).map(|at| self.next + at);
        let at = ahead.or_else(|| before.iter().position(is_it))?;
        self.next = at + 1;
        self.left -= 1;
        self.members.get_mut(at).map(|(_, node)| std::mem::replace(node, Node::Null))
    }
}

impl<'de> SeqAccess<'de> for Fields<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(&name) = self.rest.next() else { return Ok(None) };
        if name == REST {
            self.members.retain(|(_, node)| !matches!(node, Node::Null));
            return seed.deserialize(Node::Object(std::mem::take(&mut self.members))).map(Some);
        }
        let node = self.take(name).unwrap_or(Node::Null);
        seed.deserialize(node).map(Some).map_err(|error| error.below(name))
    }
}

/// Every member of an object, in its order. The names are the producer's text, and a name that may identify a person is
/// not repeated.
struct All<'de> {
    rest: vec::IntoIter<(Cow<'de, str>, Node<'de>)>,
    at: Option<(Cow<'de, str>, Node<'de>)>,
}

impl<'de> MapAccess<'de> for All<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.at = self.rest.next();
        let Some((name, _)) = &self.at else { return Ok(None) };
        seed.deserialize(CowStrDeserializer::<Error>::new(name.clone())).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((name, node)) = self.at.take() else { return Err(Error::new("missing")) };
        seed.deserialize(node).map_err(|error| error.below(safe_name(&name)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The items of a list. Every list that an event declares is a list of objects, and `null` is not an object.
struct Items<'de> {
    rest: vec::IntoIter<Node<'de>>,
    at: usize,
    of_objects: bool,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(node) = self.rest.next() else { return Ok(None) };
        let at = self.at;
        self.at += 1;
        let item = match node {
            Node::Null if self.of_objects => Err(Error::new("not an object")),
            node => seed.deserialize(node),
        };
        item.map(Some).map_err(|error| error.below(&at.to_string()))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}
