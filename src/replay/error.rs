//! Why an operator's request about a replay was not carried out, in words that say what to do.

use crate::redis::error::{describe, is_of_keys};
use crate::replay::view::State;

/// Why a request was refused or could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("there is no replay `{0}`: plans are kept for 7 days and runs for 30; `postback replay list` shows them")]
    NotFound(String),
    #[error("replay {id} is {is}, and only one that is {may} can {what}", is = .state.as_str())]
    WrongState { id: String, state: State, what: &'static str, may: &'static str },
    #[error("replay {0} is still being planned: `postback replay status {0}` shows how far it is")]
    StillPlanned(String),
    #[error("replay {id} runs now{by}: wait for its end, or cancel it with `postback replay cancel {id} --why …`")]
    AnotherRuns {
        id: String,
        /// ` (started by NAME)`, or nothing where it is not known.
        by: String,
    },
    #[error("{field}: {message}")]
    Bad { field: String, message: String },
    #[error("{0}")]
    Unavailable(String),
    /// A key holds what no worker wrote.
    #[error("{0}")]
    Foreign(String),
}

impl ReplayError {
    /// A value that cannot be used.
    pub fn bad(field: impl Into<String>, message: impl Into<String>) -> Self {
        ReplayError::Bad { field: field.into(), message: message.into() }
    }

    /// Redis does not answer.
    pub fn redis(error: &::redis::RedisError) -> Self {
        let said = format!("redis: {}", describe(error));
        if is_of_keys(error) { ReplayError::Foreign(said) } else { ReplayError::Unavailable(said) }
    }

    /// Kafka does not answer.
    pub fn kafka(error: impl std::fmt::Display) -> Self {
        ReplayError::Unavailable(format!("kafka: {error}"))
    }

    /// The code of the error in the API.
    pub fn code(&self) -> &'static str {
        match self {
            ReplayError::NotFound(_) => "not_found",
            ReplayError::WrongState { .. } => "wrong_state",
            ReplayError::StillPlanned(_) => "still_planned",
            ReplayError::AnotherRuns { .. } => "another_runs",
            ReplayError::Bad { .. } => "bad_request",
            ReplayError::Unavailable(_) | ReplayError::Foreign(_) => "unavailable",
        }
    }

    /// The HTTP status of the error.
    pub fn status(&self) -> u16 {
        match self {
            ReplayError::NotFound(_) => 404,
            ReplayError::WrongState { .. } | ReplayError::StillPlanned(_) | ReplayError::AnotherRuns { .. } => 409,
            ReplayError::Bad { .. } => 400,
            ReplayError::Unavailable(_) | ReplayError::Foreign(_) => 503,
        }
    }

    /// The field of the request that is wrong.
    pub fn field(&self) -> Option<&str> {
        if let ReplayError::Bad { field, .. } = self { Some(field) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_do() {
        let another = ReplayError::AnotherRuns { id: "r-1".into(), by: " (started by li)".into() };
        assert_eq!(
            another.to_string(),
            "replay r-1 runs now (started by li): wait for its end, or cancel it with `postback replay cancel r-1 --why …`"
        );
        let state =
            ReplayError::WrongState { id: "r-1".into(), state: State::Completed, what: "be run", may: "planned" };
        assert_eq!(state.to_string(), "replay r-1 is completed, and only one that is planned can be run");
        assert_eq!((another.status(), state.status(), state.code()), (409, 409, "wrong_state"));
        let bad = ReplayError::bad("rate", "has to be at least 1");
        assert_eq!(
            (bad.status(), bad.field(), bad.to_string()),
            (400, Some("rate"), "rate: has to be at least 1".into())
        );
    }
}
