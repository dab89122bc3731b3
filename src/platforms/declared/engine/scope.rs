//! What expressions can name.

use std::fmt;
use std::sync::Arc;

use minijinja::value::Object;
use minijinja::{Error, Value};

/// A variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::platforms::declared) enum Variable {
    Event,
    Published,
    Account,
    Native,
    NowMs,
    Token,
    Items,
    Method,
    Url,
    Query,
    Body,
    Status,
    Headers,
    Text,
    Item,
}

const COUNT: usize = 15;

impl Variable {
    pub const ALL: [Variable; COUNT] = [
        Self::Event,
        Self::Published,
        Self::Account,
        Self::Native,
        Self::NowMs,
        Self::Token,
        Self::Items,
        Self::Method,
        Self::Url,
        Self::Query,
        Self::Body,
        Self::Status,
        Self::Headers,
        Self::Text,
        Self::Item,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Published => "published",
            Self::Account => "account",
            Self::Native => "native",
            Self::NowMs => "now_ms",
            Self::Token => "token",
            Self::Items => "items",
            Self::Method => "method",
            Self::Url => "url",
            Self::Query => "query",
            Self::Body => "body",
            Self::Status => "status",
            Self::Headers => "headers",
            Self::Text => "text",
            Self::Item => "item",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variable| variable.name() == name)
    }
}

/// The variables of one evaluation; what is not set is undefined.
#[derive(Clone)]
pub(in crate::platforms::declared) struct Scope([Value; COUNT]);

impl Scope {
    pub fn new() -> Self {
        Self(std::array::from_fn(|_| Value::UNDEFINED))
    }

    pub fn with(mut self, variable: Variable, value: impl Into<Value>) -> Self {
        self.0[variable as usize] = value.into();
        self
    }

    /// What stands at a dotted path; a member of what is undefined is an error, as minijinja has it.
    pub fn at(&self, variable: Variable, steps: &[Box<str>]) -> Result<Value, Error> {
        let mut found = self.0[variable as usize].clone();
        for step in steps {
            found = found.get_attr(step)?;
        }
        Ok(found)
    }

    /// As minijinja takes it.
    pub fn value(self) -> Value {
        Value::from_object(self)
    }
}

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        Some(&self.0[Variable::of(key)? as usize]).filter(|value| !value.is_undefined()).cloned()
    }
}

// By hand: it holds secrets.
impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scope")
    }
}
