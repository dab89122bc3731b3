//! The topics of a bench.

pub(crate) const TIER_5S: &str = "postback.retry.5s";
pub(crate) const TIER_30S: &str = "postback.retry.30s";
pub(crate) const PARKED: &str = "postback.parked.acme";
pub(crate) const DEAD: &str = "postback.dlt";
pub(crate) const RECEIPTS: &str = "postback.receipts";
pub(crate) const RESULTS: &str = "postback.results";
pub(crate) const TOPICS: [&str; 6] = [TIER_5S, TIER_30S, PARKED, DEAD, RECEIPTS, RESULTS];
