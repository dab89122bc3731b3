//! U+FEFF, the byte order mark, which some editors and libraries put before a text. Before JSON or a configuration it
//! has no meaning, unless it says that the text is UTF-16.

/// The mark as a character.
pub const MARK: char = '\u{feff}';

/// The bytes without the UTF-8 byte order mark at their beginning, if there is one.
pub fn skip(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The text without the byte order mark at its beginning, if there is one.
pub fn skip_text(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// Whether the bytes begin with the byte order mark of UTF-16. No UTF-8 begins like this.
pub fn is_utf_16(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff")
}
