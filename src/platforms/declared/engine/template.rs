//! A text with expressions in it.

use std::collections::HashSet;

use minijinja::{Environment, Error, ErrorKind};

use super::{Expr, Scope, Uses, strict};
use crate::platforms::declared::operand::{Operand, number};
use crate::platforms::declared::write;

/// The name of the only template of an environment; minijinja's own for a template without one.
const NAME: &str = "<string>";

/// A compiled template.
#[derive(Debug)]
pub(in crate::platforms::declared) enum Template {
    /// No expression: the text itself.
    Fixed(Box<str>),
    /// One expression and nothing else: its value keeps its type where that matters.
    Whole(Box<Expr>),
    /// Texts and expressions.
    Mixed(Vec<Piece>, Uses),
    /// With tags: minijinja's own, in an environment that has nothing else.
    Tags(Box<Environment<'static>>, Uses),
}

/// A part of a template without tags.
#[derive(Debug)]
pub(in crate::platforms::declared) enum Piece {
    Text(Box<str>),
    Expr(Box<Expr>),
}

impl Template {
    pub fn uses(&self) -> Uses {
        match self {
            Self::Fixed(_) => Uses::default(),
            Self::Whole(expr) => expr.uses.clone(),
            Self::Mixed(_, uses) | Self::Tags(_, uses) => uses.clone(),
        }
    }

    /// One with tags, and the variables that it names.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn with_tags(text: &str) -> Result<(Box<Environment<'static>>, HashSet<String>), Error> {
        let mut env = Box::new(strict().clone());
        env.add_template_owned(NAME, text.to_owned())?;
        let names = env.get_template(NAME)?.undeclared_variables(true);
        Ok((env, names))
    }

    /// Appends its text.
    ///
    /// # Errors
    /// A value that it names is undefined, or a filter refuses one.
    pub fn render(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), Error> {
        match self {
            Self::Fixed(text) => out.push_str(text),
            Self::Whole(expr) => expr.print(scope, out)?,
            Self::Mixed(pieces, _) => {
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.push_str(text),
                        Piece::Expr(expr) => expr.print(scope, out)?,
                    }
                }
            }
            Self::Tags(env, _) => out.push_str(&env.get_template(NAME)?.render(scope.machine())?),
        }
        Ok(())
    }

    /// Appends it as JSON; `false`: it is one expression whose value is none or undefined, and nothing is appended.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_json(&self, before: &str, scope: &Scope<'_>, out: &mut String) -> Result<bool, Error> {
        if let Self::Whole(expr) = self {
            let value = match expr.operand(scope) {
                Ok(value) if value.is_absent() => return Ok(false),
                Ok(value) => value,
                // Of an undefined value nothing can be asked: such a member is left out like the value itself.
                Err(error) if error.kind() == ErrorKind::UndefinedError => return Ok(false),
                Err(error) => return Err(error),
            };
            out.push_str(before);
            match value {
                Operand::Text(text) => write::quoted(&text, out),
                Operand::Int(whole) => number(whole, out),
                Operand::Other(value) => write::json(&value, false, out)?,
            }
            return Ok(true);
        }
        out.push_str(before);
        match self {
            Self::Fixed(text) => write::quoted(text, out),
            _ => {
                let mut text = String::new();
                self.render(scope, &mut text)?;
                write::quoted(&text, out);
            }
        }
        Ok(true)
    }
}
