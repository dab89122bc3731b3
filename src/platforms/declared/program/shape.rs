//! A JSON value of a file, as the steps that write it.

use minijinja::Error;

use crate::platforms::declared::definition::Shape;
use crate::platforms::declared::engine::{Compiler, Scope, Template, Uses, Variable};
use crate::platforms::declared::program::slot::Slot;
use crate::platforms::declared::write::quoted;

/// One step.
#[derive(Debug)]
pub(in crate::platforms::declared) enum Op {
    /// Written as it is.
    Raw(Box<str>),
    /// What goes before a value (a comma, the name of the member), and the value. Without a value, neither is written.
    Member(Box<str>, Slot),
    /// The beginning of an object that is left out where all of its members are.
    Open(Box<str>),
    /// Its end.
    Close,
}

impl Op {
    pub fn uses(&self) -> Option<Uses> {
        match self {
            Self::Member(_, slot) => Some(slot.template.uses()),
            Self::Raw(_) | Self::Open(_) | Self::Close => None,
        }
    }

    /// Whether it may write nothing.
    fn is_optional(&self) -> bool {
        match self {
            Self::Member(_, slot) => matches!(slot.template, Template::Whole(_)),
            Self::Open(_) | Self::Close => true,
            Self::Raw(_) => false,
        }
    }
}

/// A JSON text while it is written.
#[derive(Default)]
pub(in crate::platforms::declared) struct JsonText {
    text: String,
    /// Where each open object that may be left out begins, and where its members do.
    open: Vec<(usize, usize)>,
}

impl JsonText {
    pub fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), open: Vec::new() }
    }

    /// Appends a part. The comma of the first member that is there is left out.
    pub fn push(&mut self, part: &str) {
        let part = self.next(part);
        self.text.push_str(part);
    }

    /// A part as it follows what is written: without its comma where it is the first.
    fn next<'p>(&self, part: &'p str) -> &'p str {
        let is_first = matches!(self.text.as_bytes().last(), Some(b'{' | b'['));
        if is_first { part.strip_prefix(',').unwrap_or(part) } else { part }
    }

    /// Appends a value, with what goes before it. Without a value, neither is written.
    ///
    /// # Errors
    /// Those of its template.
    pub fn member(&mut self, before: &str, template: &Template, scope: &Scope<'_>) -> Result<(), Error> {
        let before = self.next(before);
        template.render_json(before, scope, &mut self.text).map(drop)
    }

    pub fn open(&mut self, before: &str) {
        let from = self.text.len();
        self.push(before);
        self.text.push('{');
        self.open.push((from, self.text.len()));
    }

    pub fn close(&mut self) {
        match self.open.pop() {
            Some((from, members)) if members == self.text.len() => self.text.truncate(from),
            _ => self.text.push('}'),
        }
    }

    pub fn finish(self) -> String {
        self.text
    }
}

impl Compiler<'_> {
    /// Adds the steps that write a value.
    pub(super) fn shape(&self, key: &str, shape: &Shape, known: &[Variable], ops: &mut Vec<Op>) {
        match shape {
            // The whole is never left out.
            Shape::Table(members) => {
                raw("{", ops);
                self.members(key, members, known, ops);
                raw("}", ops);
            }
            shape => self.value(key, shape, "", known, ops),
        }
    }

    fn members(&self, key: &str, members: &[(String, Shape)], known: &[Variable], ops: &mut Vec<Op>) {
        for (name, member) in members {
            let mut before = ",".to_owned();
            quoted(name, &mut before);
            before.push(':');
            self.value(&format!("{key}.{name}"), member, &before, known, ops);
        }
    }

    fn value(&self, key: &str, shape: &Shape, before: &str, known: &[Variable], ops: &mut Vec<Op>) {
        match shape {
            Shape::Text(text) => match self.template(key, text, known) {
                Template::Fixed(text) => {
                    let mut value = before.to_owned();
                    quoted(&text, &mut value);
                    raw(&value, ops);
                }
                template => ops.push(Op::Member(before.into(), Slot::new(template))),
            },
            Shape::Integer(number) => raw(&format!("{before}{number}"), ops),
            Shape::Float(number) => raw(&format!("{before}{number}"), ops),
            Shape::Flag(flag) => raw(&format!("{before}{flag}"), ops),
            Shape::List(list) => {
                raw(&format!("{before}["), ops);
                for (at, member) in list.iter().enumerate() {
                    self.value(&format!("{key}.{at}"), member, ",", known, ops);
                }
                raw("]", ops);
            }
            Shape::Table(members) => {
                let mut inside = Vec::new();
                self.members(key, members, known, &mut inside);
                if !inside.is_empty() && inside.iter().all(Op::is_optional) {
                    ops.push(Op::Open(before.into()));
                    ops.append(&mut inside);
                    ops.push(Op::Close);
                    return;
                }
                raw(&format!("{before}{{"), ops);
                for op in inside {
                    match op {
                        Op::Raw(text) => raw(&text, ops),
                        op => ops.push(op),
                    }
                }
                raw("}", ops);
            }
        }
    }
}

/// Adds a constant part to the one before it, if there is one.
fn raw(text: &str, ops: &mut Vec<Op>) {
    if let Some(Op::Raw(last)) = ops.last_mut() {
        let mut whole = JsonText { text: std::mem::take(last).into(), open: Vec::new() };
        whole.push(text);
        *last = whole.finish().into();
    } else {
        ops.push(Op::Raw(text.into()));
    }
}
