//! What is read back for people: dead letters, the trace of one event, the request that an event would become.

pub mod dead_letters;
pub mod preview;
pub mod trace;
