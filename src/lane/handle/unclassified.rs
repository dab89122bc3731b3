//! Answers that no table lists. Each kind is logged when an account first sees it, so that somebody looks at it, but a
//! platform that returns thousands of them causes one line. The status lists them all with what the platform said.

use std::sync::{Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Answer;

/// The most kinds that are remembered. More kinds than this are probably the platform's own numbers in another field;
/// they are counted without a log line.
const MOST: usize = 32;

/// The kinds that an account has seen.
#[derive(Default)]
pub struct Unclassified(Mutex<Vec<UnclassifiedCode>>);

/// A kind of answer that no table lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "UnclassifiedRow")]
pub struct UnclassifiedCode {
    /// The HTTP status. Null if no answer came.
    pub status: Option<u16>,
    /// The platform's own code. Empty if there is none.
    pub code: String,
    /// What is wrong with the answer.
    pub detail: String,
    /// The beginning of the newest answer of this kind, with personal data and secrets masked.
    pub sample: String,
    pub count: u64,
    /// When it was seen first, in epoch ms.
    pub first_ms: i64,
    /// When it was seen last, in epoch ms.
    pub last_ms: i64,
}

impl Unclassified {
    /// Counts an answer. Returns whether it is of a kind that the account had not seen before.
    pub fn note(&self, answer: &Answer, now_ms: i64) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |kind: &&mut UnclassifiedCode| {
            kind.status == answer.status && kind.code == answer.code && kind.detail == answer.detail
        };
        let sample = answer.sample.as_deref().unwrap_or_default();
        if let Some(kind) = seen.iter_mut().find(is_it) {
            kind.count += 1;
            kind.last_ms = now_ms;
            if !sample.is_empty() {
                sample.clone_into(&mut kind.sample);
            }
            return false;
        }
        if seen.len() >= MOST {
            return false;
        }
        seen.push(UnclassifiedCode {
            status: answer.status,
            code: answer.code.clone(),
            detail: answer.detail.clone(),
            sample: sample.to_owned(),
            count: 1,
            first_ms: now_ms,
            last_ms: now_ms,
        });
        true
    }

    /// All kinds, in the order in which they were first seen.
    pub fn all(&self) -> Vec<UnclassifiedCode> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: Option<u16>, code: &str, detail: &str) -> Answer {
        Answer { status, code: code.into(), detail: detail.into(), ..Answer::default() }
    }

    #[test]
    fn each_kind_is_new_once_and_there_is_an_end_to_kinds() {
        let seen = Unclassified::default();
        let kinds = [
            answer(Some(200), "", "an answer that cannot be read"),
            answer(None, "", "an answer that cannot be read"),
            answer(Some(200), "7", "a code that is in no table"),
            answer(Some(200), "8", "a code that is in no table"),
        ];
        for kind in &kinds {
            assert!(seen.note(kind, 1), "{kind:?}");
        }
        for kind in &kinds {
            assert!(!seen.note(kind, 2), "{kind:?}");
        }
        let more = (100..200).filter(|code| seen.note(&answer(Some(200), &code.to_string(), "x"), 3)).count();
        assert_eq!(more, MOST - kinds.len());
        assert_eq!(seen.all().len(), MOST);
    }

    #[test]
    fn a_kind_is_counted_with_its_times_and_shows_the_newest_sample() {
        let seen = Unclassified::default();
        for (at_ms, sample) in [(5, Some("{\"errno\":77}")), (6, None), (9, Some("{\"errno\":77,\"n\":2}"))] {
            let answer = Answer { sample: sample.map(Into::into), ..answer(Some(200), "77", "in no table") };
            seen.note(&answer, at_ms);
        }
        let all = seen.all();
        assert_eq!((all[0].count, all[0].first_ms, all[0].last_ms), (3, 5, 9));
        assert_eq!(all[0].sample, "{\"errno\":77,\"n\":2}");
    }
}
