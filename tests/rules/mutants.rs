//! Rules with one fault each. A fault that no unit test notices could be in the rule already.

use super::files::Rule;

/// A part of a query, as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Comparison,
    Number,
    Word,
    /// In braces: `=`, `!=`, `=~`, `!~`.
    Matcher,
    /// In brackets: `5m`.
    Range,
    Other,
}

fn tokens(expr: &str) -> Vec<(Kind, String)> {
    let chars: Vec<char> = expr.chars().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    let (mut in_braces, mut in_brackets) = (false, false);
    while at < chars.len() {
        let start = at;
        let take = |at: &mut usize, more: &dyn Fn(char) -> bool| {
            while *at < chars.len() && more(chars[*at]) {
                *at += 1;
            }
        };
        let kind = match chars[at] {
            '"' => {
                at += 1;
                while chars[at] != '"' {
                    at += if chars[at] == '\\' { 2 } else { 1 };
                }
                at += 1;
                Kind::Other
            }
            '=' | '!' | '<' | '>' => {
                take(&mut at, &|c| "=!<>~".contains(c));
                if in_braces { Kind::Matcher } else { Kind::Comparison }
            }
            c if c.is_ascii_digit() => {
                take(&mut at, &|c| c.is_ascii_alphanumeric() || c == '.');
                if in_brackets { Kind::Range } else { Kind::Number }
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                take(&mut at, &|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
                Kind::Word
            }
            c => {
                at += 1;
                match c {
                    '{' | '}' => in_braces = c == '{',
                    '[' | ']' => in_brackets = c == '[',
                    _ => {}
                }
                Kind::Other
            }
        };
        found.push((kind, chars[start..at].iter().collect()));
    }
    found
}

/// The faults of one part, each as it would stand there. `before` is the comparison in front of a number.
fn faults(kind: Kind, text: &str, before: Option<&str>, is_recorded: bool) -> Vec<String> {
    let one = |text: &str| vec![text.to_owned()];
    match (kind, text) {
        (Kind::Comparison, "==") => one("!="),
        (Kind::Comparison, "!=") => one("=="),
        (Kind::Comparison, ">" | ">=") => one("<"),
        (Kind::Comparison, _) => one(">"),
        (Kind::Matcher, "=") => one("!="),
        (Kind::Matcher, "!=") => one("="),
        (Kind::Matcher, "=~") => one("!~"),
        (Kind::Matcher, _) => one("=~"),
        (Kind::Word, "max") => one("min"),
        (Kind::Word, "min") => one("max"),
        (Kind::Word, "and") => one("or"),
        (Kind::Word, "or" | "unless") => one("and"),
        (Kind::Number, _) => {
            let value: f64 = text.parse().unwrap();
            // Twice nothing is nothing.
            match before {
                _ if value != 0.0 => vec![(value / 2.0).to_string(), (value * 2.0).to_string()],
                Some("==") => one("1"),
                _ => Vec::new(),
            }
        }
        (Kind::Range, _) if is_recorded => {
            let (number, unit) = text.split_at(text.len() - 1);
            let number: u64 = number.parse().unwrap();
            let seconds = number
                * match unit {
                    "s" => 1,
                    "m" => 60,
                    "h" => 3_600,
                    _ => 86_400,
                };
            let longer = (seconds < 86_400).then(|| format!("{}s", seconds * 10));
            longer.into_iter().chain([format!("{}s", seconds / 10)]).collect()
        }
        _ => Vec::new(),
    }
}

/// Every rule that differs from this one by one fault, and the fault in words.
pub fn mutants(rule: &Rule) -> Vec<(String, Rule)> {
    let parts = tokens(&rule.expr);
    let mut found = Vec::new();
    let mut before = None;
    for (at, (kind, text)) in parts.iter().enumerate() {
        let mut others = faults(*kind, text, before, rule.record.is_some());
        if *kind == Kind::Comparison {
            before = Some(text.as_str());
            let nothing = parts[at + 1..].iter().find(|(_, text)| !text.trim().is_empty());
            // An alert on anything above nothing must be silent at nothing.
            others.extend((text == ">" && nothing.is_some_and(|(_, text)| text == "0")).then(|| ">=".to_owned()));
        } else if *kind == Kind::Word {
            before = None;
        }
        for other in others {
            let joined = |parts: &[(Kind, String)]| parts.iter().map(|(_, text)| text.as_str()).collect::<String>();
            let expr = match kind {
                // One window stands in several places of a rule; of one that differs from the others nothing can be
                // told as long as traffic is even.
                Kind::Range => rule.expr.replace(&format!("[{text}]"), &format!("[{other}]")),
                _ => format!("{}{other}{}", joined(&parts[..at]), joined(&parts[at + 1..])),
            };
            if found.iter().any(|(_, made): &(String, Rule)| made.expr == expr) {
                continue;
            }
            let place = joined(&parts[at.saturating_sub(6)..(at + 5).min(parts.len())]);
            let place = place.split_whitespace().collect::<Vec<_>>().join(" ");
            let what = format!("{}: {text} is {other}, near `{place}`", rule.name());
            found.push((what, Rule { expr, ..rule.clone() }));
        }
    }
    if rule.lasts.is_some() {
        found.push((format!("{}: without for", rule.name()), Rule { lasts: None, ..rule.clone() }));
    }
    if rule.keep_firing_for.is_some() {
        let what = format!("{}: without keep_firing_for", rule.name());
        found.push((what, Rule { keep_firing_for: None, ..rule.clone() }));
    }
    found
}

#[test]
fn each_fault_is_made_once_and_texts_are_left_alone() {
    let rule = Rule {
        alert: Some("A".into()),
        expr: "max by (job) (m{a=\"x > 1\"}) > 14.4 * 0.01 and rate(n_total[5m]) == 0".into(),
        lasts: Some("5m".into()),
        ..Rule::default()
    };
    let whole = "max by (job) (m{a=\"x > 1\"}) > 14.4 * 0.01 and rate(n_total[5m]) == 0";
    let expected = [
        whole.replace("max", "min"),
        whole.replace("a=", "a!="),
        whole.replace(") > 14", ") < 14"),
        whole.replace("14.4", "7.2"),
        whole.replace("14.4", "28.8"),
        whole.replace("0.01", "0.005"),
        whole.replace("0.01", "0.02"),
        whole.replace("and", "or"),
        whole.replace("==", "!="),
        whole.replace("== 0", "== 1"),
        whole.to_owned(),
    ];
    let made: Vec<String> = mutants(&rule).into_iter().map(|(_, rule)| rule.expr).collect();
    assert_eq!(made, expected);
    let recorded = Rule { record: Some("r".into()), expr: "rate(n_total[6h]) > 0".into(), ..Rule::default() };
    let made: Vec<String> = mutants(&recorded).into_iter().map(|(_, rule)| rule.expr).collect();
    let expected =
        ["rate(n_total[216000s]) > 0", "rate(n_total[2160s]) > 0", "rate(n_total[6h]) < 0", "rate(n_total[6h]) >= 0"];
    assert_eq!(made, expected);
}
