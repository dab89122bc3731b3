//! The file of a declared platform as it is written: every key, before any expression in it is compiled.

mod call;
mod example;
mod values;

use serde::{Deserialize, Deserializer};

use crate::config::fields::{refuse_text, whole};
use crate::units::parse_size;

pub use call::{CallPart, Limit};
pub use example::{Example, ExampleAnswer, ExampleRequest, Refused};
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
    Flag,
}

/// `[check]`: any other rule of an event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Check {
    /// An event for which this expression holds is refused.
    pub when: String,
    /// Why, for people.
    pub says: String,
}

/// `[[request]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RequestPart {
    /// An expression; empty: always.
    pub when: String,
    /// Empty: `POST` where there is a body, form or json, else `GET`.
    pub method: String,
    /// A template below `base_url`. With `callback` it is the whole address; empty: the event's own.
    pub url: String,
    /// The dotted path of the event at which a whole address stands.
    pub callback: String,
    /// The hosts to which `callback` may lead.
    pub hosts: Vec<String>,
    /// Canonical event to native one, where this form has others than `[events]`.
    pub events: Ordered<Native>,
    /// Empty ones are left out.
    pub query: Ordered<Template>,
    /// Empty ones are left out.
    pub headers: Ordered<Template>,
    /// A template.
    pub body: Option<String>,
    /// `application/x-www-form-urlencoded`; empty ones are left out.
    pub form: Option<Ordered<Template>>,
    /// The texts in it are templates. A text that is one expression keeps its type, and is left out where it is none or
    /// undefined.
    pub json: Option<Shape>,
    pub sign: Option<Sign>,
}

/// The signature of a request: computed last, over exactly what is sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Sign {
    /// The header that carries it.
    pub header: String,
    /// Or the parameter of the query.
    pub query: String,
    /// Or the field of the form, behind the others.
    pub form: String,
    /// A template that sees `method`, `url`, `query`, `body` and, of a form, its fields as `form`.
    pub value: String,
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

/// `[answer]`: expressions over `status`, `headers`, `body` (JSON or none) and `text`. The first that holds is its class, in
/// this order.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    pub delivered: String,
    pub refresh: String,
    pub halt: String,
    pub throttled: String,
    /// The limit of the minute is used up: nothing is sent before the next one. It is asked of every answer, also of one
    /// that delivers.
    pub minute: String,
    /// Of a throttled answer: the limit of the day is used up. The account waits for midnight in the zone `tz`.
    pub day: String,
    pub tz: String,
    pub permanent: String,
    /// The nonce or the timestamp of the request is refused: it is signed anew and sent once more. The second time in a
    /// row halts the account.
    pub once_more: String,
    pub retry: String,
    /// The platform's own code.
    pub code: String,
    /// The platform's own id of the conversion.
    pub platform_id: String,
    /// Batches: all are to be sent again, one by one.
    pub split: String,
    /// Batches: where each item's own verdict stands.
    pub items: Option<AnswerItems>,
}

/// `[answer.items]`: the expressions also see `item`, a member of the list at `at`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AnswerItems {
    /// An expression: whether the answer speaks of single items at all; empty: where the list is there.
    pub when: String,
    /// An expression: the list.
    pub at: String,
    /// The member of `item` that says which item of the request it is about; empty: the list has the request's order.
    pub index: String,
    /// What the first item of a request has as its index: a number, or a template over `account`.
    pub index_base: Template,
    pub unmentioned: Unmentioned,
    pub delivered: String,
    pub retry: String,
    pub throttled: String,
    pub permanent: String,
    pub code: String,
    pub platform_id: String,
}

/// What an item is that the answer does not mention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unmentioned {
    #[default]
    Ambiguous,
    /// The answer lists its errors alone.
    Delivered,
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
    /// Whether the platform refuses to issue one, so that somebody has to authorise the account anew.
    pub failed: String,
}
