//! Compares a received value with the template that makes it. The event is unknown here, so that a template is read
//! backwards where it can be: what stands in the request tells the event's members, and rules are judged by them.

use serde_json::Value;

use super::evaluate::Known;
use super::expression::Expr;
use super::file::Shape;
use super::formats::{decimal, native, same, says_who};
use super::template::Template;
use super::value::Val;

/// A moment of ours may differ from the platform's by so many seconds.
const SKEW_S: i64 = 300;
/// The members that no event is without.
const ALWAYS: [&str; 3] = ["trans_id", "event_type", "event_time_ms"];
/// Filters that leave out what is not there.
const PASSING: [&str; 3] = ["fen", "yuan", "decimal"];

/// What is found while a request is compared.
pub(super) struct Matching<'a> {
    pub(super) known: Known<'a>,
    /// Unix seconds.
    pub(super) now: i64,
    /// Native events are numbers.
    pub(super) numbers: bool,
    /// The access token that the request may carry; `None`: the account has none.
    pub(super) problems: Vec<String>,
    /// A part that says who asks is not the account's.
    pub(super) stranger: bool,
}

impl<'a> Matching<'a> {
    pub(super) fn new(known: Known<'a>, now: i64, numbers: bool) -> Self {
        Self { known, now, numbers, problems: Vec::new(), stranger: false }
    }

    pub(super) fn problem(&mut self, place: &str, problem: impl std::fmt::Display) {
        self.problems.push(format!("{place}: {problem}"));
    }

    /// A text such as a header or a parameter of the query.
    pub(super) fn text(&mut self, place: &str, template: &Template, given: Option<&str>) {
        self.leaf(place, template, given.map(Value::from).as_ref(), true);
    }

    /// A JSON value and all below it. `items` takes what stands for the events of the request.
    pub(super) fn json(&mut self, place: &str, shape: &Shape, given: Option<&Value>, items: &mut Vec<Value>) {
        match shape {
            Shape::Constant(value) => match given {
                Some(given) if given == value => {}
                _ => self.problem(place, format!("is not {value}")),
            },
            Shape::Leaf(Template::Whole(Expr::Name(name))) if name == "items" => {
                match given.and_then(Value::as_array) {
                    Some(list) if !list.is_empty() => items.clone_from(list),
                    _ => self.problem(place, "is no list of events"),
                }
            }
            Shape::Leaf(template) => self.leaf(place, template, given, false),
            Shape::List(shapes) => {
                let list = given.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                if list.len() > shapes.len() {
                    self.problem(place, "has more members than it may");
                }
                for (n, shape) in shapes.iter().enumerate() {
                    self.json(&format!("{place}.{n}"), shape, list.get(n), items);
                }
            }
            Shape::Table(members) => {
                let object = given.and_then(Value::as_object);
                if given.is_some() && object.is_none() {
                    self.problem(place, "is no object");
                }
                for name in object.into_iter().flat_map(|object| object.keys()) {
                    if !members.iter().any(|(known, _)| known == name) {
                        self.problem(&join(place, name), "is unknown");
                    }
                }
                for (name, shape) in members {
                    self.json(&join(place, name), shape, object.and_then(|object| object.get(name)), items);
                }
            }
        }
    }

    fn leaf(&mut self, place: &str, template: &Template, given: Option<&Value>, as_text: bool) {
        match template {
            Template::Whole(expr) => {
                let before = self.problems.len();
                self.expr(place, expr, given, as_text);
                self.stranger |= self.problems.len() > before && says_who(expr);
            }
            Template::Unread(_) => {}
            other => {
                let who = other.exprs().into_iter().any(says_who);
                if let Some(expected) = other.printed(&self.known)
                    && given.and_then(Value::as_str) != Some(&*expected).filter(|text| !text.is_empty())
                {
                    self.problem(place, if who { "is not the account's" } else { "is not as documented" });
                    self.stranger |= who;
                } else if other.printed(&self.known).is_none() && given.is_none() {
                    self.problem(place, "missing");
                }
            }
        }
    }

    fn expr(&mut self, place: &str, expr: &Expr, given: Option<&Value>, as_text: bool) {
        if let Expr::If(value, when, other) = expr {
            return self.choice(place, value, when, other.as_deref(), given, as_text);
        }
        if let Some(expected) = self.known.value(expr) {
            if expected == Val::Undefined && matches!(expr, Expr::Name(_)) && says_who(expr) {
                return self.problem(place, "the account has none");
            }
            return self.compare(place, &expected, given, as_text);
        }
        match expr {
            Expr::Name(name) if name == "native" => match given {
                None => self.problem(place, "missing"),
                Some(given) => match native(given, self.numbers) {
                    Some(native) => self.known.show(expr.clone(), native),
                    None => self.problem(place, "is no event of the platform"),
                },
            },
            Expr::Name(name) => match name.strip_prefix("event.") {
                Some(path) => self.member(place, path, expr, given),
                None => {
                    if given.is_none() {
                        self.problem(place, "missing");
                    }
                }
            },
            Expr::Filter(name, of, rest) => {
                if given.is_none() && (name == "default" || PASSING.contains(&name.as_str())) {
                    return self.note(of, false);
                }
                let Some(given) = given else { return self.problem(place, "missing") };
                if name == "default" {
                    let fallback = rest.first().and_then(|rest| self.known.value(rest));
                    if fallback.is_none_or(|fallback| !same(&fallback, given, as_text)) {
                        self.expr(place, of, Some(given), as_text);
                    }
                    return;
                }
                self.note(of, true);
                self.filtered(place, name, of, expr, given);
            }
            _ => {
                if given.is_none() {
                    self.problem(place, "missing");
                }
                self.note(expr, given.is_some());
            }
        }
    }

