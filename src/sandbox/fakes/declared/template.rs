//! Templates in the file of a declared platform.

use super::evaluate::Known;
use super::expression::Expr;
use super::parser::parse;

/// A template as the sandbox reads it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Template {
    /// A text without an expression.
    Text(String),
    /// One expression and nothing else: its value keeps its type.
    Whole(Expr),
    /// Texts and expressions.
    Mixed(Vec<Piece>),
    /// It has something that the sandbox cannot read, and is not checked.
    Unread(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Expr(Expr),
}

impl Template {
    pub(super) fn parse(text: &str) -> Template {
        match pieces(text) {
            Err(problem) => Template::Unread(problem),
            Ok(pieces) => match pieces.as_slice() {
                [] => Template::Text(String::new()),
                [Piece::Text(text)] => Template::Text(text.clone()),
                [Piece::Expr(expr)] => Template::Whole(expr.clone()),
                _ => Template::Mixed(pieces),
            },
        }
    }

    /// What it comes to; `None`: the request does not tell.
    pub(super) fn printed(&self, known: &Known<'_>) -> Option<String> {
        match self {
            Template::Text(text) => Some(text.clone()),
            Template::Whole(expr) => known.value(expr)?.printed(),
            Template::Mixed(pieces) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => Some(text.clone()),
                    Piece::Expr(expr) => known.value(expr)?.printed(),
                })
                .collect(),
            Template::Unread(_) => None,
        }
    }

    /// Whether it can have made this path. What an event brings into it is one step, or a part of one.
    pub(super) fn leads_to(&self, known: &Known<'_>, path: &str) -> bool {
        let Template::Mixed(pieces) = self else {
            return self.printed(known).unwrap_or_default().split('?').next() == Some(path);
        };
        let mut rest = path;
        let mut is_open = false;
        for piece in pieces {
            let fixed = match piece {
                Piece::Text(text) => Some(text.clone()),
                Piece::Expr(expr) => known.value(expr).and_then(|value| value.printed()),
            };
            let Some(fixed) = fixed else {
                is_open = true;
                continue;
            };
            let (fixed, has_query) = fixed.split_once('?').map_or((fixed.as_str(), false), |(path, _)| (path, true));
            let at = match is_open {
                false => rest.starts_with(fixed).then_some(0),
                true if fixed.is_empty() => Some(rest.len()).filter(|_| !rest.is_empty() && !rest.contains('/')),
                true => rest.find(fixed).filter(|at| *at > 0 && !rest[..*at].contains('/')),
            };
            let Some(at) = at else { return false };
            (rest, is_open) = (&rest[at + fixed.len()..], false);
            if has_query {
                return rest.is_empty();
            }
        }
        if is_open { !rest.is_empty() && !rest.contains('/') } else { rest.is_empty() }
    }

    /// Its expressions.
    pub(super) fn exprs(&self) -> Vec<&Expr> {
        match self {
            Template::Whole(expr) => vec![expr],
            Template::Mixed(pieces) => pieces
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Expr(expr) => Some(expr),
                    Piece::Text(_) => None,
                })
                .collect(),
            Template::Text(_) | Template::Unread(_) => Vec::new(),
        }
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    if text.contains("{%") || text.contains("{#") {
        return Err("statements are not read".to_owned());
    }
    while let Some(start) = rest.find("{{") {
        if start > 0 {
            pieces.push(Piece::Text(rest[..start].to_owned()));
        }
        let inside = &rest[start + 2..];
        let end = end_of_expression(inside).ok_or("`}}` is missing")?;
        pieces.push(Piece::Expr(parse(&inside[..end])?));
        rest = &inside[end + 2..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

/// Where `}}` stands, outside of quotes and of braces that are open.
fn end_of_expression(text: &str) -> Option<usize> {
    let (mut quote, mut escaped, mut open) = (None, false, 0_usize);
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == '{' => open += 1,
            None if c == '}' && open > 0 => open -= 1,
            None if text.get(at..at + 2) == Some("}}") => return Some(at),
            None => {}
        }
    }
    None
}
