//! The words and signs of an expression.

/// One word, text, number or sign.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Number(i64),
    Sign(&'static str),
}

const SIGNS: [&str; 20] =
    ["==", "!=", "<=", ">=", "<", ">", "~", "+", "-", "*", "(", ")", "[", "]", "{", "}", "|", ".", ",", ":"];

/// Splits an expression.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' || first == '\'' {
            let (word, length) = quoted(rest, first)?;
            found.push(Token::Text(word));
            length
        } else if first.is_ascii_digit() {
            let length = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            found.push(Token::Number(rest[..length].parse().map_err(|_| "a number that is too large".to_owned())?));
            length
        } else if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            found.push(Token::Word(rest[..length].to_owned()));
            length
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign)).ok_or(format!("unknown sign {first:?}"))?;
            found.push(Token::Sign(sign));
            sign.len()
        };
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

/// A text in quotes, and how many bytes it takes with them.
fn quoted(text: &str, quote: char) -> Result<(String, usize), String> {
    let mut word = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => word.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, 't')) => '\t',
                Some((_, 'r')) => '\r',
                Some((_, other)) => other,
                None => break,
            }),
            c if c == quote => return Ok((word, at + 1)),
            c => word.push(c),
        }
    }
    Err("a text without an end".to_owned())
}
