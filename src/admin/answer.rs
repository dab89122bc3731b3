//! The answers of the API as JSON.

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::refusal::Refusal;

/// What a handler returns.
pub(super) type Answered<T> = Result<Answer<T>, Refusal>;

/// An answer. Integers beyond 2^53 become texts, because readers in JavaScript would round them.
pub(super) struct Answer<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match serde_json::to_value(self.0) {
            Ok(mut value) => {
                exact(&mut value);
                Json(value).into_response()
            }
            Err(error) => {
                tracing::error!(%error, "an answer of the API cannot be written");
                Refusal::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be written; see the log")
                    .into_response()
            }
        }
    }
}

/// The largest integer that every reader keeps exactly.
const SAFE: u64 = 1 << 53;

/// Writes each integer that a reader might round as text.
pub(super) fn exact(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if size.is_some_and(|size| size > SAFE) {
                *value = Value::String(number.to_string());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(exact),
        Value::Object(members) => members.values_mut().for_each(exact),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn integers_that_a_reader_might_round_are_written_as_text() {
        let mut value = json!([9_007_199_254_740_992_u64, -9_007_199_254_740_993_i64, {"id": 73_314_510_714_175_488_u64}, 1.5, u64::MAX]);
        exact(&mut value);
        let want = json!([9_007_199_254_740_992_u64, "-9007199254740993", {"id": "73314510714175488"}, 1.5, "18446744073709551615"]);
        assert_eq!(value, want);
    }
}
