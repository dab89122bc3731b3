//! Why a filter refuses an event.

use minijinja::{Error, ErrorKind, Value};

use crate::platforms::declared::json::JsonObject;

/// Why an event cannot be sent: the dotted path of the event, and the reason.
#[derive(Debug)]
pub(in crate::platforms::declared) struct Refusal {
    pub field: String,
    pub reason: &'static str,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    pub fn error(field: String, reason: &'static str) -> Error {
        Error::new(ErrorKind::InvalidOperation, reason).with_source(Self { field, reason })
    }

    /// The refusal inside an error.
    pub fn of(error: &Error) -> Option<&Refusal> {
        std::error::Error::source(error).and_then(|source| source.downcast_ref())
    }
}

/// The dotted path in the event of a value, where it is an object of it.
pub(super) fn path_of(value: &Value) -> Option<&str> {
    value.downcast_object_ref::<JsonObject>().map(JsonObject::path)
}
