//! The file of a declared platform as it is written: every key, before any expression in it is compiled.

mod call;
mod example;
mod parts;
mod values;

use serde::{Deserialize, Deserializer};

use crate::config::fields::{refuse_text, whole};
use crate::units::parse_size;

pub use call::{CallPart, Limit};
pub use example::{Example, ExampleAnswer, ExampleRequest, Refused};
pub use parts::{Answer, AnswerItems, Check, RequestPart, Sign, Unmentioned};
pub use values::{Native, Ordered, Shape, Template};

/// One platform.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Definition {
    /// Its name in configuration and events, `[a-z][a-z0-9_]*`.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// Where real conversions go, without a trailing `/`. Empty: each account says it.
    pub base_url: String,
    /// Where its rules were read, and when.
    pub docs: String,
    /// For people: what the platform itself suppresses repeats by. Empty: nothing is known.
    pub dedupes_by: String,
    /// For people: for how long it does so.
    pub window: String,
    /// For people: what happens if a conversion is sent twice.
    pub repeats: String,
    /// For people: how much it takes per second, minute or day.
    pub limits: String,
    /// What its rules do not say for certain.
    pub unconfirmed: Vec<Unconfirmed>,
    pub account: Account,
    /// Canonical event to native one. Empty: the platform takes every event by its canonical name.
    pub events: Ordered<Native>,
    /// Dotted path of the event to the expression that says when it must be there; judged in this order.
    pub require: Ordered<String>,
    /// Dotted path of the event to a rule that refuses it; judged in this order, after `require`.
    pub check: Ordered<Check>,
    /// The first one whose `when` holds is sent. None: the platform takes no conversions.
    pub request: Vec<RequestPart>,
    /// Requests whose answer is published, by the names that events have for them.
    pub calls: Ordered<CallPart>,
    /// Absent: one request per event.
    pub batch: Option<Batch>,
    pub answer: Answer,
    /// Absent: it sends without access tokens.
    pub token: Option<Token>,
    pub test: Vec<Example>,
}

/// A rule that nobody could confirm.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Unconfirmed {
    pub what: String,
    /// The key of an account that covers it; empty: none does.
    pub switch: String,
}

/// `[account]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Account {
    /// The keys that only its accounts have. A dotted name is a member of a table: `"token.client_id"`.
    pub keys: Ordered<Key>,
}

/// One key of an account.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Key {
    /// It is masked wherever it stands.
    pub secret: bool,
    pub required: bool,
    /// Absent: as its default or its values are written, else a text.
    pub kind: Option<KeyKind>,
    /// What it may be; empty: anything.
    pub values: Vec<Native>,
    /// Absent: an account without the key has none.
    pub default: Option<Native>,
}

/// What a key of an account holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    Text,
    Integer,
    /// With decimals or without.
    Number,
    Flag,
    /// A path below the account's base URL, or a whole URL there. Expressions see the path.
    Url,
}

/// `[batch]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Batch {
    #[serde(deserialize_with = "whole::<_, _, 1, 10_000>")]
    pub max_items: usize,
    /// The items of one request together.
    #[serde(deserialize_with = "bytes")]
    pub max_bytes: usize,
    /// What each event contributes to `items`.
    pub item: Option<Shape>,
}

impl Default for Batch {
    fn default() -> Self {
        Self { max_items: 1, max_bytes: 1 << 20, item: None }
    }
}

/// A size, or a number of bytes.
fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let text = match Native::deserialize(from)? {
        Native::Integer(bytes) => format!("{bytes}B"),
        other => other.to_string(),
    };
    let fine = |size: &usize| (1..=64 << 20).contains(size);
    parse_size(&text)
        .filter(fine)
        .ok_or_else(|| refuse_text("has to be a size such as \"50KiB\", at most 64MiB", &text))
}

/// `[token]`: how access tokens are asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Token {
    pub request: RequestPart,
    /// Expressions over the answer, as in `[answer]`.
    pub access: String,
    /// Empty or undefined: the old one stays valid.
    pub refresh: String,
    /// Seconds.
    pub expires_in: String,
    pub expires_at_ms: String,
    pub refresh_expires_at_ms: String,
    /// The share of a token's life after which it is refreshed: a number, or a template over `account`. Empty: ten
    /// minutes before its end, or a fifth of its life before, if that is shorter.
    pub refresh_ratio: Template,
    /// Whether the platform refuses to issue one, so that somebody has to authorise the account anew.
    pub failed: String,
}
