//! `[[test]]`: an example in the file of a declared platform, from the event to the class of the answer.

use serde::Deserialize;

use super::values::{Ordered, Shape};

/// An event, and what becomes of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Example {
    /// What it shows, for people.
    pub name: String,
    /// The time of sending.
    pub now_ms: i64,
    pub event: Option<Shape>,
    /// Of a batch, instead of `event`.
    pub events: Vec<Shape>,
    /// Its keys beside the platform, dotted or as tables.
    pub account: Ordered<Shape>,
    /// `access` and `refresh`, where the platform has tokens.
    pub token: Ordered<String>,
    /// The headers of the request that matter.
    pub headers: Ordered<String>,
    pub request: Option<ExampleRequest>,
    pub answer: Option<ExampleAnswer>,
    /// The event is refused instead of sent.
    pub refused: Option<Refused>,
}

/// The request that the event causes; what is absent is not compared.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ExampleRequest {
    pub method: Option<String>,
    pub url: Option<String>,
    pub body: Option<String>,
}

/// An answer, and what it means.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ExampleAnswer {
    pub status: u16,
    pub headers: Ordered<String>,
    pub body: String,
    /// The class of all items, or `split`.
    pub class: String,
    /// Of a batch: one class per item, instead of `class`.
    pub classes: Vec<String>,
    /// The platform's code, where it matters.
    pub code: Option<String>,
    /// The platform's own id, where it matters.
    pub platform_id: Option<String>,
    /// Of a call: `data` of its result, before personal data is masked; where it matters.
    pub result: Option<Shape>,
    /// Of a call: the platform's own words, where they matter.
    pub message: Option<String>,
}

/// Why the event is not sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Refused {
    /// `invalid` or `unmapped_event`.
    pub reason: String,
    /// The dotted path of the event.
    pub field: String,
}
