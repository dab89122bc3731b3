//! The state that all connections share.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::directory::{Directory, UNKNOWN};
use super::faults::Faults;
use super::ledger::Ledger;

/// The accounts, the faults in force and the ledger.
#[derive(Debug)]
pub(super) struct State {
    pub(super) directory: Directory,
    pub(super) ledger: Ledger,
    /// The accounts' names, shared by every entry of the ledger.
    names: Vec<Arc<str>>,
    unknown: Arc<str>,
    faults: RwLock<Arc<Faults>>,
}

impl State {
    pub(super) fn new(directory: Directory, ledger_capacity: usize) -> Self {
        let names = directory.accounts().iter().map(|account| account.name.as_str().into()).collect();
        let ledger = Ledger::new(ledger_capacity);
        Self { directory, ledger, names, unknown: UNKNOWN.into(), faults: RwLock::default() }
    }

    /// The name of an account, or `unknown`.
    pub(super) fn name(&self, account: Option<usize>) -> Arc<str> {
        account.and_then(|index| self.names.get(index)).unwrap_or(&self.unknown).clone()
    }

    pub(super) fn faults(&self) -> Arc<Faults> {
        self.faults.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces all faults. If there is any problem, it replaces none and names every problem.
    pub(super) fn set_faults(&self, json: &Value) -> Result<Arc<Faults>, Vec<String>> {
        let faults = Arc::new(Faults::parse(json, &self.directory.names())?);
        let before = self.faults();
        let expires = |faults: &Faults, name: &str| faults.of(name).is_some_and(|fault| fault.expired_token);
        for (index, account) in self.directory.accounts().iter().enumerate() {
            // Faults are replaced all at once: one that stays as it was expires no token that was issued since.
            if expires(&faults, &account.name) && !expires(&before, &account.name) {
                self.directory.expire_tokens(index);
            }
        }
        *self.faults.write().unwrap_or_else(PoisonError::into_inner) = faults.clone();
        Ok(faults)
    }

    /// The present in epoch ms.
    pub(super) fn now_ms() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
