//! The event that is traced.

use crate::account::Account;

/// Names the event to trace.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub trans_id: String,
    /// Only events of this platform.
    pub platform: Option<&'static str>,
    /// Only events of this account.
    pub account: Option<String>,
}

impl Wanted {
    /// Whether the event may be one of this account.
    pub(super) fn may_be_of(&self, account: &Account) -> bool {
        self.platform.is_none_or(|platform| platform == account.platform)
            && self.account.as_deref().is_none_or(|name| name == &*account.name)
    }

    /// Whether these names belong to the event. A name that is not known does not exclude it.
    pub(super) fn is(&self, trans_id: Option<&str>, platform: Option<&str>, account: Option<&str>) -> bool {
        trans_id == Some(&*self.trans_id)
            && self.platform.is_none_or(|wanted| platform == Some(wanted))
            && self.account.as_deref().is_none_or(|wanted| account == Some(wanted))
    }
}
