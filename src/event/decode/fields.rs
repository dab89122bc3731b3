//! Takes typed members out of an object and names the deepest one at fault.

use std::borrow::Cow;
use std::io;

use crate::error::Fault;
use crate::event::json::{Node, Object};

/// The first millisecond of 2001, UTC. Seconds, microseconds and nanoseconds of the years up to [`LAST_MS`] lie outside.
pub(in crate::event) const FIRST_MS: i64 = 978_307_200_000;
/// The last millisecond of 2100, UTC.
pub(in crate::event) const LAST_MS: i64 = 4_133_980_799_999;

/// An object under reading. The path is put together only where something is wrong.
pub(super) struct Fields<'p, 'a> {
    members: Object<'a>,
    parent: Option<&'p Fields<'p, 'a>>,
    name: Cow<'p, str>,
}

impl<'p, 'a> Fields<'p, 'a> {
    pub(super) fn root(members: Object<'a>) -> Self {
        Self { members, parent: None, name: Cow::Borrowed("") }
    }

    fn take(&mut self, name: &str) -> Node<'a> {
        match self.members.iter_mut().find(|(n, _)| n == name) {
            Some((_, node)) => std::mem::replace(node, Node::Null),
            None => Node::Null,
        }
    }

    /// How many members the object has.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// All members; those taken before are null.
    pub(super) fn drain(&mut self) -> Object<'a> {
        std::mem::take(&mut self.members)
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Fault> {
        match self.take(name) {
            Node::Null => Ok(None),
            Node::Text(text) => Ok(Some(text)),
            _ => Err(fault(self, name, "not a text")),
        }
    }

    pub(super) fn string(&mut self, name: &str) -> Result<Option<String>, Fault> {
        Ok(self.text(name)?.map(Cow::into_owned))
    }

    pub(super) fn int(&mut self, name: &str) -> Result<Option<i64>, Fault> {
        match self.take(name) {
            Node::Null => Ok(None),
            Node::Int(number) => Ok(Some(number)),
            _ => Err(fault(self, name, "not a whole number of 64 bits")),
        }
    }

    /// A moment in epoch milliseconds, which no other unit can be mistaken for.
    pub(super) fn moment(&mut self, name: &str) -> Result<Option<i64>, Fault> {
        let ms = self.int(name)?;
        match ms.and_then(misread) {
            Some(detail) => Err(fault(self, name, detail)),
            None => Ok(ms),
        }
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Fault> {
        match self.take(name) {
            Node::Null => Ok(None),
            Node::Bool(flag) => Ok(Some(flag)),
            _ => Err(fault(self, name, "neither true nor false")),
        }
    }

    pub(super) fn object<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Fields<'_, 'a>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        match self.take(name) {
            Node::Null => Ok(None),
            Node::Object(members) => self.child(name.into(), members, read).map(Some),
            _ => Err(fault(self, name, "not an object")),
        }
    }

    /// A list of objects.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        read: impl Fn(&mut Fields<'_, 'a>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let items = match self.take(name) {
            Node::Null => return Ok(Vec::new()),
            Node::List(items) => items,
            _ => return Err(fault(self, name, "not a list")),
        };
        let each = items.into_iter().enumerate().map(|(i, node)| match node {
            Node::Object(members) => self.child(format!("{name}.{i}").into(), members, &read),
            _ => Err(fault(self, &format!("{name}.{i}"), "not an object")),
        });
        each.collect()
    }

    fn child<T>(
        &self,
        name: Cow<'_, str>,
        members: Object<'a>,
        read: impl FnOnce(&mut Fields<'_, 'a>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        read(&mut Fields { members, parent: Some(self), name })
    }

    fn path(&self, member: &str) -> String {
        let own = if self.name.is_empty() { member.to_owned() } else { format!("{}.{member}", self.name) };
        self.parent.map_or(own.clone(), |parent| parent.path(&own))
    }
}

/// What is wrong with a moment outside of 2001 to 2100: mostly its unit, which would put it into 1970 or far
/// ahead.
fn misread(ms: i64) -> Option<&'static str> {
    let within = |ms: &i64| (FIRST_MS..=LAST_MS).contains(ms);
    if within(&ms) {
        None
    } else if ms.checked_mul(1000).is_some_and(|ms| within(&ms)) {
        Some("looks like seconds: it has to be milliseconds since 1970")
    } else if within(&(ms / 1000)) {
        Some("looks like microseconds: it has to be milliseconds since 1970")
    } else if within(&(ms / 1_000_000)) {
        Some("looks like nanoseconds: it has to be milliseconds since 1970")
    } else {
        Some("not from 2001 to 2100, in milliseconds since 1970")
    }
}

/// A member at fault. Names are the producer's text: one that may tell of a person is not repeated.
pub(super) fn fault(of: &Fields<'_, '_>, member: &str, detail: &'static str) -> Fault {
    Fault::new(of.path(safe_name(member)), detail)
}

/// Longer names are nobody's idea of a name.
const LONGEST_NAME: usize = 48;
/// So many digits in a row are a number of something, not a part of a name.
const MOST_DIGITS: usize = 4;

/// The name, or `?` for one that must not be repeated in a header or a log: what a programmer would not call a member
/// may be a phone number, a mail address, a person's name or another value that took the place of one.
pub(super) fn safe_name(name: &str) -> &str {
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let fine = name.len() <= LONGEST_NAME
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|b| letter(b) || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
        && !name.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > MOST_DIGITS);
    if fine { name } else { "?" }
}

pub(super) fn required<T>(value: Option<T>, of: &Fields<'_, '_>, member: &str) -> Result<T, Fault> {
    value.ok_or_else(|| fault(of, member, "missing"))
}

/// Counts bytes.
pub(super) struct Size(pub(super) usize);

impl io::Write for Size {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
