//! Reads the configuration: it merges layers of TOML and environment, remembers the place of every key, and reports all
//! problems at once.
//!
//! The layers become one tree (`layers`), from which `read` reads the serde structs of the modules. This code knows
//! of a field only what its struct says.

pub(crate) mod deserialize;
pub(crate) mod fields;
pub(crate) mod layers;
pub(crate) mod overlay;
pub mod problem;
pub(crate) mod read;
pub(crate) mod secret;
pub(crate) mod suggest;
pub(crate) mod tree;
