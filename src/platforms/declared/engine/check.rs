//! Compiles the expressions and templates of a file. Whatever is wrong with one is a problem with its key and its place
//! inside the text; nothing waits for the first event.

use std::cell::RefCell;
use std::collections::HashSet;

use minijinja::{Error, ErrorKind};

use super::condition::position;
use super::scan::{Pieces, called, is_conditional, pieces};
use super::template::Piece;
use super::{CONDITIONS, Compiled, Condition, Direct, Expr, Template, Uses, Variable, strict};
use crate::config::problem::{Problem, Report};
use crate::platforms::declared::filters;
use crate::platforms::declared::load::Source;
use crate::similar::nearest;

/// Functions of minijinja that are no variables.
const FUNCTIONS: [&str; 3] = ["range", "dict", "namespace"];

/// Compiles, and reports problems of one file.
pub(in crate::platforms::declared) struct Compiler<'a> {
    pub source: &'a Source,
    pub report: &'a Report,
    /// The keys of its accounts, dotted.
    pub account: Vec<String>,
    /// What the expressions so far have named of an answer.
    pub of_answers: RefCell<Vec<Variable>>,
}

impl Compiler<'_> {
    pub fn problem(&self, key: &str, reason: impl Into<String>) {
        self.report.problem(&self.source.place(key), key, reason);
    }

    /// An expression; empty: `None`.
    pub fn expr(&self, key: &str, text: &str, known: &[Variable]) -> Option<Expr> {
        self.compiled(key, text, 0, known, false)
    }

    /// A condition on an event; empty: `None`.
    pub fn condition(&self, key: &str, text: &str, known: &[Variable]) -> Option<Condition> {
        let expr = self.compiled(key, text, 0, known, true)?;
        let place = Problem { place: self.source.place(key), key: key.to_owned(), reason: String::new() };
        Some(Condition::new(expr, place))
    }

    fn compiled(&self, key: &str, text: &str, offset: usize, known: &[Variable], condition: bool) -> Option<Expr> {
        if text.trim().is_empty() {
            if offset > 0 {
                self.problem(key, format!("{}: nothing stands between the braces", place(offset, text)));
            }
            return None;
        }
        let env = if condition { &CONDITIONS } else { strict() };
        match env.compile_expression_owned(text.to_owned()) {
            Ok(made) => {
                let uses = self.uses(key, text, offset, made.undeclared_variables(true), known);
                // Only an `if` can leave out what it gives otherwise.
                let printed = format!("({text}) ~ ''");
                let is_printed = text.contains("if") && env.compile_expression_owned(printed.clone()).is_ok();
                let printed = is_printed.then(|| Compiled::new(env, &printed));
                Some(Expr { inner: Compiled::new(env, text), printed, direct: Direct::read(text, known), uses })
            }
            Err(error) => {
                self.problem(key, told(&error, text, offset));
                None
            }
        }
    }

    /// A template. One that is wrong is reported, and is empty.
    pub fn template(&self, key: &str, text: &str, known: &[Variable]) -> Template {
        let pieces = match pieces(text) {
            Pieces::Plain(pieces) => pieces,
            Pieces::Open(at) => {
                self.problem(key, format!("{}: the braces are never closed", place(at, &text[at..])));
                return Template::Fixed("".into());
            }
            Pieces::Tags => return self.with_tags(key, text, known),
        };
        if let [(at, true, whole)] = pieces[..] {
            return self
                .compiled(key, whole, at, known, false)
                .map_or(Template::Fixed("".into()), |expr| Template::Whole(Box::new(expr)));
        }
        if pieces.iter().all(|(_, is_expr, _)| !is_expr) {
            return Template::Fixed(text.into());
        }
        let mut uses = Uses::default();
        let compiled = pieces.into_iter().filter_map(|(at, is_expr, text)| {
            if !is_expr {
                return Some(Piece::Text(text.into()));
            }
            let expr = self.compiled(key, text, at, known, false)?;
            uses.add(&expr.uses);
            Some(Piece::Expr(Box::new(expr)))
        });
        let compiled = compiled.collect();
        Template::Mixed(compiled, uses)
    }

    fn with_tags(&self, key: &str, text: &str, known: &[Variable]) -> Template {
        match Template::with_tags(text) {
            Ok((env, names)) => Template::Tags(env, self.uses(key, text, 0, names, known)),
            Err(error) => {
                self.problem(key, told(&error, text, 0));
                Template::Fixed("".into())
            }
        }
    }

    /// What it names, and problems of names that stand for nothing here.
    fn uses(&self, key: &str, text: &str, offset: usize, names: HashSet<String>, known: &[Variable]) -> Uses {
        let mut paths: Vec<String> = names.into_iter().collect();
        let at = |path: &str| text.find(path).unwrap_or(0);
        paths.sort_by(|a, b| at(a).cmp(&at(b)).then(a.cmp(b)));
        for path in &paths {
            let (root, rest) = path.split_once('.').unwrap_or((path, ""));
            let here = || place(offset + at(path), path);
            if FUNCTIONS.contains(&root) {
                continue;
            }
            let names: Vec<_> = known.iter().map(|variable| variable.name()).collect();
            if !names.contains(&root) {
                let hint = match nearest(root, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are {}", names.join(", ")),
                };
                self.problem(key, format!("{}: nothing is called `{root}` here; {hint}", here()));
            } else if root == Variable::Account.name() && !rest.is_empty() && !self.is_key(rest) {
                let keys: Vec<_> = self.account.iter().map(String::as_str).collect();
                let hint = nearest(rest, keys.iter().copied())
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                self.problem(key, format!("{}: `{rest}` is no key of [account.keys]{hint}", here()));
            }
        }
        paths.retain(|path| !FUNCTIONS.contains(&path.as_str()));
        if known.contains(&Variable::Status) {
            let named = known
                .iter()
                .filter(|variable| paths.iter().any(|path| path.split('.').next() == Some(variable.name())));
            self.of_answers.borrow_mut().extend(named);
        }
        Uses { paths, refuses: self.filters(key, text, offset), is_conditional: is_conditional(text) }
    }

    /// Whether an account has this key, a table with it, or a key inside of it.
    pub fn is_key(&self, path: &str) -> bool {
        let below = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'));
        self.account.iter().any(|key| key == path || below(key, path) || below(path, key))
    }

    /// Reports filters and tests that do not exist: minijinja itself would notice them at the first event. Whether one
    /// of the filters refuses some events.
    fn filters(&self, key: &str, text: &str, offset: usize) -> bool {
        let mut refuses = false;
        for (at, is_test, name) in called(text) {
            refuses |= filters::REFUSING.contains(&name);
            let (probe, kind) = match is_test {
                true => (format!("1 is {name}"), ErrorKind::UnknownTest),
                false => (format!("1 | {name}"), ErrorKind::UnknownFilter),
            };
            let result = strict().compile_expression_owned(probe).and_then(|probe| probe.eval(()));
            if result.is_err_and(|error| error.kind() == kind) {
                let what = if is_test { "test" } else { "filter" };
                let hint = nearest(name, filters::NAMES)
                    .filter(|_| !is_test)
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                self.problem(key, format!("{}: there is no {what} `{name}`{hint}", place(offset + at, name)));
            }
        }
        refuses
    }
}

/// Where in a text: the number of the character, and what stands there.
fn place(at: usize, excerpt: &str) -> String {
    let excerpt: String = excerpt.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if excerpt.is_empty() { position(at) } else { format!("{} (`{excerpt}`)", position(at)) }
}

fn told(error: &Error, text: &str, offset: usize) -> String {
    let range = error.range().unwrap_or(0..0);
    let excerpt = text.get(range.clone()).unwrap_or_default();
    let reason = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    format!("{}: {reason}", place(offset + range.start.min(text.len()), excerpt))
}
