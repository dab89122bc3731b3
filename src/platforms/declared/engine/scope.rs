//! What expressions can name.

use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::Object;
use serde_json::Map;

use crate::platforms::declared::answer_json::AnswerJson;
use crate::platforms::declared::json::JsonObject;
use crate::platforms::declared::operand::Operand;

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
    Form,
    Status,
    Headers,
    Text,
    Item,
}

const COUNT: usize = 16;

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
        Self::Form,
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
            Self::Form => "form",
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

/// The keys of an account, as expressions see them.
pub(in crate::platforms::declared) struct AccountKeys {
    settings: Map<String, serde_json::Value>,
    /// The same for minijinja.
    value: Value,
}

impl AccountKeys {
    pub fn new(settings: &Map<String, serde_json::Value>) -> Self {
        // A map of texts, numbers and flags has a form in every format.
        let value = serde_json::from_value(serde_json::Value::Object(settings.clone())).unwrap_or_default();
        Self { settings: settings.clone(), value }
    }

    /// A text or a whole number.
    fn operand(&self, path: &str) -> Option<Operand<'_>> {
        let mut steps = path.split('.');
        let first = self.settings.get(steps.next()?)?;
        match steps.try_fold(first, |value, step| value.get(step))? {
            serde_json::Value::String(text) => Some(text.as_str().into()),
            serde_json::Value::Number(number) => number.as_i64().map(Operand::Int),
            _ => None,
        }
    }
}

/// What a variable stands for.
#[derive(Clone)]
pub(in crate::platforms::declared) enum Content<'a> {
    Text(&'a str),
    Int(i64),
    Event(&'a Arc<JsonObject>),
    Account(&'a AccountKeys),
    /// The body of an answer.
    Answer(&'a AnswerJson<'a>),
    /// Anything else; undefined where nothing was set.
    Value(Value),
}

impl Content<'_> {
    fn value(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(*text),
            Self::Int(number) => Value::from(*number),
            Self::Event(event) => Value::from_dyn_object(Arc::clone(event)),
            Self::Account(account) => account.value.clone(),
            Self::Answer(body) => body.value(),
            Self::Value(value) => value.clone(),
        }
    }
}

/// The variables of one evaluation; what is not set is undefined.
#[derive(Clone)]
pub(in crate::platforms::declared) struct Scope<'a> {
    variables: [Content<'a>; COUNT],
    /// The same for minijinja's machine, once that has to evaluate something.
    machine: OnceCell<Value>,
}

impl<'a> Scope<'a> {
    pub fn new() -> Self {
        Self { variables: std::array::from_fn(|_| Content::Value(Value::UNDEFINED)), machine: OnceCell::new() }
    }

    pub fn set(&mut self, variable: Variable, content: Content<'a>) {
        self.variables[variable as usize] = content;
        self.machine = OnceCell::new();
    }

    pub fn with(mut self, variable: Variable, content: Content<'a>) -> Self {
        self.set(variable, content);
        self
    }

    /// What stands at a dotted path of names; `None`: only minijinja knows.
    pub fn operand(&self, variable: Variable, path: &str) -> Option<Operand<'_>> {
        let content = &self.variables[variable as usize];
        match content {
            Content::Text(text) if path.is_empty() => Some((*text).into()),
            Content::Int(number) if path.is_empty() => Some(Operand::Int(*number)),
            Content::Event(event) if !path.is_empty() => event.operand(path),
            Content::Answer(body) => body.operand(path),
            Content::Account(account) => account.operand(path).or_else(|| at(&account.value, path)),
            content => at(&content.value(), path),
        }
    }

    /// As minijinja takes it.
    pub fn machine(&self) -> Value {
        let whole = || Value::from_object(Machine(std::array::from_fn(|n| self.variables[n].value())));
        self.machine.get_or_init(whole).clone()
    }
}

/// What stands at a dotted path of a value. A member of what is undefined is an error, which only minijinja tells.
fn at(value: &Value, path: &str) -> Option<Operand<'static>> {
    let steps = path.split('.').filter(|step| !step.is_empty());
    let mut found = value.clone();
    for step in steps {
        found = found.get_attr(step).ok()?;
    }
    Some(found.into())
}

/// The variables as minijinja's machine asks for them.
struct Machine([Value; COUNT]);

impl Object for Machine {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        Some(&self.0[Variable::of(key)? as usize]).filter(|value| !value.is_undefined()).cloned()
    }
}

// By hand: it holds secrets.
impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Machine")
    }
}
