//! Which carriers 快递鸟 knows, by its own codes: `carriers.csv`, read once. The list was gathered from public callers of
//! its API and from the list that 快递鸟 publishes with its tools, in November 2026; `carriers` of an account adds to it.

use std::cmp::Reverse;
use std::sync::LazyLock;

/// The table as it is compiled in: code and Chinese name.
const TABLE: &str = include_str!("carriers.csv");

/// Alike enough to be suggested: between 圆通快递 and 圆通速递.
const ALIKE: f64 = 0.8;
const SUGGESTIONS: usize = 3;

static CARRIERS: LazyLock<Vec<(&str, &str)>> =
    LazyLock::new(|| TABLE.lines().skip(1).filter_map(|line| line.split_once(',')).collect());

/// Whether the list has this code, written exactly so.
pub(super) fn is_known(code: &str) -> bool {
    CARRIERS.binary_search_by_key(&code, |(code, _)| code).is_ok()
}

/// The codes that were probably meant, with their names, the nearest first. A text may be a code or a Chinese name.
pub(super) fn nearest(text: &str) -> Vec<String> {
    let upper = text.to_uppercase();
    let alike = |code: &str, name: &str| {
        let by_code = strsim::jaro_winkler(&upper, &code.to_uppercase());
        by_code.max(strsim::jaro_winkler(text, name))
    };
    let mut found: Vec<_> = CARRIERS.iter().map(|(code, name)| (alike(code, name), *code, *name)).collect();
    found.retain(|(alike, ..)| *alike > ALIKE);
    // Of two that are equally near, the shorter code: the carriers that everybody knows have short ones.
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| Reverse(b.1.len()).cmp(&Reverse(a.1.len()))));
    found.iter().take(SUGGESTIONS).map(|(_, code, name)| format!("{code} ({name})")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_holds_one_name_per_code() {
        assert!(CARRIERS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(CARRIERS.len(), TABLE.lines().count() - 1);
        for (code, name) in CARRIERS.iter() {
            assert!(!code.is_empty() && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{code}");
            assert!(!name.is_empty() && !name.contains(','), "{code}");
            assert!(is_known(code));
        }
        for code in ["SF", "ZTO", "YTO", "STO", "YD", "EMS", "YZPY", "JD", "JTSD", "DBL", "HTKY", "Hq568"] {
            assert!(is_known(code), "{code}");
        }
        assert!(!is_known("sf") && !is_known("") && !is_known("code") && !is_known("SF "));
    }

    #[test]
    fn the_nearest_are_found_by_code_and_by_name() {
        let first = |text: &str| nearest(text).into_iter().next().unwrap_or_default();
        assert_eq!(first("zto"), "ZTO (中通快递)");
        assert_eq!(first("YT"), "YTO (圆通速递)");
        assert_eq!(first("圆通快递"), "YTO (圆通速递)");
        assert_eq!(first("顺丰"), "SF (顺丰速运)");
        assert!(nearest("zt").len() <= SUGGESTIONS);
        assert!(nearest("???").is_empty() && nearest("").is_empty());
    }
}
