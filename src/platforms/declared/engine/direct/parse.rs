//! Reads the expressions that can be evaluated directly. The precedence is that of minijinja, from the strongest:
//! filters and `is`, then `~`, comparisons, `not`, `and`, `or`, `if`.

use super::tokens::{Token, tokens};
use crate::platforms::declared::engine::Variable;
use crate::platforms::declared::filters::{self, Filter, FilterBy};

/// An expression.
pub(in crate::platforms::declared::engine) enum Direct {
    /// A variable, and the dotted path below it.
    Path(Variable, Box<str>),
    Text(Box<str>),
    Int(i64),
    None,
    Flag(bool),
    Filter(Box<Direct>, Filter),
    FilterBy(Box<Direct>, Box<Direct>, FilterBy),
    Concat(Box<[Direct]>),
    /// A text, and what replaces one of its parts by another one.
    Replace(Box<[Direct; 3]>),
    /// A value, and what stands for it where it is undefined.
    Default(Box<Direct>, Box<Direct>),
    /// `true`: equal.
    Compare(Box<Direct>, Box<Direct>, bool),
    /// Of two whole numbers.
    Order(Box<Direct>, Box<Direct>, Order),
    /// A text or a number in a list of such.
    In(Box<Direct>, Box<[Direct]>),
    /// A text in another one.
    Within(Box<Direct>, Box<Direct>),
    /// `true`: a text begins with another one; `false`: it ends with it.
    Edge(Box<Direct>, Box<Direct>, bool),
    /// `false`: not defined.
    Defined(Box<Direct>, bool),
    Not(Box<Direct>),
    All(Box<[Direct]>),
    Any(Box<[Direct]>),
    If {
        then: Box<Direct>,
        when: Box<Direct>,
        otherwise: Option<Box<Direct>>,
    },
}

