//! The numbers of all accounts: those of the configuration, and one more set per platform for events that name none of
//! them. Accounts are added while the worker runs, and none is ever taken out, so that no count is lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::account::AccountMetrics;
use super::platform::{PlatformFamilies, PlatformMetrics, unseen_platform};
use crate::slots::Slots;

/// What stands for a name that is not known.
pub(super) const UNKNOWN: &str = "unknown";

/// The indices of events without a configured account begin here, far above those of accounts.
const UNKNOWN_FROM: usize = 1 << 32;

/// See the module.
pub(super) struct AccountTable {
    /// By the index of the account, which is the index of its first lane.
    configured: Slots<Arc<AccountMetrics>>,
    /// For events that name no configured account. The first one is for those without a known platform.
    unknown: Slots<Arc<AccountMetrics>>,
    /// What is shared by the accounts of a platform, and the index of its unknown ones.
    platforms: Mutex<BTreeMap<&'static str, (Arc<PlatformMetrics>, usize)>>,
    families: PlatformFamilies,
    tiers: Vec<String>,
    nobody: Arc<AccountMetrics>,
}

impl AccountTable {
    pub(super) fn new(families: PlatformFamilies, tiers: &[String]) -> Self {
        let nobody = Arc::new(AccountMetrics::new(UNKNOWN, UNKNOWN.into(), false, unseen_platform()));
        Self {
            configured: Slots::default(),
            unknown: [nobody.clone()].into_iter().collect(),
            platforms: Mutex::default(),
            families,
            tiers: tiers.to_vec(),
            nobody,
        }
    }

    /// Adds an account at this index, with every number at zero. One that is there already stays.
    pub(super) fn add(&self, index: usize, platform: &'static str, name: Arc<str>) {
        let shared = self.platform(platform);
        // An index is given to one account only, so one that is set is this one's.
        let _ = self.configured.set(index, Arc::new(AccountMetrics::new(platform, name, true, shared)));
    }

    fn platform(&self, platform: &'static str) -> Arc<PlatformMetrics> {
        let mut platforms = self.lock();
        let made = platforms.entry(platform).or_insert_with(|| {
            let shared = self.families.platform(platform, &self.tiers);
            let unknown = Arc::new(AccountMetrics::new(platform, UNKNOWN.into(), false, shared.clone()));
            (shared, self.unknown.push(unknown).unwrap_or_default())
        });
        made.0.clone()
    }

    pub(super) fn get(&self, index: usize) -> &Arc<AccountMetrics> {
        let found = match index.checked_sub(UNKNOWN_FROM) {
            Some(unknown) => self.unknown.get(unknown),
            None => self.configured.get(index),
        };
        found.unwrap_or(&self.nobody)
    }

    /// The index for events that name no configured account.
    pub(super) fn unknown(&self, platform: Option<&str>) -> usize {
        let found = platform.and_then(|platform| self.lock().get(platform).map(|(_, index)| *index));
        UNKNOWN_FROM + found.unwrap_or_default()
    }

    /// All of them: the configured ones in the order of their indices, then the others.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<AccountMetrics>> {
        self.configured.iter().chain(self.unknown.iter())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, (Arc<PlatformMetrics>, usize)>> {
        self.platforms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
