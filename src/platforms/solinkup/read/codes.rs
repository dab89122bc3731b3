//! What the codes of the platforms behind 数环通 mean (PUBLIC.md section 6), and how numbers are read.

use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// What a code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::platforms::solinkup) enum Means {
    Success,
    Retry,
    Throttled,
    Refresh,
    Halt,
    Permanent,
    /// The timestamp of the request is refused.
    Clock,
    /// It is in no table.
    Unknown,
}

/// A number, also one that is written as a text.
pub(in crate::platforms::solinkup) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// 抖店: `err_no` with `code` and `sub_code`, e.g. `isv.access-token-expired:2`.
pub(super) fn doudian(err_no: Option<i64>, code: Option<i64>, sub_code: &str) -> Means {
    let says = |words: &[&str]| words.iter().any(|word| sub_code.contains(word));
    // Where one of both is missing or good, the other one tells.
    let failed = code.filter(|code| *code != 10_000).or(err_no.filter(|err_no| *err_no != 0));
    match failed {
        None => Means::Success,
        // Partly failed: no list of what failed comes with it.
        Some(10_001) => Means::Retry,
        Some(20_000 | 60_000 | 90_000) => Means::Retry,
        // Permission or authorisation; an address that is not on the list; an interface that is gone.
        Some(30_001 | 30_002 | 70_000) => Means::Halt,
        Some(40_001) if says(&["signature-missing", "app-id-missing", "access-token-missing"]) => Means::Halt,
        Some(40_003) if says(&["access-token-expired", "access-token-no-existed"]) => Means::Refresh,
        Some(40_003) if says(&["signature-invalid", "app-id-", "access-token-invalid"]) => Means::Halt,
        Some(40_003) if says(&["timestamp-invalid"]) => Means::Clock,
        Some(40_003) if says(&["idempotent-id-existed"]) => Means::Success,
        Some(40_000..=40_099) => Means::Permanent,
        Some(50_001) if says(&["token-"]) => Means::Halt,
        Some(50_001) => Means::Retry,
        Some(_) => Means::Unknown,
    }
}

/// 巨量千川: `code`.
pub(super) fn qianchuan(code: i64) -> Means {
    match code {
        0 => Means::Success,
        40_000 => Means::Permanent,
        40_100 => Means::Throttled,
        40_105 => Means::Refresh,
        // The authorisation code was used before.
        40_115 => Means::Halt,
        _ => Means::Unknown,
    }
}

/// Whether a message complains about the timestamp.
pub(in crate::platforms::solinkup) fn is_about_the_clock(words: &str) -> bool {
    static CLOCK: LazyLock<Option<Regex>> =
        LazyLock::new(|| RegexBuilder::new("timestamp|时间戳|时间差|服务器时间").case_insensitive(true).build().ok());
    CLOCK.as_ref().is_some_and(|clock| clock.is_match(words))
}
