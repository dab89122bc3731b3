//! Finds macros that nobody filled in: `__CLICK_ID__`, `${x}`, `null`. Such a click id names no click, and such a
//! trans_id makes every event a duplicate of the first (pure).

/// The beginnings and ends of macros in the templates of platforms and languages. The last three are braces and
/// brackets as a URL writes them.
const MACROS: [(&str, &str); 11] = [
    ("__", "__"),
    // `{…}` covers `{{…}}`.
    ("{", "}"),
    ("${", "}"),
    ("#{", "}"),
    ("%{", "}"),
    ("%%", "%%"),
    ("[", "]"),
    ("<", ">"),
    ("%7B", "%7D"),
    ("%24%7B", "%7D"),
    ("%5B", "%5D"),
];

/// The texts that programs write for a missing value.
const NOTHING: [&str; 8] = ["null", "NULL", "(null)", "undefined", "None", "nil", "NaN", "%28null%29"];

/// Whether the text is a macro that nobody filled in, or stands for a missing value.
pub fn is_placeholder(text: &str) -> bool {
    let starts = |with: &str| text.get(..with.len()).is_some_and(|t| t.eq_ignore_ascii_case(with));
    let ends = |with: &str| {
        text.len().checked_sub(with.len()).and_then(|at| text.get(at..)).is_some_and(|t| t.eq_ignore_ascii_case(with))
    };
    let is_macro = |(open, close): &(&str, &str)| text.len() >= open.len() + close.len() && starts(open) && ends(close);
    NOTHING.contains(&text) || MACROS.iter().any(is_macro)
}

/// The same rule as a pattern of JSON Schema, for texts of visible ASCII.
pub(super) fn pattern() -> String {
    let literal = |text: &str| -> String {
        text.chars()
            .map(|c| match c {
                // A URL may write `%7b` for `%7B`.
                'A'..='F' if text.starts_with('%') => format!("[{c}{}]", c.to_ascii_lowercase()),
                c if c.is_ascii_alphanumeric() || matches!(c, '_' | '%' | '#' | '<' | '>') => c.to_string(),
                c => format!("\\{c}"),
            })
            .collect()
    };
    let nothing = NOTHING.map(|text| text.replace('(', "\\(").replace(')', "\\)")).join("|");
    let macros: Vec<String> =
        MACROS.iter().map(|(open, close)| format!("{}.*{}", literal(open), literal(close))).collect();
    format!("^(?:{nothing}|{})$", macros.join("|"))
}

#[cfg(test)]
mod tests;
