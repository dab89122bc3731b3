//! What a file as a whole and its calls have in common: requests, rules and the meaning of answers.

use serde::Deserialize;

use super::values::{Native, Ordered, Shape, Template};

/// `[check]`: any other rule of an event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Check {
    /// An event is refused if this expression holds, and also if it fails. It does not hold if it names a value that is
    /// not there.
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

/// `[answer]`: expressions over `status`, `headers`, `body` (JSON or none) and `text`. The first that holds is its
/// class, in this order.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    pub delivered: String,
    pub refresh: String,
    pub halt: String,
    pub throttled: String,
    /// The limit of the minute is used up: nothing is sent before the next one. It is asked of every answer, also of
    /// one that delivers.
    pub minute: String,
    /// Of a throttled answer: the limit of the day is used up. The account waits for midnight in the zone `tz`.
    pub day: String,
    pub tz: String,
    pub permanent: String,
    /// The platform refuses the request, perhaps not because of the event: e.g. because of its nonce or its timestamp.
    /// It is signed anew and sent once more. The second such answer in a row halts the account.
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
