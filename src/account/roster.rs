//! The accounts in force, and the index of each of their lanes.
//!
//! An index is given out once. An account that leaves the configuration keeps its indices, because records that are
//! open still carry them, and takes them back if it returns. So a change of the configuration moves no other account.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::account::{Account, Accounts};
use crate::platforms::list::Platforms;
use crate::similar::nearest;

/// The roster as it is now, for everybody who looks up accounts by name.
pub type LiveRoster = Arc<ArcSwap<Roster>>;

/// The longest name of an account, and a little more. What is longer was meant to be none.
const LONGEST_NAME: usize = 80;

/// See the module.
#[derive(Clone, Default)]
pub struct Roster {
    /// By the index of the lane: the index of its account, and the account as the lane sees it.
    lanes: Vec<(usize, Arc<Account>)>,
    /// Every account that has lanes, in force or not.
    places: BTreeMap<Arc<str>, Place>,
    /// What accounts can be of.
    platforms: Platforms,
    /// The last unknown name. Unknown names come in floods.
    misspelt: Arc<Mutex<Option<Misspelt>>>,
}

struct Misspelt {
    name: String,
    meant: Option<Arc<str>>,
}

/// Where an account stands.
#[derive(Clone)]
pub struct Place {
    /// The index of its first lane, which is its index in the metrics.
    pub index: usize,
    /// The index of the lane of its calls. That is the first one, unless it sends conversions as well.
    pub calls: usize,
    pub account: Arc<Account>,
    in_force: bool,
}

impl Roster {
    /// The first roster: a lane for each account, in their order; then a second one for the calls of each account that
    /// sends conversions as well, so that neither kind can starve the other.
    pub fn new(accounts: impl IntoIterator<Item = Arc<Account>>) -> Self {
        Self::default().with(accounts.into_iter().collect(), Platforms::default())
    }

    /// The roster with these accounts in force. An account that is known keeps its indices; one that is not changed
    /// (the same `Arc`) keeps what its lanes see.
    pub fn next(&self, accounts: &Accounts, platforms: &Platforms) -> Self {
        self.clone().with(accounts.values().cloned().collect(), platforms.clone())
    }

    /// The same with these platforms.
    pub fn knowing(self, platforms: Platforms) -> Self {
        Self { platforms, ..self }
    }

    fn with(mut self, accounts: Vec<Arc<Account>>, platforms: Platforms) -> Self {
        self.platforms = platforms;
        self.misspelt = Arc::default();
        self.places.values_mut().for_each(|place| place.in_force = false);
        let mut changed = Vec::new();
        for account in accounts {
            let index = match self.places.get_mut(&account.name) {
                Some(place) => {
                    place.in_force = true;
                    if Arc::ptr_eq(&place.account, &account) {
                        continue;
                    }
                    place.account = account.clone();
                    self.lanes[place.index].1 = account.first_lane();
                    place.index
                }
                None => {
                    let index = self.lanes.len();
                    self.lanes.push((index, account.first_lane()));
                    let place = Place { index, calls: index, account: account.clone(), in_force: true };
                    self.places.insert(account.name.clone(), place);
                    index
                }
            };
            changed.push((index, account));
        }
        for (index, account) in changed {
            let Some(place) = self.places.get_mut(&account.name) else { continue };
            match account.second_lane() {
                None => {}
                Some(calls) if place.calls != index => self.lanes[place.calls].1 = calls,
                Some(calls) => {
                    place.calls = self.lanes.len();
                    self.lanes.push((index, calls));
                }
            }
        }
        self
    }

    /// Every lane so far, by its index: the index of its account, and the account as the lane sees it.
    pub fn lanes(&self) -> &[(usize, Arc<Account>)] {
        &self.lanes
    }

    /// The account with this name, if it is in force.
    pub fn find(&self, name: &str) -> Option<&Place> {
        self.places.get(name).filter(|place| place.in_force)
    }

