//! Texts of declared platforms that live as long as the process: names of platforms and headers, fields of events,
//! native events. Each distinct text is kept once, so that a file that is read again, or has changed, keeps next to
//! nothing.

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

/// The kept copy of a list of names.
pub(super) fn intern_all(names: &[&'static str]) -> &'static [&'static str] {
    static LISTS: LazyLock<Mutex<HashSet<&'static [&'static str]>>> = LazyLock::new(Mutex::default);
    let mut lists = LISTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kept) = lists.get(names) {
        return kept;
    }
    let kept: &'static [&'static str] = Box::leak(names.into());
    lists.insert(kept);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_kept_once() {
        assert!(std::ptr::eq(intern("click.one"), intern(&["click", ".one"].concat())));
        let list = || intern_all(&[intern("one"), intern("two")]);
        assert!(std::ptr::eq(list(), list()) && list() == ["one", "two"]);
    }
}
