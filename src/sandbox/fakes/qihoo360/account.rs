//! What 360 has agreed with an account.

use std::fmt;

/// What 360 knows of an account.
#[derive(Clone, Default)]
pub(super) struct Qihoo360Account {
    /// App-Key and secret; several may be valid at once while rotating.
    pub(super) keys: Vec<(String, String)>,
    /// Usual product line, e.g. `ocpc_ps_convert`. It only tells accounts apart that share an App-Key: every line is
    /// accepted, since an event may name another one.
    pub(super) data_industry: Option<String>,
    /// Display advertiser id: where set, zs accepts no other.
    pub(super) jzqs: Option<String>,
    /// Set where an authorised consultation tool reports: the member is then mandatory, else forbidden.
    pub(super) data_source: Option<String>,
    /// Accept a `qhclickid` of any length: the documented lengths contradict the documented samples. The worker does as
    /// well, unless `validate.click_len` is `strict`.
    pub(super) any_click_length: bool,
}

// By hand, so that no secret is ever printed.
impl fmt::Debug for Qihoo360Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(key, _)| key)).finish()
    }
}
