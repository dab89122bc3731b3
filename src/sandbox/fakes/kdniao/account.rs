//! The terms that 快递鸟 and an account agreed on, and the queries of its day.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde::Deserialize;

use super::query::Form;

/// 中国标准时间 is 8 hours ahead of UTC, and has no summer time.
const ZONE_S: i64 = 8 * 3600;
const DAY_S: i64 = 24 * 3600;

/// The keys of `[accounts.NAME]` that 快递鸟 uses.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    data_sign: String,
    daily_limit: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { data_sign: "base64_md5".to_owned(), daily_limit: 500 }
    }
}

/// The settings of one account at 快递鸟.
pub(super) struct KdniaoAccount {
    /// EBusinessIDs and API keys. Several may be valid at once during a rotation.
    pub(super) keys: Vec<(String, String)>,
    is_base64: bool,
    daily_limit: u64,
    /// A day, and the queries of it.
    queries: Mutex<(i64, u64)>,
}

// Written by hand, so that it never prints a secret.
impl fmt::Debug for KdniaoAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

impl KdniaoAccount {
    pub(super) fn new(keys: Vec<(String, String)>, settings: Settings) -> Self {
        let is_base64 = settings.data_sign != "md5_upper";
        Self { keys, is_base64, daily_limit: settings.daily_limit, queries: Mutex::new((0, 0)) }
    }

    /// Whether the form carries the signature of its data, with one of the account's keys.
    pub(super) fn signs(&self, form: &Form) -> bool {
        let keys = self.keys.iter().filter(|(id, _)| *id == form.business_id);
        keys.into_iter().any(|(_, key)| {
            let digest = Md5::new().chain_update(&form.request_data).chain_update(key).finalize();
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let sign = if self.is_base64 { STANDARD.encode(hex) } else { hex.to_uppercase() };
            form.data_sign == sign
        })
    }

    /// Counts a query at this moment (Unix seconds); `false`: the day has no more of them.
    pub(super) fn counts_query(&self, now: i64) -> bool {
        let today = (now + ZONE_S).div_euclid(DAY_S);
        let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
        let (day, count) = *queries;
        let count = if day == today { count } else { 0 };
        let takes = count < self.daily_limit;
        *queries = (today, count + u64::from(takes));
        takes
    }
}
