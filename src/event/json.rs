//! A strict JSON reader that borrows from the bytes. It refuses duplicate keys at any depth, nesting beyond a bound,
//! and trailing data. serde_json itself refuses NaN, lone surrogates and numbers that no double can hold.
//!
//! The reader takes numbers by value: `5.0` is 5. serde_json gives a double for such a number, and a double is not
//! exact. If there was one, the numbers are read a second time, from their texts. The feature of serde_json for this
//! would turn every number in the whole program into a text.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::number::{Numbers, whole};

/// The largest depth of arrays and objects. The outermost object has depth 1.
pub const MAX_DEPTH: usize = 64;

/// With fewer members than this it is faster to compare each with each than to sort.
const FEW: usize = 24;

/// The members of an object, in order.
pub(super) type Object<'a> = Vec<(Cow<'a, str>, Node<'a>)>;

/// A JSON value. Its texts stay in the record unless they contain escapes.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    /// A whole number that fits, in any notation. All other numbers have a fraction or are too large to be of use.
    Int(i64),
    Other(Number),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Object<'a>),
}

/// Reads exactly one value.
pub(super) fn read(text: &str) -> Result<Node<'_>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let met_double = Cell::new(false);
    let mut node = Seed { levels_left: MAX_DEPTH, met_double: &met_double }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    if met_double.get() {
        make_exact(&mut node, &mut Numbers::of(text));
    }
    Ok(node)
}

/// Goes through the numbers of a value and of its text side by side, and makes the former exact.
fn make_exact(node: &mut Node<'_>, numbers: &mut Numbers<'_>) {
    match node {
        Node::Int(_) => _ = numbers.next(),
        Node::Other(_) => {
            if let Some(n) = numbers.next().and_then(whole) {
                *node = Node::Int(n);
            }
        }
        Node::List(items) => items.iter_mut().for_each(|item| make_exact(item, numbers)),
        Node::Object(members) => members.iter_mut().for_each(|(_, value)| make_exact(value, numbers)),
        Node::Null | Node::Bool(_) | Node::Text(_) => {}
    }
}

/// Counts the levels that are left. It is checked before each step down, so that hostile nesting uses no stack.
#[derive(Clone, Copy)]
struct Seed<'c> {
    levels_left: usize,
    met_double: &'c Cell<bool>,
}

impl Seed<'_> {
    fn down<E: Error>(self) -> Result<Self, E> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(Self { levels_left, ..self }),
            None => Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(i64::try_from(value).map_or_else(|_| Node::Other(value.into()), Node::Int))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node<'de>, E> {
        self.met_double.set(true);
        Number::from_f64(value).map(Node::Other).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node<'de>, A::Error> {
        let seed = self.down()?;
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(seed)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node<'de>, A::Error> {
        // The outermost object has many members, and the objects inside it have few.
        let expected = if self.levels_left == MAX_DEPTH { 16 } else { 4 };
        let seed = self.down()?;
        let mut members = Object::with_capacity(expected);
        while let Some(Name(name)) = access.next_key()? {
            members.push((name, access.next_value_seed(seed)?));
        }
        // The name is the producer's text and does not go into the message.
        if has_duplicate(&members) { Err(A::Error::custom("duplicate key")) } else { Ok(Node::Object(members)) }
    }
}

fn has_duplicate(members: &Object<'_>) -> bool {
    if members.len() <= FEW {
        // Most names differ in their length or last letter, so most need no comparison with the names before them.
        let mut marks = 0_u64;
        return members.iter().enumerate().any(|(i, (name, _))| {
            let mark = 1 << ((name.len() * 8 + usize::from(name.as_bytes().last().copied().unwrap_or(0))) % 64);
            let may_be = marks & mark != 0;
            marks |= mark;
            may_be && members[..i].iter().any(|(earlier, _)| earlier == name)
        });
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// The name of a member. A plain `Cow` would always be owned.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }
            fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(value)))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(value.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}