    /// The name of an account in force that an unknown name was probably meant to be.
    pub fn similar(&self, unknown: &str) -> Option<Arc<str>> {
        if unknown.len() > LONGEST_NAME {
            return None;
        }
        let mut last = self.misspelt.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Misspelt { name, meant }) = &*last
            && name == unknown
        {
            return meant.clone();
        }
        let names = self.accounts().map(|place| &*place.account.name);
        let meant = nearest(unknown, names).and_then(|name| Some(self.find(name)?.account.name.clone()));
        *last = Some(Misspelt { name: unknown.to_owned(), meant: meant.clone() });
        meant
    }

    /// All accounts in force, by name.
    pub fn accounts(&self) -> impl Iterator<Item = &Place> {
        self.places.values().filter(|place| place.in_force)
    }

    /// The names of all accounts that were removed, with the index of each.
    pub fn removed(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.places.iter().filter(|(_, place)| !place.in_force).map(|(name, place)| (name, place.index))
    }

    /// Whether the account with this index is in force.
    pub fn is_in_force(&self, index: usize) -> bool {
        self.lanes.get(index).is_some_and(|(_, account)| self.find(&account.name).is_some())
    }

    /// What accounts can be of: the program's platforms, and those of the configuration's own files.
    pub fn platforms(&self) -> &Platforms {
        &self.platforms
    }

    /// Shares it with those who look up accounts.
    pub fn live(self) -> LiveRoster {
        Arc::new(ArcSwap::from_pointee(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stub::calls::Caller;

    fn account(name: &str, calls: bool) -> Arc<Account> {
        let mut account = Account::stub(name);
        account.call_limits.rps = 7.0;
        account.call = calls.then(|| Arc::new(Caller) as _);
        Arc::new(account)
    }

    fn all(accounts: &[&Arc<Account>]) -> Accounts {
        accounts.iter().map(|account| (account.name.clone(), Arc::clone(account))).collect()
    }

    fn shown(roster: &Roster) -> Vec<(&str, usize, usize)> {
        roster.accounts().map(|place| (&*place.account.name, place.index, place.calls)).collect()
    }

    #[test]
    fn an_account_keeps_its_indices_while_others_come_and_go_and_takes_them_back() {
        let (a, b, c, d) = (account("a", false), account("b", true), account("c", false), account("d", true));
        let first = Roster::new([b.clone(), c.clone()]);
        assert_eq!(shown(&first), [("b", 0, 2), ("c", 1, 1)]);

        let second = first.next(&all(&[&a, &b, &d]), &Platforms::default());
        assert_eq!(shown(&second), [("a", 3, 3), ("b", 0, 2), ("d", 4, 5)]);
        assert_eq!(second.removed().map(|(name, index)| (&**name, index)).collect::<Vec<_>>(), [("c", 1)]);
        assert!(
            second.find("c").is_none() && !second.is_in_force(1) && second.is_in_force(2) && !second.is_in_force(9)
        );
        let of = second.lanes().iter().map(|(account, seen)| (*account, &*seen.name, seen.limits.rps));
        let expected = [(0, "b", 20.0), (1, "c", 20.0), (0, "b", 7.0), (3, "a", 20.0), (4, "d", 20.0), (4, "d", 7.0)];
        assert_eq!(of.collect::<Vec<_>>(), expected);

        let third = second.next(&all(&[&a, &b, &c, &d]), &Platforms::default());
        assert_eq!(shown(&third), [("a", 3, 3), ("b", 0, 2), ("c", 1, 1), ("d", 4, 5)]);
        assert_eq!(third.lanes().len(), 6);
    }

    #[test]
    fn an_unknown_name_is_compared_with_the_accounts_in_force() {
        let (acme, zeta) = (account("acme-ps", false), account("zeta", false));
        let roster = Roster::new([acme.clone(), zeta.clone()]);
        let similar = |roster: &Roster, name: &str| roster.similar(name).as_deref().map(str::to_owned);
        for _ in 0..2 {
            assert_eq!(similar(&roster, "acme-pss").as_deref(), Some("acme-ps"));
        }
        assert_eq!(similar(&roster, "other"), None);
        assert_eq!(similar(&roster, &"acme-ps".repeat(100)), None);
        let next = roster.next(&all(&[&zeta]), &Platforms::default());
        assert_eq!(similar(&roster, "acme-pss").as_deref(), Some("acme-ps"));
        assert_eq!(similar(&next, "acme-pss"), None, "it is not in force any more");
    }

    #[test]
    fn only_the_lanes_of_a_changed_account_see_another_one() {
        let (a, b) = (account("a", true), account("b", true));
        let first = Roster::new([a.clone(), b.clone()]);
        let mut other = Account::clone(&b);
        (other.limits.rps, other.call_limits.rps) = (3.0, 1.0);
        let second = first.next(&all(&[&a, &Arc::new(other)]), &Platforms::default());
        let same = first.lanes().iter().zip(second.lanes()).map(|(old, new)| Arc::ptr_eq(&old.1, &new.1));
        assert_eq!(same.collect::<Vec<_>>(), [true, false, true, false]);
        assert_eq!(second.lanes().iter().map(|(_, seen)| seen.limits.rps).collect::<Vec<_>>(), [20.0, 3.0, 7.0, 1.0]);
    }
}
