//! `classify`: the platform documents no codes for refusals, so words of its messages have to do.

use regex::{RegexSet, RegexSetBuilder};
use serde::{Deserialize, Serialize};

/// `classify`: regular expressions, in any case, for each line of what a refusal says.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct Classify {
    /// The token is refused. Judged first.
    pub refresh_patterns: Vec<String>,
    /// The account cannot call at all.
    pub halt_patterns: Vec<String>,
}

impl Default for Classify {
    fn default() -> Self {
        let all = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect();
        Self {
            refresh_patterns: all(&["accessToken", "token", "令牌"]),
            halt_patterns: all(&["sign", "签名", "授权", "appKey", "权限"]),
        }
    }
}

/// A checked [`Classify`].
#[derive(Clone, Debug)]
pub(in crate::platforms::solinkup) struct Patterns {
    pub(in crate::platforms::solinkup) refresh: RegexSet,
    pub(in crate::platforms::solinkup) halt: RegexSet,
}

impl Classify {
    pub(super) fn check(&self, wrong: &mut impl FnMut(&str, String)) -> Option<Patterns> {
        let mut set = |key: &str, patterns: &[String]| {
            if patterns.iter().any(String::is_empty) {
                wrong(key, "holds an empty pattern, which matches every message".into());
                return None;
            }
            let set = RegexSetBuilder::new(patterns).case_insensitive(true).multi_line(true).build();
            set.map_err(|error| wrong(key, format!("holds no regular expression: {error}"))).ok()
        };
        let refresh = set("classify.refresh_patterns", &self.refresh_patterns);
        let halt = set("classify.halt_patterns", &self.halt_patterns);
        Some(Patterns { refresh: refresh?, halt: halt? })
    }
}
