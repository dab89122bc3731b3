//! The terms that 360 and an account agreed on.

use std::fmt;

/// The settings of one account at 360.
#[derive(Clone, Default)]
pub(super) struct Qihoo360Account {
    /// App-Keys and secrets. Several may be valid at once during a rotation.
    pub(super) keys: Vec<(String, String)>,
    /// The usual product line, e.g. `ocpc_ps_convert`. It only serves to tell accounts apart that share an App-Key. The
    /// fake accepts every line, because an event may name another one.
    pub(super) data_industry: Option<String>,
    /// The display advertiser id. If it is set, zs accepts no other id.
    pub(super) jzqs: Option<String>,
    /// Set if an authorised consultation tool reports. The member is then mandatory, otherwise forbidden.
    pub(super) data_source: Option<String>,
    /// Accept a `qhclickid` of any length, because the documented lengths contradict the documented samples. The worker
    /// does the same unless `validate.click_len` is `strict`.
    pub(super) any_click_length: bool,
}

// Written by hand, so that it never prints a secret.
impl fmt::Debug for Qihoo360Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(key, _)| key)).finish()
    }
}
