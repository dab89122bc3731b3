//! One event, top to bottom: [`gate`] examines it, its [`lane`] takes it to [`process`], [`settle`] decides its end and
//! the [`desk`] carries it out.

pub mod address;
pub mod claim;
pub mod config;
pub mod dedupe;
pub mod delivery;
pub mod desk;
pub mod dispatch;
mod fine_timer;
pub mod gate;
pub mod handle;
pub mod http;
pub mod lane;
pub mod limit;
pub mod process;
mod queues;
mod receipt;
pub mod recent;
pub mod retry;
mod rewrite;
pub mod runtime;
pub mod settle;
pub mod shared;
#[cfg(test)]
mod stub;
pub mod timing;
mod tries;
mod turns;
