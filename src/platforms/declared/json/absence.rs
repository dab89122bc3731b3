//! What of an event counts as absent, and what as there.

/// Objects of an event that count as there, and empty, where the event has none: their members are undefined then, and
/// asking for one is no error.
const SECTIONS: [&str; 10] = [
    "click",
    "order",
    "user",
    "consent",
    "params",
    "platform_params",
    "args",
    "user.device",
    "user.wechat",
    "user.hashed",
];

/// Below these an empty text is nothing that could be matched: its digest would be the same for everybody.
const EMPTY_IS_ABSENT: [&str; 3] = ["click", "order", "user"];

/// Whether JSON is a text of nothing but spaces, or of nothing.
pub(super) fn is_blank(raw: &[u8]) -> bool {
    raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\"")).is_some_and(|text| text.trim_ascii().is_empty())
}

/// Whether an empty text counts as absent in the objects at this dotted path and below it.
pub(super) fn is_absent_if_empty(path: &str) -> bool {
    EMPTY_IS_ABSENT.contains(&path.split('.').next().unwrap_or_default())
}

/// The section with this path below an object of the event.
pub(super) fn section(object: &str, below: &str) -> Option<&'static str> {
    SECTIONS.into_iter().find(|section| match object.is_empty() {
        true => *section == below,
        false => section.strip_prefix(object).and_then(|rest| rest.strip_prefix('.')) == Some(below),
    })
}
