//! What a platform says of the items of one request.

use crate::error::{Answer, DeliveryError};

/// The platform's acceptance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The platform's own id of the conversion, if it gives one.
    pub platform_id: Option<String>,
}

/// What an answer means for one item.
pub type Verdict = Result<Receipt, DeliveryError>;

/// An answer as it came.
#[derive(Clone, Copy, Debug)]
pub struct HttpAnswer<'a> {
    /// Its HTTP status.
    pub status: u16,
    /// The text of its `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// Its body, unpacked.
    pub body: &'a [u8],
    /// The time of the answer, epoch ms, by the clock that wrote it where it tells, else by ours.
    pub now_ms: i64,
}

impl HttpAnswer<'_> {
    /// What an error made of it carries in any case.
    pub fn answer(&self) -> Answer {
        Answer { status: Some(self.status), sent: true, ..Answer::default() }
    }
}

/// What a body says, in the words of one platform.
#[derive(Clone, Debug)]
pub enum Reading {
    /// The same for every item. A success is believed only on a 2xx.
    All(Verdict),
    /// A verdict for each item, in their order; `None`: the answer does not mention it. A platform that lists only its errors
    /// states a success for what it does not mention.
    Each(Vec<Option<Verdict>>),
    /// Nothing that the platform's rules know: the status decides.
    Nothing,
    /// It refuses the request as a whole, because of some of its items: each is to be sent alone.
    Split,
}

/// What an answer means for the items of its request.
#[derive(Clone, Debug)]
pub enum Verdicts {
    /// The same for all; always so where there is one item.
    All(Verdict),
    /// One per item, in their order.
    Each(Vec<Verdict>),
    /// Each is to be sent alone. Never said of one item.
    Split,
}

impl Verdicts {
    /// That of a request's only item.
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

/// How much one request may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Items, at least one.
    pub items: usize,
    /// Their bytes together; a single item may have more.
    pub bytes: usize,
}

impl BatchLimits {
    /// What is left of it beside so many items and bytes.
    pub fn less(self, items: usize, bytes: usize) -> Self {
        Self { items: self.items.saturating_sub(items), bytes: self.bytes.saturating_sub(bytes) }
    }
}
