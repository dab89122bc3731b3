//! Which event is traced.

/// Which event is meant.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub trans_id: String,
    /// Only of this platform.
    pub platform: Option<&'static str>,
    /// Only of this account.
    pub account: Option<String>,
}

impl Wanted {
    /// Whether these are its names, as far as they are known.
    pub(super) fn is(&self, trans_id: Option<&str>, platform: Option<&str>, account: Option<&str>) -> bool {
        trans_id == Some(&*self.trans_id)
            && self.platform.is_none_or(|wanted| platform == Some(wanted))
            && self.account.as_deref().is_none_or(|wanted| account == Some(wanted))
    }
}