/// How two whole numbers are compared.
#[derive(Clone, Copy)]
pub(in crate::platforms::declared::engine) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn of(sign: &str) -> Option<Self> {
        Some(match sign {
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    pub fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// `None`: it holds what only minijinja's machine knows.
pub(super) fn read(text: &str, known: &[Variable]) -> Option<Direct> {
    let mut reader = Reader { tokens: tokens(text)?, at: 0, known, depth: 0 };
    let whole = reader.conditional()?;
    (reader.at == reader.tokens.len()).then_some(whole)
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    known: &'a [Variable],
    /// Of parentheses that are open.
    depth: u32,
}

impl<'a> Reader<'a> {
    fn next(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    fn takes(&mut self, token: Token<'_>) -> bool {
        let is_it = self.next() == Some(token);
        self.at += usize::from(is_it);
        is_it
    }

    fn conditional(&mut self) -> Option<Direct> {
        let then = self.any()?;
        if !self.takes(Token::Name("if")) {
            return Some(then);
        }
        let when = self.any()?.into();
        let otherwise = if self.takes(Token::Name("else")) { Some(self.conditional()?.into()) } else { None };
        // A second `if` behind the first one is seldom meant.
        (self.next() != Some(Token::Name("if"))).then_some(Direct::If { then: then.into(), when, otherwise })
    }

    fn any(&mut self) -> Option<Direct> {
        self.joined(Token::Name("or"), Self::all, Direct::Any)
    }

    fn all(&mut self) -> Option<Direct> {
        self.joined(Token::Name("and"), Self::negation, Direct::All)
    }

    fn concat(&mut self) -> Option<Direct> {
        self.joined(Token::Sign("~"), Self::filtered, Direct::Concat)
    }

    fn joined(
        &mut self,
        by: Token<'_>,
        part: fn(&mut Self) -> Option<Direct>,
        whole: fn(Box<[Direct]>) -> Direct,
    ) -> Option<Direct> {
        let first = part(self)?;
        if self.next() != Some(by) {
            return Some(first);
        }
        let mut parts = vec![first];
        while self.takes(by) {
            parts.push(part(self)?);
        }
        Some(whole(parts.into()))
    }

    fn negation(&mut self) -> Option<Direct> {
        if !self.takes(Token::Name("not")) {
            return self.comparison();
        }
        self.deeper(Self::negation).map(|of| Direct::Not(of.into()))
    }

    /// Reads what is one level further inside.
    fn deeper(&mut self, inside: fn(&mut Self) -> Option<Direct>) -> Option<Direct> {
        self.depth += 1;
        if self.depth > 16 {
            return None;
        }
        let inside = inside(self)?;
        self.depth -= 1;
        Some(inside)
    }

    fn comparison(&mut self) -> Option<Direct> {
        let left = self.concat()?;
        let compared = if self.takes(Token::Sign("==")) {
            Direct::Compare(left.into(), self.concat()?.into(), true)
        } else if self.takes(Token::Sign("!=")) {
            Direct::Compare(left.into(), self.concat()?.into(), false)
        } else if let Some(Token::Sign(sign)) = self.next()
            && let Some(order) = Order::of(sign)
        {
            self.at += 1;
            Direct::Order(left.into(), self.concat()?.into(), order)
        } else if self.takes(Token::Name("in")) {
            self.within(left)?
        } else if self.takes(Token::Name("not")) {
            if !self.takes(Token::Name("in")) {
                return None;
            }
            Direct::Not(self.within(left)?.into())
        } else {
            return Some(left);
        };
        // Of several comparisons in a row the machine knows what they mean.
        let goes_on = matches!(self.next(), Some(Token::Sign("==" | "!=" | "<" | "<=" | ">" | ">=")))
            || matches!(self.next(), Some(Token::Name("in" | "not" | "is")));
        (!goes_on).then_some(compared)
    }

    fn within(&mut self, of: Direct) -> Option<Direct> {
        if self.next() == Some(Token::Sign("[")) {
            return Some(Direct::In(of.into(), self.list()?));
        }
        Some(Direct::Within(of.into(), self.concat()?.into()))
    }

    fn list(&mut self) -> Option<Box<[Direct]>> {
        if !self.takes(Token::Sign("[")) {
            return None;
        }
        let mut values = Vec::new();
        loop {
            match self.next()? {
                Token::Text(text) => values.push(Direct::Text(text.into())),
                Token::Number(number) => values.push(Direct::Int(number)),
                Token::Name(_) | Token::Sign(_) => return None,
            }
            self.at += 1;
            if self.takes(Token::Sign("]")) {
                return Some(values.into());
            }
            if !self.takes(Token::Sign(",")) {
                return None;
            }
        }
    }

    fn filtered(&mut self) -> Option<Direct> {
        let mut of = self.primary()?;
        loop {
            if self.takes(Token::Sign("|")) {
                let Token::Name(name) = self.next()? else { return None };
                self.at += 1;
                of = if self.takes(Token::Sign("(")) {
                    let by = self.any()?;
                    let second = if self.takes(Token::Sign(",")) { Some(self.any()?) } else { None };
                    if !self.takes(Token::Sign(")")) {
                        return None;
                    }
                    match (name, second) {
                        ("replace", Some(to)) => Direct::Replace(Box::new([of, by, to])),
                        ("default", None) => Direct::Default(of.into(), by.into()),
                        (_, None) => Direct::FilterBy(of.into(), by.into(), filters::direct_by(name)?),
                        (_, Some(_)) => return None,
                    }
                } else {
                    Direct::Filter(of.into(), filters::direct(name)?)
                };
            } else if self.takes(Token::Name("is")) {
                return self.test(of);
            } else {
                return Some(of);
            }
        }
    }

    /// What stands behind `is`.
    fn test(&mut self, of: Direct) -> Option<Direct> {
        let is_so = !self.takes(Token::Name("not"));
        let Token::Name(name) = self.next()? else { return None };
        self.at += 1;
        let starts = match name {
            // Of anything but a path the question is odd.
            "defined" => return matches!(of, Direct::Path(..)).then(|| Direct::Defined(of.into(), is_so)),
            "startingwith" => true,
            "endingwith" => false,
            _ => return None,
        };
        if !self.takes(Token::Sign("(")) {
            return None;
        }
        let with = self.any()?;
        let edge = self.takes(Token::Sign(")")).then(|| Direct::Edge(of.into(), with.into(), starts))?;
        Some(if is_so { edge } else { Direct::Not(edge.into()) })
    }

    fn primary(&mut self) -> Option<Direct> {
        let token = self.next()?;
        self.at += 1;
        match token {
            Token::Text(text) => Some(Direct::Text(text.into())),
            Token::Number(number) => Some(Direct::Int(number)),
            Token::Sign("(") => {
                let inside = self.deeper(Self::conditional)?;
                self.takes(Token::Sign(")")).then_some(inside)
            }
            Token::Name("none") => Some(Direct::None),
            Token::Name("true") => Some(Direct::Flag(true)),
            Token::Name("false") => Some(Direct::Flag(false)),
            Token::Name(name) => {
                let variable = *self.known.iter().find(|variable| variable.name() == name)?;
                let mut steps = Vec::new();
                while self.takes(Token::Sign(".")) {
                    let Token::Name(step) = self.next()? else { return None };
                    self.at += 1;
                    steps.push(step);
                }
                // A call, or an index.
                let ends = !matches!(self.next(), Some(Token::Sign("(" | "[")));
                ends.then(|| Direct::Path(variable, steps.join(".").into()))
            }
            Token::Sign(_) => None,
        }
    }
}
