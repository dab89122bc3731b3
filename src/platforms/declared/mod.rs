//! Platforms that need no code: each is one TOML file (contract section 10).
//!
//! [`Definition`] is such a file as it is written. The sandbox plays a declared platform from the same structs, and shares
//! nothing else with this folder.

mod definition;
mod load;
#[cfg(test)]
mod tests;

pub use definition::{
    Account, Answer, AnswerItems, Batch, Check, Definition, Example, ExampleAnswer, ExampleRequest, Key, KeyKind,
    Native, Ordered, Refused, RequestPart, Shape, Sign, Template, Token, Unconfirmed, Unmentioned,
};
pub use load::definition;
