//! The JSON of an answer, read once into parts that borrow from its bytes.

use std::borrow::Cow;
use std::fmt;

use minijinja::Value;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::operand::Operand;

/// A value of an answer.
pub(super) enum AnswerJson<'a> {
    Null,
    Flag(bool),
    Int(i64),
    /// A whole number beyond 64 bits with a sign.
    Large(u64),
    Fraction(f64),
    Text(Cow<'a, str>),
    List(Vec<Self>),
    /// Of two members with one name the last one counts.
    Object(Vec<(Cow<'a, str>, Self)>),
}

impl<'a> AnswerJson<'a> {
    /// Reads a body; `None`: it is no JSON.
    pub fn read(body: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// What stands at a dotted path of names; `None`: a member of what is undefined, which is an error.
    pub fn operand(&self, path: &str) -> Option<Operand<'_>> {
        let mut found = Some(self);
        for step in path.split('.').filter(|step| !step.is_empty()) {
            found = match found? {
                Self::Object(members) => members.iter().rev().find(|(name, _)| name == step).map(|(_, value)| value),
                _ => None,
            };
        }
        Some(match found {
            None => Operand::UNDEFINED,
            Some(Self::Text(text)) => text.as_ref().into(),
            Some(Self::Int(number)) => Operand::Int(*number),
            Some(other) => other.value().into(),
        })
    }

    /// As minijinja has it.
    pub fn value(&self) -> Value {
        match self {
            Self::Null => Value::from(()),
            Self::Flag(flag) => Value::from(*flag),
            Self::Int(number) => Value::from(*number),
            Self::Large(number) => Value::from(*number),
            Self::Fraction(number) => Value::from(*number),
            Self::Text(text) => Value::from(text.as_ref()),
            Self::List(list) => Value::from(list.iter().map(Self::value).collect::<Vec<_>>()),
            Self::Object(members) => {
                Value::from_pairs(members.iter().map(|(name, value)| (name.as_ref(), value.value())))
            }
        }
    }
}

// By hand: an answer may hold what a platform says of a person.
impl fmt::Debug for AnswerJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerJson")
    }
}

/// A text that stays in the bytes, unless it has escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match from.deserialize_str(One)? {
            AnswerJson::Text(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("no text")),
        }
    }
}

impl<'de> Deserialize<'de> for AnswerJson<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(One)
    }
}

struct One;

impl<'de> Visitor<'de> for One {
    type Value = AnswerJson<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<AnswerJson<'de>, E> {
        Ok(AnswerJson::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<AnswerJson<'de>, E> {
        Ok(AnswerJson::Flag(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<AnswerJson<'de>, E> {
        Ok(AnswerJson::Int(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<AnswerJson<'de>, E> {
        Ok(i64::try_from(number).map_or(AnswerJson::Large(number), AnswerJson::Int))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<AnswerJson<'de>, E> {
        Ok(AnswerJson::Fraction(number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<AnswerJson<'de>, E> {
        Ok(AnswerJson::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<AnswerJson<'de>, E> {
        Ok(AnswerJson::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut of: A) -> Result<AnswerJson<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = of.next_element()? {
            list.push(value);
        }
        Ok(AnswerJson::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut of: A) -> Result<AnswerJson<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((Text(name), value)) = of.next_entry()? {
            members.push((name, value));
        }
        Ok(AnswerJson::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// It is read where minijinja reads it, and is the same then.
    fn agrees(text: &[u8]) {
        let by_minijinja: Option<Value> = serde_json::from_slice(text).ok();
        let read = AnswerJson::read(text).map(|read| read.value());
        let shown = |value: &Option<Value>| value.as_ref().map(|value| serde_json::to_string(value).unwrap());
        assert_eq!(shown(&read), shown(&by_minijinja));
        let kind = |value: &Option<Value>| value.as_ref().map(Value::kind);
        assert_eq!((kind(&read), &read), (kind(&by_minijinja), &by_minijinja));
    }

    #[test]
    fn an_answer_is_what_minijinja_reads() {
        for text in [
            r#"{"errno":0,"error":"Success"}"#,
            r#" {"a":{"b":[1,-2,3.0,1e3,"x\n",null,true]},"a":{"c":18446744073709551615},"汉":"\u6c49"} "#,
            r#"{"a":1,"b":2,"a":3}"#,
            "[]",
            "7",
            "\"x\"",
            "null",
            "",
            "{",
            "{\"a\":1}x",
            "1e999",
            "\"\\ud800\"",
            "\u{feff}{}",
        ] {
            agrees(text.as_bytes());
        }
        agrees(format!("{}1{}", "[".repeat(126), "]".repeat(126)).as_bytes());
        agrees(format!("{}1{}", "[".repeat(200), "]".repeat(200)).as_bytes());
        agrees(b"\"\xff\"");
    }

    #[test]
    fn members_are_found_at_their_paths() {
        let body = AnswerJson::read(br#"{"errno":0,"data":{"id":"x\u0031","list":[1]},"errno":5,"n":null}"#).unwrap();
        let at = |path: &str| body.operand(path).map(Operand::into_value);
        assert_eq!(at("errno"), Some(Value::from(5)));
        assert_eq!(at("data.id"), Some(Value::from("x1")));
        assert_eq!(at("n"), Some(Value::from(())));
        assert_eq!(at(""), Some(body.value()));
        assert!(at("nobody").unwrap().is_undefined() && at("errno.x").unwrap().is_undefined());
        assert_eq!(at("nobody.x"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_what_minijinja_reads(bytes: Vec<u8>, text in "[\\[\\]{}\":,aé\\\\ 0-9.eE+-]{0,16}") {
            agrees(&bytes);
            agrees(text.as_bytes());
        }
    }
}
