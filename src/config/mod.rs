//! Reads configuration: layers of TOML and environment, the place of every key, problems that are all told at once.
//!
//! It knows no key by name: `settings` does.

pub(crate) mod overlay;
pub mod problem;
pub(crate) mod secret;
pub(crate) mod section;
pub(crate) mod tree;
pub(crate) mod value;
