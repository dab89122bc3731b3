//! Suggests the known word that was probably meant by an unknown one.

/// The text of the problem for a key that does not exist.
pub(crate) fn unknown(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
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

/// The known word that was probably meant.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(&word, k), strsim::jaro_winkler(&word, k), *k))
        .filter(|(edits, alike, _)| *edits <= 2 || *alike > 0.88)
        .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(_, _, k)| k)
}
