//! Texts of declared platforms that live as long as the process: names of platforms and headers, fields of events, native
//! events. Each distinct text is kept once, so that a file that is read again, or has changed, keeps next to nothing.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

static TEXTS: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);

/// The kept copy of a text.
pub(super) fn intern(text: &str) -> &'static str {
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kept) = texts.get(text) {
        return kept;
    }
    let kept: &'static str = Box::leak(text.into());
    texts.insert(kept);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_kept_once() {
        assert!(std::ptr::eq(intern("click.one"), intern(&["click", ".one"].concat())));
    }
}
