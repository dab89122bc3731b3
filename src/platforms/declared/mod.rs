//! Platforms that need no code: each is one TOML file (contract section 10).
//!
//! [`Definition`] is such a file as it is written. The sandbox plays a declared platform from the same structs, and
//! shares nothing else with this folder.

mod answer_json;
mod blobs;
mod definition;
mod engine;
mod example;
mod filters;
mod interner;
mod json;
mod keys;
mod load;
mod operand;
mod platform;
mod program;
mod sender;
#[cfg(test)]
mod tests;
mod write;

pub use definition::{
    Account, Answer, AnswerItems, Batch, CallPart, Check, Definition, Example, ExampleAnswer, ExampleRequest, Key,
    KeyKind, Limit, Native, Ordered, Refused, RequestPart, Shape, Sign, Template, Token, Unconfirmed, Unmentioned,
};
pub use example::ExampleResult;
pub use load::definition;
pub use platform::{DeclaredPlatform, load};
