//! The JSON of an event as expressions see it: each object is split only when a member of it is asked for. What is written
//! out again is written as it was published.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectRepr};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::whole as whole_number;

/// Objects of an event that count as there, and empty, where the event has none: their members are undefined then, and
/// asking for one is no error.
const SECTIONS: [&str; 9] =
    ["click", "order", "user", "consent", "params", "platform_params", "user.device", "user.wechat", "user.hashed"];

/// Below these an empty text is nothing that could be matched: its digest would be the same for everybody.
const EMPTY_IS_ABSENT: [&str; 3] = ["click", "order", "user"];

/// Whether JSON is a text of nothing but spaces, or of nothing.
fn is_blank(raw: &[u8]) -> bool {
    raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\"")).is_some_and(|text| text.trim_ascii().is_empty())
}

/// An object of the event.
pub(super) struct JsonObject {
    raw: Bytes,
    /// Its dotted path in the event; empty: the event itself.
    path: Cow<'static, str>,
    members: OnceLock<Vec<Member>>,
}

/// A member, and its value once something has asked for it.
struct Member {
    name: MemberName,
    /// Where its value stands.
    raw: Range<usize>,
    value: OnceLock<Option<Value>>,
}

/// A name, which seldom holds escapes.
enum MemberName {
    Plain(Range<usize>),
    Escaped(Box<str>),
}

impl JsonObject {
    /// The event itself, of bytes that are JSON.
    pub fn event(published: Bytes) -> Arc<Self> {
        Arc::new(Self::new(published, Cow::Borrowed("")))
    }

    fn new(raw: Bytes, path: Cow<'static, str>) -> Self {
        Self { raw, path, members: OnceLock::new() }
    }

    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    fn members(&self) -> &[Member] {
        self.members.get_or_init(|| split(&self.raw))
    }

    fn name_of<'m>(&'m self, member: &'m Member) -> &'m [u8] {
        match &member.name {
            MemberName::Plain(at) => &self.raw[at.clone()],
            MemberName::Escaped(name) => name.as_bytes(),
        }
    }

    /// The members that are there. Null is the same as absent, and so is an empty text below [`EMPTY_IS_ABSENT`].
    fn there(&self) -> impl Iterator<Item = &Member> {
        let of = self.path.split('.').next().unwrap_or_default();
        let empty_is_absent = EMPTY_IS_ABSENT.contains(&of);
        let is_there = move |raw: &[u8]| raw != b"null" && !(empty_is_absent && is_blank(raw));
        self.members().iter().filter(move |member| is_there(&self.raw[member.raw.clone()]))
    }

    /// The section of this name below this object.
    fn section(&self, name: &str) -> Option<&'static str> {
        SECTIONS.into_iter().find(|section| match section.strip_suffix(name) {
            Some("") => self.path.is_empty(),
            Some(before) => before.strip_suffix('.') == Some(&*self.path),
            None => false,
        })
    }

    fn below(&self, name: &str) -> Cow<'static, str> {
        match self.section(name) {
            Some(section) => Cow::Borrowed(section),
            None if self.path.is_empty() => Cow::Owned(name.to_owned()),
            None => Cow::Owned(format!("{}.{name}", self.path)),
        }
    }

    pub fn get(&self, name: &str) -> Option<Value> {
        match self.there().find(|member| self.name_of(member) == name.as_bytes()) {
            Some(member) => {
                member.value.get_or_init(|| value(&self.raw, member.raw.clone(), &|| self.below(name))).clone()
            }
            None => {
                let section = self.section(name)?;
                Some(Value::from_object(Self::new(Bytes::from_static(b"{}"), Cow::Borrowed(section))))
            }
        }
    }

    /// What stands at a dotted path.
    pub fn at(self: &Arc<Self>, path: &str) -> Option<Value> {
        let mut steps = path.split('.');
        let mut found = self.get(steps.next()?)?;
        for step in steps {
            found = match (found.downcast_object_ref::<Self>(), step.parse::<usize>()) {
                (Some(object), _) => object.get(step)?,
                (None, Ok(index)) => found.get_item_by_index(index).ok()?,
                (None, Err(_)) => return None,
            };
        }
        Some(found).filter(|found| !found.is_undefined() && !found.is_none())
    }
}

/// A name as it stands in the text, or what its escapes stand for.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        from.deserialize_str(Text)
    }
}

/// The members of an object, in their order. Bytes that are no object have none.
fn split(raw: &[u8]) -> Vec<Member> {
    struct Members<'a>(Vec<(Name<'a>, &'a RawValue)>);
    impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct All;
            impl<'de> Visitor<'de> for All {
                type Value = Vec<(Name<'de>, &'de RawValue)>;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut of: A) -> Result<Self::Value, A::Error> {
                    let mut members = Vec::with_capacity(16);
                    while let Some(member) = of.next_entry()? {
                        members.push(member);
                    }
                    Ok(members)
                }
            }
            from.deserialize_map(All).map(Members)
        }
    }
    let members = serde_json::from_slice::<Members<'_>>(raw).map_or_else(|_| Vec::new(), |members| members.0);
    let part = |(name, value): (Name<'_>, &RawValue)| {
        let name = match name.0 {
            Cow::Borrowed(name) => MemberName::Plain(place(raw, name)),
            Cow::Owned(name) => MemberName::Escaped(name.into()),
        };
        Member { name, raw: place(raw, value.get()), value: OnceLock::new() }
    };
    members.into_iter().map(part).collect()
}

