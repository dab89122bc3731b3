//! Access tokens: one set per account for all replicas, kept encrypted in Redis (core.md section 9).

pub mod record;
pub mod rules;
pub mod seal;
