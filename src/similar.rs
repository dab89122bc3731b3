//! Finds the known word that an unknown one was probably meant to be, for a "did you mean".

/// The known word that is most similar to `word`, if one is similar enough. Upper case and hyphens in place of
/// underscores do not count as differences.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let word = plain(word);
    known
        .into_iter()
        .map(|name| {
            let other = plain(name);
            (strsim::damerau_levenshtein(&word, &other), strsim::jaro_winkler(&word, &other), name)
        })
        .filter(|(edits, alike, _)| (*edits <= 2 && *alike > 0.0) || *alike > 0.85)
        .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(_, _, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similar_word_is_found_and_no_other() {
        let accounts = ["acme-ps", "acme-web", "other", "solo-production"];
        let rows = [
            ("acme-sp", Some("acme-ps")),
            ("ACME_PS", Some("acme-ps")),
            ("acme-wep", Some("acme-web")),
            ("solo", Some("solo-production")),
            ("zzz", None),
            ("", None),
        ];
        for (word, expected) in rows {
            assert_eq!(nearest(word, accounts), expected, "{word}");
        }
        assert_eq!(nearest("max_attemps", ["max_age", "max_attempts", "max_parked"]), Some("max_attempts"));
        assert_eq!(nearest("a", ["b"]), None, "nothing of it is the same");
    }
}
