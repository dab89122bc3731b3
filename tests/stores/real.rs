//! The real Redis, which `POSTBACK_TEST_REDIS` names.

/// Where it is.
pub fn url() -> String {
    let address = std::env::var("POSTBACK_TEST_REDIS").expect("POSTBACK_TEST_REDIS is not set: run tests/run");
    if address.contains("://") { address } else { format!("redis://{address}") }
}
