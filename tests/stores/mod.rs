//! Which store a test runs against: the embedded one, which needs nothing, and with the feature `servers` a real Redis,
//! named by `POSTBACK_TEST_REDIS`.

#[cfg(feature = "servers")]
mod real;

use std::cell::RefCell;
use std::sync::LazyLock;

use postback::embedded::store::Store;

/// One for all tests of a binary; keys keep them apart.
static EMBEDDED: LazyLock<Store> = LazyLock::new(|| Store::start().unwrap());

thread_local! {
    /// Every test has a thread of its own.
    static URL: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A client of the store that this test runs against.
pub fn redis() -> redis::Client {
    URL.with_borrow(|url| redis::Client::open(url.as_str()).unwrap())
}

/// Runs a test against the embedded store.
pub fn on_embedded(test: impl FnOnce()) {
    URL.set(EMBEDDED.url());
    test();
}

/// Runs a test against a real Redis.
#[cfg(feature = "servers")]
pub fn on_real(test: impl FnOnce()) {
    URL.set(real::url());
    test();
}

/// Makes each of these functions a test on both stores. One that is left out is never used, which clippy refuses.
macro_rules! on_both_stores {
    ($($name:ident)+) => {
        mod on_the_embedded_store {
            $(#[test] fn $name() { crate::stores::on_embedded(super::$name) })+
        }

        #[cfg(feature = "servers")]
        mod on_a_real_redis {
            $(#[test] fn $name() { crate::stores::on_real(super::$name) })+
        }
    };
}
pub(crate) use on_both_stores;
