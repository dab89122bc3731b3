//! One event, top to bottom.

pub mod claim;
mod claim_scripts;
pub mod config;
pub mod dedupe;
pub mod dispatch;
pub mod limit;
pub mod recent;
