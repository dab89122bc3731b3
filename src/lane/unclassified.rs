//! Answers that no table lists. Each kind is logged when an account first sees it, so that somebody looks at it, but a
//! platform that returns thousands of them causes one line.

use std::cell::RefCell;

use crate::error::Answer;

/// The most kinds that are remembered. More kinds than this are probably the platform's own numbers in another field;
/// they are counted without a log line.
const MOST: usize = 32;

/// The kinds that an account has seen: status, code and detail.
#[derive(Default)]
pub struct Unclassified(RefCell<Vec<(Option<u16>, String, String)>>);

impl Unclassified {
    /// Whether the answer is of a kind that the account had not seen before.
    pub(super) fn is_new(&self, answer: &Answer) -> bool {
        let mut seen = self.0.borrow_mut();
        let known = |(status, code, detail): &(Option<u16>, String, String)| {
            *status == answer.status && *code == answer.code && *detail == answer.detail
        };
        if seen.len() >= MOST || seen.iter().any(known) {
            return false;
        }
        seen.push((answer.status, answer.code.clone(), answer.detail.clone()));
        true
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
            assert!(seen.is_new(kind), "{kind:?}");
        }
        for kind in &kinds {
            assert!(!seen.is_new(kind), "{kind:?}");
        }
        let more = (100..200).filter(|code| seen.is_new(&answer(Some(200), &code.to_string(), "x"))).count();
        assert_eq!(more, MOST - kinds.len());
    }
}
