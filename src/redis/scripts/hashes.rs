//! The hashes by which a server, and the embedded store, find a script that they have seen.

use std::sync::LazyLock;

use super::Script;

static HASHES: LazyLock<Vec<String>> =
    LazyLock::new(|| Script::ALL.iter().map(|s| ::redis::Script::new(s.text()).get_hash().to_owned()).collect());

impl Script {
    /// The SHA-1 of the text, by which a server identifies a cached script.
    pub fn sha(self) -> &'static str {
        &HASHES[self as usize]
    }

    /// The script with this hash.
    pub fn by_sha(sha: &str) -> Option<Script> {
        Script::ALL.iter().copied().find(|script| script.sha().eq_ignore_ascii_case(sha))
    }

    /// The script with this text.
    pub fn by_text(text: &[u8]) -> Option<Script> {
        Script::ALL.iter().copied().find(|script| script.text().as_bytes() == text)
    }
}
