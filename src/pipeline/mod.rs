//! One event, top to bottom: [`gate`] examines it, its [`lane`] takes it to [`process`], [`settle`] ends it.

pub mod address;
pub mod claim;
mod claim_scripts;
pub mod config;
pub mod dedupe;
pub mod delivery;
pub mod dispatch;
pub mod gate;
pub mod handle;
pub mod lane;
pub mod limit;
pub mod process;
pub mod recent;
pub mod retry;
pub mod runtime;
pub mod settle;
pub mod shared;