    /// `value if when else other`, where the request may tell which one it is.
    fn choice(
        &mut self,
        place: &str,
        value: &Expr,
        when: &Expr,
        other: Option<&Expr>,
        given: Option<&Value>,
        as_text: bool,
    ) {
        match self.known.value(when).map(|when| when.is_true()) {
            Some(true) => self.expr(place, value, given, as_text),
            Some(false) => match other {
                Some(other) => self.expr(place, other, given, as_text),
                None => self.compare(place, &Val::Undefined, given, as_text),
            },
            None => {
                let nothing = Expr::Value(Value::Null);
                let other = other.unwrap_or(&nothing);
                if given.is_none() {
                    self.note(value, false);
                    return self.expr(place, other, None, as_text);
                }
                // The first that fits.
                let (before, known) = (self.problems.len(), self.known.clone());
                self.expr(place, value, given, as_text);
                if self.problems.len() > before {
                    let first: Vec<_> = self.problems.drain(before..).collect();
                    self.known = known;
                    self.expr(place, other, given, as_text);
                    if self.problems.len() > before {
                        self.problems.truncate(before);
                        self.problems.extend(first);
                    }
                }
            }
        }
    }

    /// A member of the event that is sent as it is.
    fn member(&mut self, place: &str, path: &str, expr: &Expr, given: Option<&Value>) {
        self.known.note(path, given.is_some_and(|given| given != ""));
        match given {
            // Every event has these; others may be missing, unless `[require]` says otherwise.
            None if ALWAYS.contains(&path) => self.problem(place, "missing"),
            None => {}
            Some(Value::Null) => self.problem(place, "null"),
            Some(Value::String(text)) if text.is_empty() => self.problem(place, "empty"),
            Some(Value::String(text)) if text.chars().any(char::is_control) => {
                self.problem(place, "control characters")
            }
            Some(given) => self.known.show(expr.clone(), Val::Json(given.clone())),
        }
    }

    /// Whether a value can be what this filter makes.
    fn filtered(&mut self, place: &str, name: &str, of: &Expr, expr: &Expr, given: &Value) {
        let text = Val::Json(given.clone()).printed().unwrap_or_default();
        let number = text.parse::<i64>().ok();
        let hex = |length: usize| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let fits = match name {
            "md5" => hex(32),
            "sha1" | "hmac_sha1" => hex(40),
            "sha256" | "hmac_sha256" => hex(64),
            "fen" => number.is_some_and(|number| number >= 0),
            "yuan" => decimal(&text, Some(2)),
            "decimal" => decimal(&text, None),
            "seconds" if *of == Expr::Name("now_ms".to_owned()) => {
                number.is_some_and(|number| (number - self.now).abs() <= SKEW_S)
            }
            "seconds" => number.is_some_and(|number| (1_000_000_000..100_000_000_000).contains(&number)),
            _ => !text.is_empty(),
        };
        if !fits {
            return self.problem(place, format!("cannot be what `{name}` makes"));
        }
        let value = number.map_or_else(|| Val::Json(given.clone()), |number| Val::Json(number.into()));
        self.known.show(expr.clone(), value);
    }

    fn compare(&mut self, place: &str, expected: &Val, given: Option<&Value>, as_text: bool) {
        match given {
            None if expected.is_absent() => {}
            None => self.problem(place, "missing"),
            Some(given) if same(expected, given, as_text) => {}
            Some(_) if expected.is_absent() => self.problem(place, "must not be there"),
            Some(_) => self.problem(place, "is not the account's or not as documented"),
        }
    }

    /// Notes that the request has, or has not, what this expression makes of a member of the event.
    fn note(&mut self, expr: &Expr, present: bool) {
        let mut names = Vec::new();
        expr.walk(&mut |part| {
            if let Expr::Name(name) = part
                && let Some(path) = name.strip_prefix("event.")
                && !names.contains(&path)
            {
                names.push(path);
            }
        });
        // Of several members it may be made of any.
        if names.len() == 1 || !present {
            names.into_iter().for_each(|name| self.known.note(name, present));
        }
    }
}

fn join(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}
