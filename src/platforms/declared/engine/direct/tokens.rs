//! The tokens of an expression that can be evaluated directly.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Name(&'a str),
    Text(&'a str),
    Number(i64),
    Sign(&'a str),
}

/// `None`: it holds what only minijinja's machine knows.
pub(super) fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    const SIGNS: [&str; 14] = ["==", "!=", "<=", ">=", "<", ">", "|", "~", "(", ")", "[", "]", ",", "."];
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
