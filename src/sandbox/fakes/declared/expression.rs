//! Expressions in the file of a declared platform, as this sandbox reads them: the part of the language that such files
//! use. What it cannot read is an error, and the rule that stands there is not checked.

use serde_json::Value;

/// One expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    /// A literal.
    Value(Value),
    List(Vec<Expr>),
    Map(Vec<(String, Expr)>),
    /// A dotted name, e.g. `event.order.amount`.
    Name(String),
    /// `a[b]`, and `.b` behind anything that is no name.
    At(Box<Expr>, Box<Expr>),
    /// `a[from:until]`; negative numbers count from the end.
    Slice(Box<Expr>, Option<i64>, Option<i64>),
    /// `a | name(arguments)`.
    Filter(String, Box<Expr>, Vec<Expr>),
    /// `a is name(arguments)`.
    Test(String, Box<Expr>, Vec<Expr>),
    Not(Box<Expr>),
    Two(Op, Box<Expr>, Box<Expr>),
    /// `value if when else other`.
    If(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
}

/// An operator between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
    In,
    Join,
    Plus,
    Minus,
    Times,
}

impl Expr {
    /// Calls `visit` for this expression and for each part of it.
    pub(super) fn walk<'e>(&'e self, visit: &mut dyn FnMut(&'e Expr)) {
        visit(self);
        match self {
            Expr::Value(_) | Expr::Name(_) => {}
            Expr::List(all) => all.iter().for_each(|e| e.walk(visit)),
            Expr::Map(all) => all.iter().for_each(|(_, e)| e.walk(visit)),
            Expr::Slice(e, ..) | Expr::Not(e) => e.walk(visit),
            Expr::At(a, b) | Expr::Two(_, a, b) => [a, b].into_iter().for_each(|e| e.walk(visit)),
            Expr::Filter(_, e, rest) | Expr::Test(_, e, rest) => {
                e.walk(visit);
                rest.iter().for_each(|e| e.walk(visit));
            }
            Expr::If(a, b, c) => [Some(a), Some(b), c.as_ref()].into_iter().flatten().for_each(|e| e.walk(visit)),
        }
    }
}

/// The members of the body that an expression reads, dotted.
pub(super) fn bodies(expr: &Expr) -> Vec<String> {
    let mut found = Vec::new();
    expr.walk(&mut |part| {
        if let Expr::Name(name) = part
            && let Some(path) = name.strip_prefix("body.")
        {
            found.push(path.to_owned());
        }
    });
    found
}
