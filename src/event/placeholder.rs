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

/// More macros that no platform's id looks like. An id of a producer's own may, so they count for ids of a click alone:
/// those of some mail and click services, and what escaping makes of the others.
const MACROS_OF_CLICKS: [(&str, &str); 6] =
    [("*|", "|*"), ("!!", "!!"), ("%3C", "%3E"), ("&lt;", "&gt;"), ("%25%25", "%25%25"), ("%23%7B", "%7D")];

/// Signs that enclose the name of a macro: `%CLICKID%`, `$ob_click_id$`.
const SIGNS: [char; 4] = ['%', '$', '#', '@'];

/// More texts for a missing value, without regard to case; they count for ids of a click alone.
const NO_CLICK: [&str; 10] =
    ["null", "(null)", "none", "(none)", "undefined", "nan", "n/a", "(not set)", "(not%20set)", "-"];

/// Whether the text is a macro that nobody filled in, or stands for a missing value.
pub fn is_placeholder(text: &str) -> bool {
    NOTHING.contains(&text) || MACROS.iter().any(|marks| is_between(text, marks))
}

/// Whether a text cannot be the id of a click, a device or a person that a platform or a system gave, because nobody
/// filled it in.
pub fn is_unfilled(text: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    let is_signed = |sign: &char| text.strip_prefix(*sign).and_then(|t| t.strip_suffix(*sign)).is_some_and(is_name);
    is_placeholder(text)
        || NO_CLICK.iter().any(|nothing| nothing.eq_ignore_ascii_case(text))
        || MACROS_OF_CLICKS.iter().any(|marks| is_between(text, marks))
        || SIGNS.iter().any(is_signed)
}

/// Whether a text begins and ends with these, without regard to case.
fn is_between(text: &str, (open, close): &(&str, &str)) -> bool {
    let starts = text.get(..open.len()).is_some_and(|t| t.eq_ignore_ascii_case(open));
    let at = text.len().checked_sub(close.len());
    let ends = at.and_then(|at| text.get(at..)).is_some_and(|t| t.eq_ignore_ascii_case(close));
    text.len() >= open.len() + close.len() && starts && ends
}

/// Whether the text is a GUID in braces, as some systems write it: `{3f2504e0-4f89-11d3-9a0c-0305e82c3301}`. It looks
/// like a macro and is a value of its own.
pub(super) fn is_guid(text: &str) -> bool {
    let Some(guid) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else { return false };
    let groups = || guid.split('-');
    groups().map(str::len).eq(GUID) && groups().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The digits of each group of a GUID.
const GUID: [usize; 5] = [8, 4, 4, 4, 12];

/// The rule of [`is_guid`] as a pattern of JSON Schema.
pub(super) fn guid_pattern() -> String {
    format!("^\\{{{}\\}}$", GUID.map(|digits| format!("[0-9A-Fa-f]{{{digits}}}")).join("-"))
}

/// The same rule as [`is_placeholder`] as a pattern of JSON Schema, for texts of visible ASCII.
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
