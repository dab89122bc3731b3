//! The terms that 数环通 and an account agreed on: the keys of `[accounts.NAME]` that this fake uses.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;

use super::endpoint::Endpoint;

pub(super) struct Terms {
    /// Among all accounts of the sandbox.
    pub(super) index: usize,
    /// App keys and secrets. Several may be valid at once during a rotation.
    pub(super) credentials: Vec<(String, String)>,
    pub(super) settings: Settings,
}

// Written by hand, so that it never prints a secret.
impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.credentials.iter().map(|(key, _)| key)).finish()
    }
}

impl Terms {
    pub(super) fn has_key(&self, key: &str) -> bool {
        self.credentials.iter().any(|(own, _)| own == key)
    }

    /// The common parameters that this call has to carry, and no others.
    pub(super) fn common(&self, endpoint: Endpoint) -> Vec<&str> {
        let stated = endpoint.name().split_once('.').and_then(|(group, name)| self.settings.call.get(group)?.get(name));
        if let Some(stated) = stated.and_then(|keys| keys.common_params.as_ref()) {
            return stated.iter().map(String::as_str).collect();
        }
        let sign = &self.settings.sign;
        match endpoint {
            Endpoint::TokenGet | Endpoint::TokenRefresh => vec!["method", "appKey", "timestamp", "version"],
            Endpoint::TemplateList | Endpoint::DeleteFlows => vec!["appKey", "timestamp", "version"],
            _ => {
                let mut all = vec!["method", "appKey", "accessToken", "timestamp", "version"];
                if sign.trigger && sign.send_sign_method.unwrap_or(sign.profile == "demo") {
                    all.push("signMethod");
                }
                all
            }
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    pub(super) open_id: Option<String>,
    pub(super) sign: Sign,
    pub(super) token: Seed,
    call: HashMap<String, HashMap<String, Keys>>,
    pub(super) max_span_days: Option<i64>,
    /// How many orders and rows there are; of tests and demos alone.
    pub(super) sandbox_orders: Option<u64>,
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Sign {
    pub(super) profile: String,
    pub(super) version_label: String,
    pub(super) algorithm: String,
    pub(super) send_sign_method: Option<bool>,
    pub(super) extra_params: Vec<String>,
    pub(super) trigger: bool,
}

impl Default for Sign {
    fn default() -> Self {
        Self {
            profile: "demo".into(),
            version_label: "version".into(),
            algorithm: "md5".into(),
            send_sign_method: None,
            extra_params: Vec::new(),
            trigger: true,
        }
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Seed {
    pub(super) access: Option<String>,
    pub(super) refresh: Option<String>,
    pub(super) auth_code: Option<String>,
    /// How long a new access token and a new refresh token live; of tests and demos alone.
    pub(super) sandbox_life_ms: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    common_params: Option<Vec<String>>,
}
