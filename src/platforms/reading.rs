//! What the answer of a platform says of the items of one request.

use crate::error::{Answer, DeliveryError};
use crate::platforms::headers::Headers;
use crate::platforms::retry_after;
use crate::redact::{mask_event_text, mask_long_numbers};

/// The platform's acceptance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The platform's own id of the conversion, if it returns one.
    pub platform_id: Option<String>,
}

/// What an answer means for one item.
pub type Verdict = Result<Receipt, DeliveryError>;

/// An answer as it was received.
#[derive(Clone, Copy, Debug)]
pub struct HttpAnswer<'a> {
    pub status: u16,
    /// The text of its header `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// All of its headers.
    pub headers: Headers<'a>,
    /// The body, unpacked.
    pub body: &'a [u8],
    /// The time of the answer, epoch ms: the answer's own `Date` if it has one, else our clock.
    pub now_ms: i64,
}

impl HttpAnswer<'_> {
    /// The time of the answer by the platform's own clock, by which its limits of a minute and a day end. If its clock
    /// does not say, the time is ours.
    pub fn platform_now_ms(&self) -> i64 {
        self.headers.get("date").and_then(retry_after::date_ms).unwrap_or(self.now_ms)
    }

    /// The part of an error's answer that every error has.
    pub fn answer(&self) -> Answer {
        Answer { status: Some(self.status), sent: true, ..Answer::default() }
    }
}

/// What the platform's own rules find in an answer.
#[derive(Clone, Debug)]
pub enum Reading {
    /// One verdict for all items. A success counts only if the status is 2xx.
    All(Verdict),
    /// A verdict for each item, in their order. `None`: the answer does not mention the item. A platform that lists
    /// only its errors returns a success for an item that it does not mention.
    Each(Vec<Option<Verdict>>),
    /// The platform's rules recognise nothing in the body: the status decides.
    Nothing,
    /// The platform refuses the request as a whole because of some of its items. Each item is to be sent alone.
    Split,
}

/// What an answer means for the items of its request.
#[derive(Clone, Debug)]
pub enum Verdicts {
    /// One verdict for all items. A request of one item always has this form.
    All(Verdict),
    /// One per item, in their order.
    Each(Vec<Verdict>),
    /// Each item is to be sent alone. A request of one item never has this form.
    Split,
}

impl Verdicts {
    /// Gives each error without a code of the platform the one that `code` finds in the answer.
    pub fn with_code(mut self, code: impl FnOnce() -> String) -> Self {
        let verdicts = match &mut self {
            Self::All(verdict) => std::slice::from_mut(verdict),
            Self::Each(verdicts) => verdicts,
            Self::Split => &mut [],
        };
        let answers = verdicts.iter_mut().filter_map(|verdict| verdict.as_mut().err()?.answer_mut());
        let mut without: Vec<&mut Answer> = answers.filter(|answer| answer.code.is_empty()).collect();
        if !without.is_empty() {
            let code = code();
            without.iter_mut().for_each(|answer| answer.code.clone_from(&code));
        }
        self
    }

    /// Gives each error whose code is in no table the beginning of the answer.
    pub fn with_sample(mut self, body: &[u8]) -> Self {
        let verdicts = match &mut self {
            Self::All(verdict) => std::slice::from_mut(verdict),
            Self::Each(verdicts) => verdicts,
            Self::Split => &mut [],
        };
        verdicts.iter_mut().filter_map(|verdict| verdict.as_mut().err()).for_each(|error| add_sample(error, body));
        self
    }

    /// The verdict of a request that has only one item.
    pub fn one(self) -> Verdict {
        match self {
            Self::All(verdict) => verdict,
            Self::Each(_) | Self::Split => Err(DeliveryError::Ambiguous(Answer {
                detail: "an answer for several events to a request of one".into(),
                sent: true,
                ..Answer::default()
            })),
        }
    }
}

/// The longest sample of an answer, in characters.
const SAMPLE: usize = 256;
/// Masking reads this many bytes of an answer. It reads more than is shown, so that the cut cannot show half of a
/// number.
const MASKED_BYTES: usize = 4096;

/// Gives an error whose code is in no table the beginning of the answer, masked, for people.
pub fn add_sample(error: &mut DeliveryError, body: &[u8]) {
    let Some(answer) = error.answer_mut().filter(|answer| answer.unclassified) else { return };
    let masked = mask_event_text(&body[..body.len().min(MASKED_BYTES)]);
    let masked = mask_long_numbers(&masked);
    let shown = masked.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let sample: String = shown.take(SAMPLE).collect();
    answer.sample = (!sample.is_empty()).then(|| sample.into());
}

/// How much one request may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most items, at least one.
    pub items: usize,
    /// The most bytes of all items together. A single item may have more.
    pub bytes: usize,
}

impl BatchLimits {
    /// What is left of the limits after so many items and bytes.
    pub fn less(self, items: usize, bytes: usize) -> Self {
        Self { items: self.items.saturating_sub(items), bytes: self.bytes.saturating_sub(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_short_and_masked_and_only_of_what_no_table_lists() {
        let sample = |unclassified, body: &str| {
            let answer = Answer { unclassified, ..Answer::default() };
            let verdicts = Verdicts::All(Err(DeliveryError::Retry(answer))).with_sample(body.as_bytes());
            verdicts.one().unwrap_err().answer().unwrap().sample.clone().map(String::from)
        };
        assert_eq!(sample(false, "{\"errno\":77}"), None);
        assert_eq!(sample(true, "{\"errno\":77}").as_deref(), Some("{\"errno\":77}"));
        assert_eq!(sample(true, " \r\n"), None);
        let masked =
            sample(true, "{\"msg\":\"13812345678 is unknown\",\"access_token\":\"abcdef0123456789\"}").unwrap();
        assert!(masked.contains("138****5678") && !masked.contains("abcdef0123456789"), "{masked}");
        let long = sample(true, &format!("a\nb{}13812345678", "x".repeat(300))).unwrap();
        assert_eq!((long.chars().count(), &long[..4]), (SAMPLE, "a bx"));
    }
}
