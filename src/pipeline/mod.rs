//! One event, top to bottom.

pub mod config;
