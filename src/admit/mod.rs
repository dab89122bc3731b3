//! What becomes of a record that was received: a delivery for its lane, or its end.

pub(crate) mod accounting;
pub(crate) mod backpressure;
pub mod examine;
