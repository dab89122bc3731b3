//! The problem of an unknown key, with the known key that was probably meant.

use crate::similar::nearest;

/// The text of the problem for a key that does not exist.
pub(crate) fn unknown(key: &str, known: &[&str]) -> String {
    match nearest(key, known.iter().copied()) {
        Some(near) => format!("is no key of this table; did you mean `{near}`?"),
        None if known.is_empty() => "is no key of this table, which has none".to_owned(),
        None => {
            let mut known = known.to_vec();
            known.sort_unstable();
            known.dedup();
            format!("is no key of this table; it has {}", known.join(", "))
        }
    }
}
