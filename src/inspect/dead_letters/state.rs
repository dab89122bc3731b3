//! The state of a dead letter: open, replayed or discarded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What has become of a dead letter since it was written.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing yet: it waits for somebody.
    Open,
    /// A replay published it again.
    Replayed,
    /// An operator marked it as done with.
    Discarded,
}

impl State {
    /// Every state, in the order of the contract.
    pub const ALL: [State; 3] = [State::Open, State::Replayed, State::Discarded];

    /// The name in filters and output.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Replayed => "replayed",
            State::Discarded => "discarded",
        }
    }
}
