//! The values in the file of a declared platform whose type TOML leaves open.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A table whose order matters.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordered<T>(pub Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Ordered<T> {
    pub fn get(&self, key: &str) -> Option<&T> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(All(PhantomData))
    }
}

struct All<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for All<T> {
    type Value = Ordered<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut of: A) -> Result<Ordered<T>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = of.next_entry()? {
            members.push(member);
        }
        Ok(Ordered(members))
    }
}

/// A text, a number or a flag: a native event, a value of an account's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Native {
    Text(String),
    Integer(i64),
    /// A number with decimals, as it is written.
    Decimal(String),
    Flag(bool),
}

impl fmt::Display for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Decimal(text) => f.write_str(text),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

impl<'de> Deserialize<'de> for Native {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct One;
        impl Visitor<'_> for One {
            type Value = Native;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true or false")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Native, E> {
                Ok(Native::Text(text.to_owned()))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Native, E> {
                Ok(Native::Integer(number))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Native, E> {
                if number.is_finite() {
                    Ok(Native::Decimal(number.to_string()))
                } else {
                    Err(E::custom("is a number that JSON has not"))
                }
            }
            fn visit_bool<E: Error>(self, flag: bool) -> Result<Native, E> {
                Ok(Native::Flag(flag))
            }
        }
        from.deserialize_any(One)
    }
}

/// The text of a template. A number or a flag that is written without quotes is its own text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(pub String);

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Native::deserialize(from).map(|native| Self(native.to_string()))
    }
}

/// A JSON value as TOML writes it; its texts are templates. Its members keep their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Text(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    List(Vec<Shape>),
    Table(Vec<(String, Shape)>),
}

impl Shape {
    /// As a JSON value.
    pub fn json(&self) -> Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Integer(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Flag(flag) => (*flag).into(),
            Self::List(list) => list.iter().map(Self::json).collect(),
            Self::Table(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.clone(), value.json())).collect())
            }
        }
    }

    /// Appends it as JSON, with its members in the order of the file.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::List(list) => {
                out.push('[');
                for (at, member) in list.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    member.write(out);
                }
                out.push(']');
            }
            Self::Table(members) => {
                out.push('{');
                for (at, (name, member)) in members.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    out.push_str(&Value::from(name.as_str()).to_string());
                    out.push(':');
                    member.write(out);
                }
                out.push('}');
            }
            leaf => out.push_str(&leaf.json().to_string()),
        }
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyShape)
    }
}

struct AnyShape;

impl<'de> Visitor<'de> for AnyShape {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Shape, E> {
        Ok(Shape::Text(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Shape, E> {
        Ok(Shape::Integer(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Shape, E> {
        if number.is_finite() { Ok(Shape::Float(number)) } else { Err(E::custom("is a number that JSON has not")) }
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Shape, E> {
        Ok(Shape::Flag(flag))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut of: A) -> Result<Shape, A::Error> {
        let mut list = Vec::new();
        while let Some(member) = of.next_element()? {
            list.push(member);
        }
        Ok(Shape::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut of: A) -> Result<Shape, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = of.next_entry()? {
            members.push(member);
        }
        Ok(Shape::Table(members))
    }
}
