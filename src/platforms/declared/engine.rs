//! Expressions and templates of minijinja, compiled once when their file is read.
//!
//! Both are strict: an undefined value is an error. A condition on an event is less strict: it does not hold if it
//! names a value that is not there. If it fails for another reason, e.g. because a value has another type, the event is
//! refused. Nobody knows then whether the rule lets the event pass. A dead letter can be replayed, and a conversion
//! that was sent cannot be taken back.

mod check;
mod compiled;
mod condition;
mod direct;
mod scan;
mod scope;
mod template;

use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, UndefinedBehavior, Value};

use super::operand::{Operand, number};
use super::{filters, write};

pub(super) use check::Compiler;
use compiled::Compiled;
pub(super) use condition::Condition;
use direct::Direct;
pub(super) use scope::{AccountKeys, Content, Scope, Variable};
pub(super) use template::Template;

/// What one evaluation may cost: about as many steps, and 64 bytes of text for each.
const FUEL: u64 = 200_000;

static STRICT: LazyLock<Environment<'static>> = LazyLock::new(|| environment(UndefinedBehavior::Strict));
static CONDITIONS: LazyLock<Environment<'static>> = LazyLock::new(|| environment(UndefinedBehavior::SemiStrict));

/// The environment of everything but conditions on events.
pub(super) fn strict() -> &'static Environment<'static> {
    &STRICT
}

fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(undefined);
    env.set_fuel(Some(FUEL));
    // A body ends as it is written. The other delimiters are minijinja's own.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        env.set_syntax(syntax);
    }
    env.remove_global("debug");
    filters::add(&mut env);
    env
}

/// What an expression names: dotted paths of variables, in the order in which they stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    pub paths: Vec<String>,
    /// It has a filter that refuses some events.
    pub refuses: bool,
    /// It can do without some of what it names: it says `if`, `default` or `or`.
    pub is_conditional: bool,
}

impl Uses {
    /// Whether it names this variable, or a member of it.
    pub fn has(&self, variable: Variable) -> bool {
        self.paths.iter().any(|path| path.split('.').next() == Some(variable.name()))
    }

    pub fn has_any(&self, variables: &[Variable]) -> bool {
        variables.iter().any(|variable| self.has(*variable))
    }

    /// What it names of this variable; an empty path is all of it.
    pub fn of(&self, variable: Variable) -> impl Iterator<Item = &str> {
        let name = variable.name();
        self.paths.iter().filter_map(move |path| {
            let rest = path.strip_prefix(name)?;
            if rest.is_empty() { Some("") } else { rest.strip_prefix('.') }
        })
    }

    pub fn add(&mut self, other: &Uses) {
        for path in &other.paths {
            if !self.paths.contains(path) {
                self.paths.push(path.clone());
            }
        }
        self.refuses |= other.refuses;
        self.is_conditional |= other.is_conditional;
    }
}

/// A compiled expression.
pub(super) struct Expr {
    inner: Compiled,
    /// The same as a text. An `if` without `else` gives nothing, which prints as nothing; any other undefined value is
    /// an error. Only printing tells the two apart.
    printed: Option<Compiled>,
    /// The same without minijinja's machine, if it is simple enough.
    direct: Option<Direct>,
    pub uses: Uses,
}

impl Expr {
    pub fn operand<'s>(&'s self, scope: &'s Scope<'_>) -> Result<Operand<'s>, Error> {
        match self.direct.as_ref().and_then(|direct| direct.operand(scope)) {
            Some(operand) => Ok(operand),
            None => self.inner.eval(scope).map(Operand::Other),
        }
    }

    pub fn value(&self, scope: &Scope<'_>) -> Result<Value, Error> {
        self.operand(scope).map(Operand::into_value)
    }

    /// Appends its value as text.
    pub fn print(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), Error> {
        let value = match self.operand(scope)? {
            Operand::Text(text) => {
                out.push_str(&text);
                return Ok(());
            }
            Operand::Int(whole) => {
                number(whole, out);
                return Ok(());
            }
            Operand::Other(value) => value,
        };
        if value.is_undefined()
            && let Some(printed) = &self.printed
        {
            if self.direct.as_ref().is_some_and(|direct| direct.is_left_out(scope)) {
                return Ok(());
            }
            return printed.eval(scope).map(drop);
        }
        write::text(&value, out)
    }

    /// Whether it holds. One that fails does not.
    pub fn holds(&self, scope: &Scope<'_>) -> bool {
        self.operand(scope).is_ok_and(|value| value.is_true())
    }
}

// By hand: a compiled expression has no text of its own.
impl std::fmt::Debug for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Expr({:?})", self.uses.paths)
    }
}
