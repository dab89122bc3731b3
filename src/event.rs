//! The conversion event as producers publish it (SPEC section 7): decoding and the rules of the envelope.

use schemars::JsonSchema;

/// One conversion.
#[derive(Clone, Debug, JsonSchema)]
pub struct ConversionEvent {
    /// Identity.
    pub trans_id: String,
}
