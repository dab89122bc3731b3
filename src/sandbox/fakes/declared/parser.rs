//! Reads the text of an expression, a rule of its grammar per function.

use serde_json::Value;

use super::expression::{Expr, Op};
use super::lexer::{Token, tokens};

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Expr, String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let expr = parser.choice()?;
    match parser.next() {
        None => Ok(expr),
        Some(more) => Err(format!("unexpected {more:?}")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// Takes the token if it is this sign.
    fn sign(&mut self, sign: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Sign(s)) if *s == sign);
        self.at += usize::from(is);
        is
    }

    /// Takes the token if it is this word.
    fn word(&mut self, word: &str) -> bool {
        let is = matches!(self.tokens.get(self.at), Some(Token::Word(w)) if w == word);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.sign(sign) { Ok(()) } else { Err(format!("`{sign}` is missing")) }
    }

    fn choice(&mut self) -> Result<Expr, String> {
        let mut expr = self.or()?;
        while self.word("if") {
            let when = self.or()?;
            let other = if self.word("else") { Some(Box::new(self.choice()?)) } else { None };
            expr = Expr::If(Box::new(expr), Box::new(when), other);
        }
        Ok(expr)
    }

    fn or(&mut self) -> Result<Expr, String> {
        let mut expr = self.and()?;
        while self.word("or") {
            expr = two(Op::Or, expr, self.and()?);
        }
        Ok(expr)
    }

    fn and(&mut self) -> Result<Expr, String> {
        let mut expr = self.not()?;
        while self.word("and") {
            expr = two(Op::And, expr, self.not()?);
        }
        Ok(expr)
    }

    fn not(&mut self) -> Result<Expr, String> {
        if self.word("not") { Ok(Expr::Not(Box::new(self.not()?))) } else { self.compare() }
    }

    fn compare(&mut self) -> Result<Expr, String> {
        let mut expr = self.join()?;
        loop {
            let op = match self.tokens.get(self.at) {
                Some(Token::Sign("==")) => Op::Equal,
                Some(Token::Sign("!=")) => Op::Unequal,
                Some(Token::Sign("<")) => Op::Less,
                Some(Token::Sign("<=")) => Op::AtMost,
                Some(Token::Sign(">")) => Op::More,
                Some(Token::Sign(">=")) => Op::AtLeast,
                Some(Token::Word(word)) if word == "in" => Op::In,
                Some(Token::Word(word)) if word == "not" && self.tokens.get(self.at + 1) == Some(&word_of("in")) => {
                    self.at += 2;
                    expr = Expr::Not(Box::new(two(Op::In, expr, self.join()?)));
                    continue;
                }
                _ => return Ok(expr),
            };
            self.at += 1;
            expr = two(op, expr, self.join()?);
        }
    }

    fn join(&mut self) -> Result<Expr, String> {
        let mut expr = self.sum()?;
        while self.sign("~") {
            expr = two(Op::Join, expr, self.sum()?);
        }
        Ok(expr)
    }

    fn sum(&mut self) -> Result<Expr, String> {
        let mut expr = self.product()?;
        loop {
            let op = if self.sign("+") {
                Op::Plus
            } else if self.sign("-") {
                Op::Minus
            } else {
                return Ok(expr);
            };
            expr = two(op, expr, self.product()?);
        }
    }

    fn product(&mut self) -> Result<Expr, String> {
        let mut expr = self.postfix()?;
        while self.sign("*") {
            expr = two(Op::Times, expr, self.postfix()?);
        }
        Ok(expr)
    }

    fn postfix(&mut self) -> Result<Expr, String> {
        if self.sign("-") {
            return Ok(two(Op::Minus, Expr::Value(0.into()), self.postfix()?));
        }
        let mut expr = self.primary()?;
        loop {
            if self.sign(".") {
                let Some(Token::Word(word)) = self.next() else { return Err("a name is missing after `.`".to_owned()) };
                expr = match expr {
                    Expr::Name(name) => Expr::Name(format!("{name}.{word}")),
                    other => Expr::At(Box::new(other), Box::new(Expr::Value(word.into()))),
                };
            } else if self.sign("[") {
                expr = self.brackets(expr)?;
            } else if self.sign("|") {
                let Some(Token::Word(name)) = self.next() else { return Err("a filter is missing".to_owned()) };
                expr = Expr::Filter(name, Box::new(expr), self.arguments()?);
            } else if self.word("is") {
                let not = self.word("not");
                let Some(Token::Word(name)) = self.next() else { return Err("a test is missing".to_owned()) };
                let test = Expr::Test(name, Box::new(expr), self.arguments()?);
                expr = if not { Expr::Not(Box::new(test)) } else { test };
            } else {
                return Ok(expr);
            }
        }
    }

    fn brackets(&mut self, of: Expr) -> Result<Expr, String> {
        let whole = |expr: &Expr| match expr {
            Expr::Value(value) => value.as_i64(),
            Expr::Two(Op::Minus, _, right) => match right.as_ref() {
                Expr::Value(value) => value.as_i64().map(|n| -n),
                _ => None,
            },
            _ => None,
        };
        let number = |expr: Expr| whole(&expr).map(Some).ok_or("a bound that is no number".to_owned());
        let from = if self.sign(":") {
            None
        } else {
            let first = self.choice()?;
            if self.sign("]") {
                return Ok(Expr::At(Box::new(of), Box::new(first)));
            }
            self.expect(":")?;
            number(first)?
        };
        let until = if self.sign("]") {
            None
        } else {
            let last = number(self.choice()?)?;
            self.expect("]")?;
            last
        };
        Ok(Expr::Slice(Box::new(of), from, until))
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, String> {
        if self.sign("(") { self.list(")") } else { Ok(Vec::new()) }
    }

    fn list(&mut self, end: &str) -> Result<Vec<Expr>, String> {
        let mut all = Vec::new();
        while !self.sign(end) {
            if !all.is_empty() {
                self.expect(",")?;
                if self.sign(end) {
                    break;
                }
            }
            all.push(self.choice()?);
        }
        Ok(all)
    }

    fn primary(&mut self) -> Result<Expr, String> {
        match self.next() {
            Some(Token::Text(text)) => Ok(Expr::Value(text.into())),
            Some(Token::Number(number)) => Ok(Expr::Value(number.into())),
            Some(Token::Word(word)) => Ok(match word.as_str() {
                "true" | "True" => Expr::Value(true.into()),
                "false" | "False" => Expr::Value(false.into()),
                "none" | "None" => Expr::Value(Value::Null),
                _ => Expr::Name(word),
            }),
            Some(Token::Sign("(")) => {
                let inner = self.choice()?;
                self.expect(")")?;
                Ok(inner)
            }
            Some(Token::Sign("[")) => Ok(Expr::List(self.list("]")?)),
            Some(Token::Sign("{")) => {
                let mut members = Vec::new();
                while !self.sign("}") {
                    if !members.is_empty() {
                        self.expect(",")?;
                    }
                    let Some(Token::Text(name)) = self.next() else {
                        return Err("a member's name is missing".to_owned());
                    };
                    self.expect(":")?;
                    members.push((name, self.choice()?));
                }
                Ok(Expr::Map(members))
            }
            Some(other) => Err(format!("unexpected {other:?}")),
            None => Err("it ends too early".to_owned()),
        }
    }
}

fn two(op: Op, left: Expr, right: Expr) -> Expr {
    Expr::Two(op, Box::new(left), Box::new(right))
}

fn word_of(word: &str) -> Token {
    Token::Word(word.to_owned())
}
