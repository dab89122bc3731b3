//! What a query asks for: its selectors, its ranges, and the labels of what it returns.

use std::collections::BTreeSet;

use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};

/// One selector of a query.
#[derive(Debug)]
pub struct Selector {
    pub metric: String,
    /// The labels that it matches.
    pub matched: BTreeSet<String>,
    /// The function that reads its range, if it has one: `rate`.
    pub function: Option<String>,
}

/// A query that parses.
#[derive(Debug)]
pub struct Parsed {
    expr: Expr,
    pub selectors: Vec<Selector>,
    /// Labels that are grouped by or joined on.
    pub grouped: BTreeSet<String>,
}

/// Reads a query without variables; the error says where it does not parse.
pub fn parse(plain: &str) -> Result<Parsed, String> {
    let expr = parser::parse(plain)?;
    let mut parsed = Parsed { selectors: Vec::new(), grouped: BTreeSet::new(), expr: expr.clone() };
    parsed.walk(&expr, None);
    Ok(parsed)
}

impl Parsed {
    fn walk(&mut self, expr: &Expr, function: Option<&str>) {
        match expr {
            Expr::Aggregate(aggregate) => {
                self.group(aggregate.modifier.as_ref());
                self.walk(&aggregate.expr, None);
                if let Some(parameter) = &aggregate.param {
                    self.walk(parameter, None);
                }
            }
            Expr::Unary(unary) => self.walk(&unary.expr, None),
            Expr::Binary(binary) => {
                self.group(binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()));
                self.walk(&binary.lhs, None);
                self.walk(&binary.rhs, None);
            }
            Expr::Paren(inner) => self.walk(&inner.expr, function),
            Expr::Subquery(inner) => self.walk(&inner.expr, None),
            Expr::Call(call) => call.args.args.iter().for_each(|argument| self.walk(argument, Some(call.func.name))),
            Expr::VectorSelector(selector) => self.select(selector, None),
            Expr::MatrixSelector(selector) => self.select(&selector.vs, function),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }

    fn group(&mut self, modifier: Option<&LabelModifier>) {
        self.grouped.extend(modifier.iter().flat_map(|modifier| modifier.labels().labels.iter().cloned()));
    }

    fn select(&mut self, selector: &VectorSelector, function: Option<&str>) {
        let matchers = &selector.matchers;
        let every = || matchers.matchers.iter().chain(matchers.or_matchers.iter().flatten());
        let by_name = every().find(|matcher| matcher.name == "__name__").map(|matcher| matcher.value.clone());
        self.selectors.push(Selector {
            metric: selector.name.clone().or(by_name).unwrap_or_default(),
            matched: every().map(|matcher| matcher.name.clone()).filter(|name| name != "__name__").collect(),
            function: function.map(str::to_owned),
        });
    }

    /// The labels of what the query returns; `of` names those of a metric.
    pub fn returned(&self, of: &dyn Fn(&str) -> BTreeSet<String>) -> BTreeSet<String> {
        returned(&self.expr, of)
    }
}

fn returned(expr: &Expr, of: &dyn Fn(&str) -> BTreeSet<String>) -> BTreeSet<String> {
    match expr {
        Expr::Aggregate(aggregate) => {
            let inner = || returned(&aggregate.expr, of);
            match &aggregate.modifier {
                Some(LabelModifier::Include(labels)) => labels.labels.iter().cloned().collect(),
                Some(LabelModifier::Exclude(labels)) => {
                    inner().into_iter().filter(|label| !labels.labels.contains(label)).collect()
                }
                // These choose among series and keep their labels.
                None if ["topk", "bottomk"].contains(&aggregate.op.to_string().as_str()) => inner(),
                None => BTreeSet::new(),
            }
        }
        Expr::Unary(unary) => returned(&unary.expr, of),
        Expr::Binary(binary) if matches!(*binary.lhs, Expr::NumberLiteral(_)) => returned(&binary.rhs, of),
        Expr::Binary(binary) => returned(&binary.lhs, of),
        Expr::Paren(inner) => returned(&inner.expr, of),
        Expr::Subquery(inner) => returned(&inner.expr, of),
        Expr::Call(call) => {
            let mut labels: BTreeSet<String> =
                call.args.args.iter().flat_map(|argument| returned(argument, of)).collect();
            if call.func.name == "histogram_quantile" {
                labels.remove("le");
            }
            labels
        }
        Expr::VectorSelector(selector) => of(selector.name.as_deref().unwrap_or_default()),
        Expr::MatrixSelector(selector) => of(selector.vs.name.as_deref().unwrap_or_default()),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => BTreeSet::new(),
    }
}
