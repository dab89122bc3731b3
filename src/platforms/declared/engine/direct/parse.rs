//! Reads the expressions that can be evaluated directly. The precedence is that of minijinja, from the strongest: filters
//! and `is`, then `~`, comparisons, `and`, `or`, `if`.

use crate::platforms::declared::engine::Variable;
use crate::platforms::declared::filters::{self, Filter, FilterBy};

/// An expression.
pub(in crate::platforms::declared::engine) enum Direct {
    /// A variable, and the dotted path below it.
    Path(Variable, Box<str>),
    Text(Box<str>),
    Int(i64),
    Filter(Box<Direct>, Filter),
    FilterBy(Box<Direct>, Box<Direct>, FilterBy),
    Concat(Box<[Direct]>),
    /// `true`: equal.
    Compare(Box<Direct>, Box<Direct>, bool),
    /// A text or a number in a list of such.
    In(Box<Direct>, Box<[Direct]>),
    /// `false`: not defined.
    Defined(Box<Direct>, bool),
    All(Box<[Direct]>),
    Any(Box<[Direct]>),
    If {
        then: Box<Direct>,
        when: Box<Direct>,
        otherwise: Option<Box<Direct>>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Name(&'a str),
    Text(&'a str),
    Number(i64),
    Sign(&'a str),
}

/// `None`: it holds what only minijinja's machine knows.
pub(super) fn read(text: &str, known: &[Variable]) -> Option<Direct> {
    let mut reader = Reader { tokens: tokens(text)?, at: 0, known, depth: 0 };
    let whole = reader.conditional()?;
    (reader.at == reader.tokens.len()).then_some(whole)
}

fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    const SIGNS: [&str; 10] = ["==", "!=", "|", "~", "(", ")", "[", "]", ",", "."];
    let (mut found, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.bytes().next() {
        let length = match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
                found.push(Token::Name(&rest[..length]));
                length
            }
            b'0'..=b'9' => {
                let length = rest.bytes().take_while(u8::is_ascii_digit).count();
                if rest[length..].starts_with(|c: char| c == '.' || c == '_' || c.is_ascii_alphabetic()) {
                    return None;
                }
                found.push(Token::Number(rest[..length].parse().ok()?));
                length
            }
            b'"' | b'\'' => {
                let length = rest[1..].find(char::from(first))?;
                let inside = &rest[1..=length];
                if inside.contains('\\') {
                    return None;
                }
                found.push(Token::Text(inside));
                length + 2
            }
            _ => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign))?;
                found.push(Token::Sign(sign));
                sign.len()
            }
        };
        rest = rest[length..].trim_start();
    }
    Some(found)
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
        self.joined(Token::Name("and"), Self::comparison, Direct::All)
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

    fn comparison(&mut self) -> Option<Direct> {
        let left = self.concat()?;
        let compared = if self.takes(Token::Sign("==")) {
            Direct::Compare(left.into(), self.concat()?.into(), true)
        } else if self.takes(Token::Sign("!=")) {
            Direct::Compare(left.into(), self.concat()?.into(), false)
        } else if self.takes(Token::Name("in")) {
            Direct::In(left.into(), self.list()?)
        } else {
            return Some(left);
        };
        // Of several comparisons in a row the machine knows what they mean.
        let ends = !matches!(self.next(), Some(Token::Sign("==" | "!=") | Token::Name("in" | "not" | "is")));
        ends.then_some(compared)
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
                    if !self.takes(Token::Sign(")")) {
                        return None;
                    }
                    Direct::FilterBy(of.into(), by.into(), filters::direct_by(name)?)
                } else {
                    Direct::Filter(of.into(), filters::direct(name)?)
                };
            } else if self.takes(Token::Name("is")) {
                let is_defined = !self.takes(Token::Name("not"));
                // Of anything but a path the question is odd.
                if !self.takes(Token::Name("defined")) || !matches!(of, Direct::Path(..)) {
                    return None;
                }
                return Some(Direct::Defined(of.into(), is_defined));
            } else {
                return Some(of);
            }
        }
    }

    fn primary(&mut self) -> Option<Direct> {
        let token = self.next()?;
        self.at += 1;
        match token {
            Token::Text(text) => Some(Direct::Text(text.into())),
            Token::Number(number) => Some(Direct::Int(number)),
            Token::Sign("(") => {
                self.depth += 1;
                if self.depth > 16 {
                    return None;
                }
                let inside = self.conditional()?;
                self.depth -= 1;
                self.takes(Token::Sign(")")).then_some(inside)
            }
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
