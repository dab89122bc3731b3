//! One event, top to bottom.

pub mod address;
pub mod config;
