//! How many more records of an account may be under way, and why an account waits (pure).

use std::collections::BTreeMap;

use crate::account::roster::Roster;
use crate::operate::{ReplicaSnapshot, SwitchesByAccount};
use crate::replay::store::progress::{Did, Done};
use crate::replay::view::Waiting;

/// The rate of an event whose account is not configured: it ends at admission, and costs no platform anything.
const RATE_WITHOUT_ACCOUNT: f64 = 20.0;

/// The lanes as all replicas see them.
#[derive(Clone, Debug, Default)]
pub struct Lanes {
    pub switches: SwitchesByAccount,
    pub snapshots: Vec<ReplicaSnapshot>,
}

impl Lanes {
    /// Why an account takes nothing at present. `None`: it takes records.
    pub fn closed(&self, account: &str) -> Option<String> {
        if let Some((state, switch)) = self.switches.get(account).and_then(|switches| switches.cause()) {
            return Some(format!("its lane is {}: {}", state.as_str(), switch.reason));
        }
        let mut lanes = self.snapshots.iter().flat_map(|replica| &replica.lanes).filter(|lane| lane.account == account);
        let first = lanes.next().filter(|lane| is_closed(&lane.load.state))?;
        // Another replica may still send.
        lanes
            .all(|lane| is_closed(&lane.load.state))
            .then(|| format!("its lane is {}: {}", first.load.state, first.why))
    }
}

fn is_closed(state: &str) -> bool {
    !matches!(state, "flowing" | "")
}

/// What is under way of a run.
#[derive(Clone, Debug, Default)]
pub struct UnderWay {
    /// By account: published, and ended.
    pub published: BTreeMap<String, u64>,
    pub ended: BTreeMap<String, u64>,
}

impl UnderWay {
    /// Adds what was published just now.
    pub fn add(&mut self, done: &[Done]) {
        for done in done.iter().filter(|done| done.did == Did::Republished) {
            *self.published.entry(done.account.clone()).or_default() += 1;
        }
    }

    /// How many records of an account have not ended. A kill may count an end twice, so that the numbers of an account
    /// cannot be trusted beyond those of all accounts together.
    pub fn of(&self, account: &str) -> u64 {
        let own = |counts: &BTreeMap<String, u64>| counts.get(account).copied().unwrap_or(0);
        let all = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
        let open = own(&self.published).saturating_sub(own(&self.ended));
        open.min(all(&self.published).saturating_sub(all(&self.ended)))
    }
}

/// How many more records of an account may be published now: at most those of one second of its rate are under way.
pub fn allowance(roster: &Roster, under_way: &UnderWay, account: &str) -> usize {
    let rate = roster.find(account).map_or(RATE_WITHOUT_ACCOUNT, |place| place.account.limits.rps);
    let most = rate.ceil().max(1.0) as u64;
    usize::try_from(most.saturating_sub(under_way.of(account))).unwrap_or(usize::MAX)
}

/// The accounts that wait, and why.
pub fn waiting<'a>(lanes: &Lanes, accounts: impl Iterator<Item = &'a str>) -> Vec<Waiting> {
    let closed = accounts.filter_map(|name| Some(Waiting { account: name.to_owned(), why: lanes.closed(name)? }));
    closed.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::account::Account;
    use crate::operate::{LaneLoad, LaneSnapshot, Switch, Switches};

    fn snapshot(state: &str) -> ReplicaSnapshot {
        let load = LaneLoad { state: state.into(), ..LaneLoad::default() };
        let lane = LaneSnapshot { account: "acme".into(), why: "ten failures".into(), load, ..LaneSnapshot::default() };
        ReplicaSnapshot { lanes: vec![lane], ..ReplicaSnapshot::default() }
    }

    #[test]
    fn an_account_waits_while_no_replica_sends_for_it() {
        let of = |states: &[&str]| {
            let snapshots = states.iter().map(|state| snapshot(state)).collect();
            Lanes { snapshots, ..Lanes::default() }.closed("acme")
        };
        assert_eq!(of(&["broken", "broken"]).as_deref(), Some("its lane is broken: ten failures"));
        for open in [&["broken", "flowing"][..], &["flowing"], &[]] {
            assert_eq!(of(open), None, "{open:?}");
        }
        let paused = Switches { paused: Some(Switch::pause("audit", "li", 1)), halted: None };
        let switches = [("acme".to_owned(), paused)].into();
        let lanes = Lanes { switches, snapshots: vec![snapshot("flowing")] };
        assert_eq!(lanes.closed("acme").as_deref(), Some("its lane is paused: audit"));
        assert_eq!(waiting(&lanes, ["acme", "other"].into_iter()).len(), 1);
    }

    #[test]
    fn at_most_one_second_of_an_account_is_under_way() {
        let mut account = Account::stub("acme");
        account.limits.rps = 5.0;
        let accounts = Roster::new([Arc::new(account)]);
        let counts = |n: u64| BTreeMap::from([("acme".to_owned(), n), ("b".to_owned(), 3)]);
        let allowed = |published, ended| {
            let under_way = UnderWay { published: counts(published), ended: counts(ended) };
            allowance(&accounts, &under_way, "acme")
        };
        assert_eq!([allowed(0, 0), allowed(4, 0), allowed(5, 0), allowed(9, 0)], [5, 1, 0, 0]);
        assert_eq!([allowed(9, 7), allowed(9, 9), allowed(9, 11)], [3, 5, 5]);
        // What ended under another name does not block the account for ever.
        let under_way =
            UnderWay { published: [("acme".to_owned(), 5)].into(), ended: [("unknown".to_owned(), 5)].into() };
        assert_eq!(allowance(&accounts, &under_way, "acme"), 5);
        assert_eq!(allowance(&accounts, &UnderWay::default(), "unknown"), 20);
    }
}
