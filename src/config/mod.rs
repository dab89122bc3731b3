//! Reads configuration: layers of TOML and environment, the place of every key, problems that are all told at once.
//!
//! The layers become one tree ([`layers`]), which the plain serde structs of the modules are read from ([`read`]). What a
//! struct says of a field is all that this code knows of it.

pub(crate) mod deserialize;
pub(crate) mod fields;
pub(crate) mod layers;
pub(crate) mod overlay;
pub mod problem;
pub(crate) mod read;
pub(crate) mod secret;
pub(crate) mod suggest;
pub(crate) mod tree;

pub(crate) use suggest::nearest;
