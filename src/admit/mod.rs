//! Turns a received record into a delivery for its lane, or into one that has ended.

pub(crate) mod accounting;
pub(crate) mod backpressure;
pub mod examine;
