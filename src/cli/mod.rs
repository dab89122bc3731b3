//! One file per command of the contract: arguments in, calls, text or JSON out.

pub mod sandbox;
