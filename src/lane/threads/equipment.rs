//! What a lane needs of its account's settings: built before it is used, so that settings that cannot be used are told
//! while the lane still goes on with the old ones.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::account::roster::Roster;
use crate::account::{Account, Intake, sharers};
use crate::lane::handle::LaneHandle;
use crate::lane::handle::inbox::LaneMessage;
use crate::lane::handle::lanes::Lanes;
use crate::redis::health::Health;
use crate::secret::SecretString;
use crate::send::Dispatcher;
use crate::send::token::exchange::Kit;

/// What is made of an account's settings for one lane.
pub(super) struct Equipment {
    pub account: Arc<Account>,
    pub dispatcher: Dispatcher,
    /// The number of accounts in its bucket that deliver without Redis.
    pub sharers: usize,
    pub tokens: Option<Kit>,
}

/// A lane that is built and does not run yet.
pub(super) struct LaneSetup {
    pub handle: Arc<LaneHandle>,
    pub inbox: UnboundedReceiver<LaneMessage>,
    pub equipment: Equipment,
}

/// Builds lanes and what they need.
#[derive(Clone)]
pub(super) struct Maker {
    pub intake: Intake,
    /// Learns what the platforms' clocks say.
    pub health: Arc<Health>,
    /// The key of `[redis]`.
    pub token_key: SecretString,
    /// The number of threads.
    pub threads: usize,
}

/// A change of the configuration, ready to take effect.
#[derive(Default)]
pub struct Refit {
    /// The lanes that are added, each with the number of its thread.
    pub(super) added: Vec<(usize, LaneSetup)>,
    /// The lanes that go on with other settings.
    pub(super) changed: Vec<(usize, usize, Equipment)>,
    /// For each lane that was there before, whether the configuration still names its account.
    in_force: Vec<bool>,
}

impl Maker {
    /// Builds the lanes that `new` has and `old` has not, and equips those that send by other settings.
    ///
    /// # Errors
    /// An HTTP client could not be built, or tokens cannot be encrypted.
    pub(super) fn refit(&self, old: &Roster, new: &Roster) -> Result<Refit, String> {
        let in_force = old.lanes().iter().map(|(account, _)| new.is_in_force(*account)).collect();
        let mut refit = Refit { in_force, ..Refit::default() };
        for (index, (account_index, account)) in new.lanes().iter().enumerate() {
            let sharers = sharers(new.accounts().map(|place| &place.account), account);
            let thread = self.thread_of(account);
            let equipment = || {
                let dispatcher = Dispatcher::new(account.clone(), self.health.clone())?;
                let tokens = Kit::of(account, &self.token_key)?;
                Ok::<_, String>(Equipment { account: account.clone(), dispatcher, sharers, tokens })
            };
            match old.lanes().get(index) {
                None => {
                    let (sender, inbox) = unbounded_channel();
                    let handle = LaneHandle::new(index, account.clone(), sender, &self.intake)
                        .of_account(*account_index, thread);
                    let setup = LaneSetup { handle: Arc::new(handle), inbox, equipment: equipment()? };
                    refit.added.push((thread, setup));
                }
                Some((_, before)) => {
                    let shared_by = self::sharers(old.accounts().map(|place| &place.account), before);
                    if !Arc::ptr_eq(before, account) || shared_by != sharers {
                        refit.changed.push((thread, index, equipment()?));
                    }
                }
            }
        }
        Ok(refit)
    }

    /// Both lanes of an account are on one thread.
    fn thread_of(&self, account: &Account) -> usize {
        let mut hash = DefaultHasher::new();
        account.name.hash(&mut hash);
        hash.finish() as usize % self.threads
    }
}

impl Refit {
    /// Makes the added lanes known to other threads. From here on they take records, which wait until the lanes run.
    /// The lanes of removed accounts are marked, and those of accounts that return are so no longer.
    pub(super) fn add_to(&self, lanes: &Lanes) {
        for (index, in_force) in self.in_force.iter().enumerate() {
            lanes.get(index).set_removed(!in_force);
        }
        for (_, LaneSetup { handle, .. }) in &self.added {
            if !handle.id.is_first() {
                lanes.get(handle.id.account_index).set_calls(handle.clone());
            }
            lanes.add(handle.clone());
        }
    }
}
