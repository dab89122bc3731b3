//! What a test may change of its lane, and the settings of every lane under test.

use std::sync::Arc;
use std::time::Duration;

use crate::account::Account;
use crate::stub::calls::Script;
use crate::stub::tokens::Issuer;

/// What a test may change of its lane.
pub(crate) struct Setting {
    pub(crate) account: Account,
    pub(crate) lease: Duration,
    pub(crate) receipts: bool,
    /// Nobody listens at the producer's address.
    pub(crate) no_kafka: bool,
    /// Nobody listens at the platform's address.
    pub(crate) no_platform: bool,
    /// Connecting panics: there is no address at all.
    pub(crate) no_address: bool,
    /// The platform issues tokens, and accepts nothing without one.
    pub(crate) issuer: Option<Arc<Issuer>>,
    /// The platform speaks TLS, answers `ok` to everything, and does this before each handshake.
    pub(crate) before_handshake: Option<Box<dyn Fn() + Send + Sync>>,
    /// The account makes calls and sends no conversions; the platform answers as this says.
    pub(crate) calls: Option<Arc<Script>>,
}

pub(super) fn setting(edit: impl FnOnce(&mut Setting)) -> Setting {
    let mut account = Account::stub("acme");
    account.limits.rps = 1000.0;
    // A busy machine must not make an answer late.
    account.limits.timeout = Duration::from_secs(20);
    let lease = Duration::from_secs(120);
    let mut setting = Setting {
        account,
        lease,
        receipts: true,
        no_kafka: false,
        no_platform: false,
        no_address: false,
        issuer: None,
        before_handshake: None,
        calls: None,
    };
    edit(&mut setting);
    setting
}
