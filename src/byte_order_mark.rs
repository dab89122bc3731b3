//! U+FEFF, which some editors and libraries put before a text. Before JSON or a configuration it says nothing.

/// The mark as a character.
pub const MARK: char = '\u{feff}';

/// The bytes after a UTF-8 byte order mark, where they begin with one.
pub fn skip(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// The text after a byte order mark, where it begins with one.
pub fn skip_text(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}
