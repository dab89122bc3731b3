//! The JSON of an event as expressions see it: each object is split only when a member of it is asked for. What is
//! written out again is written as it was published.

mod absence;
mod outline;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectRepr};

use super::operand::Operand;
use crate::event::whole as whole_number;
use absence::{is_absent_if_empty, is_blank, section};
use outline::{Document, Member};

pub(super) use text::{compact, pairs, split_list};

/// An object of the event.
pub(super) struct JsonObject {
    document: Arc<Document>,
    /// Where it stands.
    place: Range<usize>,
    /// Which members of the document are its own and those inside them; `None`: all.
    members: Option<Range<usize>>,
    /// Its dotted path in the event; empty: the event itself.
    path: Cow<'static, str>,
}

/// What stands at a dotted path.
enum Found<'s> {
    Member(usize, &'s Member),
    /// A section that the event does not have.
    Section(&'static str),
    /// Nothing.
    Absent,
    /// A part of what is no object: a member of a list, or nothing that could be asked for.
    Beyond,
}

impl JsonObject {
    /// The event itself, of bytes that are JSON.
    pub fn event(published: Bytes) -> Arc<Self> {
        Arc::new(Self::new(published, Cow::Borrowed("")))
    }

    fn new(raw: Bytes, path: Cow<'static, str>) -> Self {
        let place = 0..raw.len();
        Self { document: Arc::new(Document::new(raw)), place, members: None, path }
    }

    pub fn raw(&self) -> &[u8] {
        self.document.raw.get(self.place.clone()).unwrap_or_default()
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// All members of the document.
    fn all(&self) -> &[Member] {
        self.document.members()
    }

    fn within(&self) -> Range<usize> {
        self.members.clone().unwrap_or_else(|| 0..self.all().len())
    }

    /// The bytes of a member's value.
    fn value_of(&self, member: &Member) -> &[u8] {
        self.document.raw.get(member.value.clone()).unwrap_or_default()
    }

    /// Whether a member counts as there. Null is the same as absent, and so is an empty text where that counts as
    /// absent.
    fn is_there(&self, member: &Member, empty_is_absent: bool) -> bool {
        let raw = self.value_of(member);
        raw != b"null" && !(empty_is_absent && is_blank(raw))
    }

    /// The members that are there.
    fn own(&self) -> impl Iterator<Item = &Member> {
        let empty_is_absent = is_absent_if_empty(&self.path);
        let (all, within) = (self.all(), self.within());
        let mut at = within.start;
        let own = std::iter::from_fn(move || {
            let member = all.get(at).filter(|_| at < within.end)?;
            at = member.next;
            Some(member)
        });
        own.filter(move |member| self.is_there(member, empty_is_absent))
    }

    fn below(&self, path: &str) -> Cow<'static, str> {
        match section(&self.path, path) {
            Some(section) => Cow::Borrowed(section),
            None if self.path.is_empty() => Cow::Owned(path.to_owned()),
            None => Cow::Owned(format!("{}.{path}", self.path)),
        }
    }

    fn find(&self, path: &str) -> Found<'_> {
        let (all, mut within, mut rest) = (self.all(), self.within(), path);
        let is_whole = self.path.is_empty();
        let empty_is_absent = is_absent_if_empty(if is_whole { path } else { &self.path });
        loop {
            let (name, below) = match rest.split_once('.') {
                Some((name, below)) => (name, Some(below)),
                None => (rest, None),
            };
            // What stands in the event itself may be empty.
            let may_be_empty = is_whole && rest.len() == path.len();
            let member = self
                .named(all, within.clone(), name)
                .filter(|(_, member)| self.is_there(member, empty_is_absent && !may_be_empty));
            match (member, below) {
                (Some((at, member)), None) => return Found::Member(at, member),
                (Some((at, member)), Some(below)) if self.value_of(member).first() == Some(&b'{') => {
                    (within, rest) = (at + 1..member.next, below);
                }
                (Some(_), Some(_)) => return Found::Beyond,
                (None, _) => {
                    let so_far = &path[..path.len() - below.map_or(0, |below| below.len() + 1)];
                    match (section(&self.path, so_far), below) {
                        (Some(section), None) => return Found::Section(section),
                        (Some(_), Some(below)) => (within, rest) = (0..0, below),
                        (None, None) => return Found::Absent,
                        (None, Some(_)) => return Found::Beyond,
                    }
                }
            }
        }
    }

    fn named<'s>(&'s self, all: &'s [Member], within: Range<usize>, name: &str) -> Option<(usize, &'s Member)> {
        let mut at = within.start;
        while at < within.end {
            let member = all.get(at)?;
            if member.is_named(name, &self.document.raw) {
                return Some((at, member));
            }
            at = member.next;
        }
        None
    }

    /// The value of a member at this position, which has this path below this object.
    fn value(&self, at: usize, member: &Member, path: &str) -> Value {
        match self.value_of(member).first() {
            Some(b'{') => Value::from_object(Self {
                document: self.document.clone(),
                place: member.value.clone(),
                members: Some(at + 1..member.next),
                path: self.below(path),
            }),
            _ => value(&self.document.raw, member.value.clone(), &|| self.below(path)).unwrap_or_default(),
        }
    }

    pub fn get(&self, name: &str) -> Option<Value> {
        // A name with a dot in it is no path.
        if name.contains('.') {
            return self
                .own()
                .find(|member| member.is_named(name, &self.document.raw))
                .and_then(|member| value(&self.document.raw, member.value.clone(), &|| self.below(name)));
        }
        match self.find(name) {
            Found::Member(at, member) => Some(self.value(at, member, name)),
            Found::Section(section) => Some(empty(section)),
            Found::Absent | Found::Beyond => None,
        }
    }

    /// What stands at a dotted path.
    pub fn at(&self, path: &str) -> Option<Value> {
        let found = match self.find(path) {
            Found::Member(at, member) => Some(self.value(at, member, path)),
            Found::Section(section) => Some(empty(section)),
            Found::Absent => None,
            Found::Beyond => self.beyond(path),
        };
        found.filter(|found| !found.is_undefined() && !found.is_none())
    }

    /// The same without a value of its own, where that is a text or a whole number.
    pub fn there(&self, path: &str) -> Option<Operand<'_>> {
        match self.operand(path) {
            Some(operand) => Some(operand).filter(|operand| !operand.is_absent()),
            None => self.at(path).map(Operand::Other),
        }
    }

    /// The same, through lists.
    fn beyond(&self, path: &str) -> Option<Value> {
        let mut steps = path.split('.');
        let mut found = self.get(steps.next()?)?;
        for step in steps {
            found = match (found.downcast_object_ref::<Self>(), step.parse::<usize>()) {
                (Some(object), _) => object.get(step)?,
                (None, Ok(index)) => found.get_item_by_index(index).ok()?,
                (None, Err(_)) => return None,
            };
        }
        Some(found)
    }

    /// What stands at a dotted path of names, for what is evaluated directly: undefined where nothing does. `None`:
    /// only minijinja knows what it is.
    pub fn operand(&self, path: &str) -> Option<Operand<'_>> {
        let (at, member) = match self.find(path) {
            Found::Member(at, member) => (at, member),
            Found::Section(section) => return Some(empty(section).into()),
            Found::Absent => return Some(Operand::UNDEFINED),
            Found::Beyond => return None,
        };
        let text = std::str::from_utf8(self.value_of(member)).ok()?;
        Some(match text.as_bytes().first()? {
            b'"' if member.is_plain_text => text.get(1..text.len() - 1)?.into(),
            b'0'..=b'9' | b'-' => match text.parse().ok().or_else(|| whole_number(text)) {
                Some(number) => Operand::Int(number),
                None => self.value(at, member, path).into(),
            },
            _ => self.value(at, member, path).into(),
        })
    }
}

/// A section that the event does not have.
fn empty(section: &'static str) -> Value {
    Value::from_object(JsonObject::new(Bytes::from_static(b"{}"), Cow::Borrowed(section)))
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
        let name = |member: &Member| match member.escaped_name(&self.document.raw) {
            Some(name) => Value::from(name),
            None => Value::from(String::from_utf8_lossy(member.name(&self.document.raw)).as_ref()),
        };
        Enumerator::Values(self.own().map(name).collect())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        compact(self.raw(), &mut text);
        f.write_str(&text)
    }
}

// By hand: it holds what the event says of a person.
impl fmt::Debug for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonObject({:?}, {} bytes)", self.path, self.raw().len())
    }
}

#[cfg(test)]
mod tests;
