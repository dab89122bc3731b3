//! One file per command of the contract: arguments in, calls, text or JSON out.

pub mod accounts;
pub mod blocked;
pub mod source;
pub mod table;
pub mod unblock;
