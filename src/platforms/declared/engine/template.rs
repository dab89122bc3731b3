//! A text with expressions in it.

use minijinja::{Error, ErrorKind, Template as Compiled, Value};

use super::{Expr, Uses};
use crate::platforms::declared::write;

/// A compiled template.
#[derive(Debug)]
pub(in crate::platforms::declared) enum Template {
    /// No expression: the text itself.
    Fixed(Box<str>),
    /// One expression and nothing else: its value keeps its type where that matters.
    Whole(Box<Expr>),
    /// Texts and expressions.
    Mixed(Vec<Piece>, Uses),
    /// With tags: minijinja's own.
    Tags(Compiled<'static, 'static>, Uses),
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

    /// Appends its text.
    ///
    /// # Errors
    /// A value that it names is undefined, or a filter refuses one.
    pub fn render(&self, scope: &Value, out: &mut String) -> Result<(), Error> {
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
            Self::Tags(template, _) => out.push_str(&template.render(scope.clone())?),
        }
        Ok(())
    }

    /// Appends it as JSON; `false`: it is one expression whose value is none or undefined, and nothing is appended.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_json(&self, before: &str, scope: &Value, out: &mut String) -> Result<bool, Error> {
        if let Self::Whole(expr) = self {
            let value = match expr.value(scope) {
                Ok(value) if value.is_undefined() || value.is_none() => return Ok(false),
                Ok(value) => value,
                // Of an undefined value nothing can be asked: such a member is left out like the value itself.
                Err(error) if error.kind() == ErrorKind::UndefinedError => return Ok(false),
                Err(error) => return Err(error),
            };
            out.push_str(before);
            write::json(&value, false, out)?;
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
