//! The tokens that the platform has issued. A refresh replaces both at once, and a code is good once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use md5::{Digest, Md5};

use super::account::Seed;

/// As in the platform's sample: the access token lives for 7 days, the refresh token for 4.2 hours.
const ACCESS_LIFE_MS: i64 = 604_800_000;
const REFRESH_LIFE_MS: i64 = 15_120_000;

/// What an account may use now.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) access: String,
    pub(super) access_ends_ms: i64,
    pub(super) refresh: String,
    pub(super) refresh_ends_ms: i64,
}

struct State {
    seed: Seed,
    pair: Pair,
    is_code_used: bool,
    issued: u64,
}

/// By account.
pub(super) struct Tokens(Mutex<HashMap<usize, State>>);

// Written by hand, so that it never prints a token.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    pub(super) fn new(seeds: HashMap<usize, Seed>) -> Self {
        // The platform has issued what is configured, and it has not ended.
        let begin = |seed: Seed| State {
            pair: Pair {
                access: seed.access.clone().unwrap_or_default(),
                access_ends_ms: i64::MAX,
                refresh: seed.refresh.clone().unwrap_or_default(),
                refresh_ends_ms: i64::MAX,
            },
            seed,
            is_code_used: false,
            issued: 0,
        };
        Self(Mutex::new(seeds.into_iter().map(|(index, seed)| (index, begin(seed))).collect()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn check(&self, account: usize, access: &str, now_ms: i64) -> Result<(), &'static str> {
        let accounts = self.lock();
        let pair = accounts.get(&account).map(|state| &state.pair).ok_or("accessToken: of no account")?;
        if access.is_empty() || pair.access != access {
            return Err("accessToken: not the one in force");
        }
        if pair.access_ends_ms <= now_ms { Err("accessToken: expired") } else { Ok(()) }
    }

    /// The access token ends now; what comes of its refresh token is good.
    pub(super) fn expire(&self, account: usize) {
        if let Some(state) = self.lock().get_mut(&account) {
            state.pair.access_ends_ms = i64::MIN;
        }
    }

    pub(super) fn get(&self, account: usize, code: &str, now_ms: i64) -> Result<Pair, &'static str> {
        let mut accounts = self.lock();
        let state = accounts.get_mut(&account).ok_or("authCode: of no account")?;
        if code.is_empty() || state.seed.auth_code.as_deref() != Some(code) {
            return Err("authCode: not the one given to the account");
        }
        if std::mem::replace(&mut state.is_code_used, true) {
            return Err("authCode: used before");
        }
        Ok(state.issue(account, now_ms))
    }

    pub(super) fn refresh(&self, account: usize, refresh: &str, now_ms: i64) -> Result<Pair, &'static str> {
        let mut accounts = self.lock();
        let state = accounts.get_mut(&account).ok_or("refreshToken: of no account")?;
        if refresh.is_empty() || state.pair.refresh != refresh {
            return Err("refreshToken: not the one in force");
        }
        if state.pair.refresh_ends_ms <= now_ms {
            return Err("refreshToken: expired");
        }
        Ok(state.issue(account, now_ms))
    }
}

impl State {
    fn issue(&mut self, account: usize, now_ms: i64) -> Pair {
        self.issued += 1;
        let token = |kind: &str| {
            let digest = Md5::digest(format!("{kind} {account} {}", self.issued));
            let hex: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("{kind}@{hex}")
        };
        let life = self.seed.sandbox_life_ms;
        self.pair = Pair {
            access: token("AccessToken"),
            access_ends_ms: now_ms + life.unwrap_or(ACCESS_LIFE_MS),
            refresh: token("RefreshToken"),
            refresh_ends_ms: now_ms + life.unwrap_or(REFRESH_LIFE_MS),
        };
        self.pair.clone()
    }
}
