//! The only list of platforms. Code outside of this folder names no platform: it goes by this list and by names.

use super::Platform;
#[cfg(test)]
use super::third_platform;
use super::{baizhu, kdniao, qihoo360, solinkup};

static LIST: &[&dyn Platform] = &[
    qihoo360::PLATFORM,
    baizhu::PLATFORM,
    kdniao::PLATFORM,
    solinkup::PLATFORM,
    #[cfg(test)]
    third_platform::PLATFORM,
];

/// Every platform that can be configured.
pub fn all() -> impl Iterator<Item = &'static dyn Platform> {
    LIST.iter().copied()
}

pub fn find(name: &str) -> Option<&'static dyn Platform> {
    all().find(|platform| platform.name() == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_fit_into_keys_and_labels() {
        let names: BTreeSet<_> = all().map(|platform| platform.name()).collect();
        assert_eq!(names.len(), all().count());
        for name in names {
            assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
            assert_eq!(find(name).map(Platform::name), Some(name));
        }
        assert!(find("nobody").is_none());
    }
}