/// Where a part of these bytes stands in them.
fn place(whole: &[u8], part: &str) -> Range<usize> {
    let from = part.as_ptr().addr().saturating_sub(whole.as_ptr().addr());
    from..from + part.len()
}

/// The names and values of an object, in their order.
pub(super) fn pairs(raw: &Bytes) -> Vec<(Bytes, Bytes)> {
    let pair = |member: Member| {
        let name = match member.name {
            MemberName::Plain(at) => raw.slice(at),
            MemberName::Escaped(name) => Bytes::from(name.into_string()),
        };
        (name, raw.slice(member.raw))
    };
    split(raw).into_iter().map(pair).collect()
}

/// The members of a list.
pub(super) fn split_list(raw: &Bytes) -> Vec<Bytes> {
    let members = serde_json::from_slice::<Vec<&RawValue>>(raw).unwrap_or_default();
    members.into_iter().map(|value| raw.slice_ref(value.get().as_bytes())).collect()
}

/// The JSON value that stands at this place; `None`: null.
fn value(whole: &Bytes, at: Range<usize>, path: &dyn Fn() -> Cow<'static, str>) -> Option<Value> {
    let raw = whole.get(at.clone())?;
    let text = std::str::from_utf8(raw).ok()?;
    Some(match raw.first()? {
        b'"' if !text.contains('\\') => Value::from(text.get(1..text.len() - 1)?),
        b'"' => Value::from(serde_json::from_str::<String>(text).ok()?),
        b'{' => Value::from_object(JsonObject::new(whole.slice(at), path())),
        b'[' => {
            let path = path();
            let member = |(n, raw): (usize, Bytes)| {
                value(&raw, 0..raw.len(), &|| format!("{path}.{n}").into()).unwrap_or(Value::from(()))
            };
            Value::from(split_list(&whole.slice(at)).into_iter().enumerate().map(member).collect::<Vec<_>>())
        }
        b't' => Value::from(true),
        b'f' => Value::from(false),
        b'n' => return None,
        _ => match whole_number(text) {
            Some(number) => Value::from(number),
            None => serde_json::from_str(text).ok()?,
        },
    })
}

impl Object for JsonObject {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.get(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let name = |member: &Member| Value::from(String::from_utf8_lossy(self.name_of(member)).as_ref());
        Enumerator::Values(self.there().map(name).collect())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        compact(&self.raw, &mut text);
        f.write_str(&text)
    }
}

// By hand: it holds what the event says of a person.
impl fmt::Debug for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonObject({:?}, {} bytes)", self.path, self.raw.len())
    }
}

/// Appends JSON without the white space between its tokens. All else stays as it is written.
pub(super) fn compact(raw: &[u8], out: &mut String) {
    let text = String::from_utf8_lossy(raw);
    let (mut inside, mut escaped, mut kept) = (false, false, 0);
    for (at, byte) in text.bytes().enumerate() {
        if inside {
            inside = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte == b'"' {
            inside = true;
        } else if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            out.push_str(&text[kept..at]);
            kept = at + 1;
        }
    }
    out.push_str(&text[kept..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &'static str) -> Arc<JsonObject> {
        JsonObject::event(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn members_are_found_at_their_paths_and_null_is_absent() {
        let event = event(
            r#"{"trans_id": "t\u0031", "n": 5.0, "big": 12345678901234567890, "x": {"y": [1, {"z": "é"}]},
                "click": null, "order": {"order_id": null}, "f": 2.5, "yes": true}"#,
        );
        assert_eq!(event.at("trans_id"), Some(Value::from("t1")));
        assert_eq!(event.at("n"), Some(Value::from(5)));
        assert_eq!(event.at("big"), Some(Value::from(12_345_678_901_234_567_890_u64)));
        assert_eq!(event.at("x.y.1.z"), Some(Value::from("é")));
        assert_eq!(event.at("f"), Some(Value::from(2.5)));
        assert_eq!(event.at("yes"), Some(Value::from(true)));
        for absent in ["order.order_id", "nobody", "x.y.7", "x.y.z", "trans_id.x", "click.a.b", "user.hashed.phone_md5"]
        {
            assert_eq!(event.at(absent), None, "{absent}");
        }
        // Sections count as there, so that asking for a member of one is no error.
        assert!(event.at("click").is_some() && event.at("user.device").is_some());
    }

    #[test]
    fn an_empty_text_of_click_order_or_user_is_absent_and_elsewhere_it_is_there() {
        let event = event(
            r#"{"click":{"a":"","b":" "},"order":{"order_id":"","items":[{"name":""}],"amount":{"currency":""}},
                "user":{"email":"","hashed":{"email_sha256":"  "},"tags":[""]},"params":{"x":""},"trans_id":""}"#,
        );
        let absent =
            ["click.a", "click.b", "order.order_id", "order.items.0.name", "order.amount.currency", "user.email"];
        for path in absent.iter().chain(&["user.hashed.email_sha256"]) {
            assert_eq!(event.at(path), None, "{path}");
        }
        for there in ["params.x", "trans_id", "user.tags.0"] {
            assert_eq!(event.at(there), Some(Value::from("")), "{there}");
        }
        let mut out = String::new();
        compact(event.raw(), &mut out);
        assert!(out.contains("\"email\":\"\""), "what was published keeps it: {out}");
    }

    #[test]
    fn compact_json_is_what_was_published_without_white_space() {
        let mut out = String::new();
        compact("{ \"a b\" : [ 1.0 ,\t\"\\\" x \\\\\" ],\r\n \"汉\": -0 }".as_bytes(), &mut out);
        assert_eq!(out, "{\"a b\":[1.0,\"\\\" x \\\\\"],\"汉\":-0}");
    }
}
