//! Looks through the texts of a file before anything is compiled: cuts templates into their parts, and finds what
//! expressions call.

/// The parts of a template.
pub(super) enum Pieces<'a> {
    /// Offset, whether it is an expression, and the text: of an expression what stands between its braces.
    Plain(Vec<(usize, bool, &'a str)>),
    /// It has tags, comments or white space control.
    Tags,
    /// An expression that begins at this offset does not end.
    Open(usize),
}

pub(super) fn pieces(text: &str) -> Pieces<'_> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(open) = text[from..].find('{').map(|at| from + at) {
        match text[open + 1..].bytes().next() {
            Some(b'%' | b'#') => return Pieces::Tags,
            Some(b'{') => {}
            _ => {
                // A brace of the text itself: the piece goes on.
                let Some(next) = text[open + 1..].find("{{").or_else(|| tag(&text[open + 1..])) else { break };
                let next = open + 1 + next;
                if text[next..].starts_with("{%") || text[next..].starts_with("{#") {
                    return Pieces::Tags;
                }
                found.push((from, false, &text[from..next]));
                from = next;
                continue;
            }
        }
        let Some(length) = end(&text[open + 2..]) else { return Pieces::Open(open) };
        let inside = &text[open + 2..open + 2 + length];
        if inside.starts_with(['-', '+']) || inside.ends_with('-') {
            return Pieces::Tags;
        }
        if open > from {
            found.push((from, false, &text[from..open]));
        }
        found.push((open + 2, true, inside));
        from = open + 4 + length;
    }
    if from < text.len() {
        found.push((from, false, &text[from..]));
    }
    Pieces::Plain(found)
}

fn tag(text: &str) -> Option<usize> {
    [text.find("{%"), text.find("{#")].into_iter().flatten().min()
}

/// How long an expression is that ends with two braces.
fn end(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().copied().enumerate() {
        match (quote, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth == 0 && bytes.get(at + 1) == Some(&b'}') => return Some(at),
            (None, b'}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    None
}

/// The names after `|` and `is`, with their offsets; `true`: a test. Texts in quotes have none.
pub(super) fn called(text: &str) -> Vec<(usize, bool, &str)> {
    let (mut found, mut quote, mut at, mut before) = (Vec::new(), None, 0, "");
    let bytes = text.as_bytes();
    while let Some(byte) = bytes.get(at).copied() {
        if let Some(open) = quote {
            at += if byte == b'\\' { 2 } else { 1 };
            if byte == open {
                quote = None;
            }
        } else if matches!(byte, b'"' | b'\'') {
            (quote, before, at) = (Some(byte), "", at + 1);
        } else if byte.is_ascii_alphabetic() || byte == b'_' {
            let length = text[at..].bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
            let word = &text[at..at + length];
            let test = matches!(before, "is" | "is not") && word != "not";
            if test || before == "|" {
                found.push((at, test, word));
            }
            before = match (before, word) {
                ("is", "not") => "is not",
                ("." | "|", _) => "",
                (_, "is") => "is",
                _ => "",
            };
            at += length;
        } else {
            match byte {
                b'|' => before = "|",
                b'.' => before = ".",
                b if b.is_ascii_whitespace() => {}
                _ => before = "",
            }
            at += 1;
        }
    }
    found
}

/// Whether some word of an expression lets it do without a value. A word in quotes counts too: then nothing is said of
/// an account that lacks the value.
pub(super) fn is_conditional(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.any(|word| matches!(word, "if" | "default" | "d" | "or" | "defined"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_cut_at_the_braces_of_its_expressions() {
        let cut = |text| match pieces(text) {
            Pieces::Plain(pieces) => {
                pieces.iter().map(|(_, is, text)| if *is { format!("<{text}>") } else { (*text).to_owned() }).collect()
            }
            Pieces::Tags => vec!["tags".to_owned()],
            Pieces::Open(at) => vec![format!("open {at}")],
        };
        let rows: [(&str, &[&str]); 13] = [
            ("", &[]),
            ("plain", &["plain"]),
            ("{{ a }}", &["< a >"]),
            ("x{{a}}y{{b}}", &["x", "<a>", "y", "<b>"]),
            ("{\"a\": {{ b }}}", &["{\"a\": ", "< b >", "}"]),
            ("{{ '}}' ~ \"{{\\\"\" }}!", &["< '}}' ~ \"{{\\\"\" >", "!"]),
            ("{{ {'a': {'b': 1}} }}", &["< {'a': {'b': 1}} >"]),
            ("{ x }", &["{ x }"]),
            ("{% if a %}x{% endif %}", &["tags"]),
            ("{x}{# note #}", &["tags"]),
            ("{{- a }}", &["tags"]),
            ("a{{ b", &["open 1"]),
            ("汉{{ b }}字", &["汉", "< b >", "字"]),
        ];
        for (text, expected) in rows {
            assert_eq!(cut(text), expected, "{text}");
        }
    }

    #[test]
    fn filters_and_tests_are_found_where_they_are_called() {
        let text = "a | fen | json('| no') if b is not defined and c is none else d.is | md5";
        let names: Vec<_> = called(text).into_iter().map(|(_, is_test, name)| (name, is_test)).collect();
        assert_eq!(names, [("fen", false), ("json", false), ("defined", true), ("none", true), ("md5", false)]);
    }
}
