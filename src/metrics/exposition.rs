//! Writes the series with an account among their labels as text (format 0.0.4).

use std::fmt::{Display, Write as _};

use super::account::{AccountMetrics, Count, LaneState};
use super::accounts::AccountTable;
use super::breaker::BreakerState;
use super::families::{self, Family};
use crate::error::{Class, Outcome, Reason};

/// All families with accounts, including those without a series.
pub(super) const FAMILIES: [&Family; 16] = [
    &families::FINISHED,
    &families::OPEN,
    &families::PARKED,
    &families::ROLLOUT_WAITING,
    &families::ROLLOUT_OLDEST,
    &families::ATTEMPTS,
    &families::OLDEST_OPEN,
    &families::OLDEST_PARKED,
    &families::MAX_PARKED,
    &families::DEAD_LETTERS,
    &families::RESENDS,
    &families::UNCLASSIFIED,
    &families::LANE_STATE,
    &families::BREAKER_STATE,
    &families::CONCURRENCY,
    &families::SECRET_AGE,
];

struct Writer<'a> {
    text: &'a mut String,
    accounts: &'a AccountTable,
}

/// Writes all of them.
pub(super) fn write(text: &mut String, accounts: &AccountTable, now_ms: i64) {
    let mut w = Writer { text, accounts };
    w.each(&families::FINISHED, true, ("outcome", Outcome::ALL.map(Outcome::as_str)), |a| counts(&a.finished));
    w.one(&families::OPEN, true, |a| Some(a.open.get()));
    w.one(&families::PARKED, false, |a| Some(a.parked.get()));
    w.one(&families::ROLLOUT_WAITING, false, |a| Some(a.rollout_waiting.get()));
    w.one(&families::ROLLOUT_OLDEST, false, |a| Some(a.rollout_oldest.get()));
    w.each(&families::ATTEMPTS, false, ("class", Class::ALL.map(Class::as_str)), |a| counts(&a.attempts));
    w.one(&families::OLDEST_OPEN, false, |a| Some(a.oldest_open_age.get()));
    w.one(&families::OLDEST_PARKED, false, |a| Some(age(a.oldest_parked_at_ms.get(), now_ms)));
    w.one(&families::MAX_PARKED, false, |a| Some(a.max_parked.get()));
    w.each(&families::DEAD_LETTERS, true, ("reason", Reason::ALL.map(Reason::as_str)), |a| counts(&a.dead_letters));
    w.one(&families::RESENDS, false, |a| Some(a.ambiguous_resends.get()));
    w.one(&families::UNCLASSIFIED, false, |a| Some(a.unclassified.get()));
    w.each(&families::LANE_STATE, false, ("state", LaneState::ALL.map(LaneState::as_str)), |a| {
        let current = a.state();
        std::array::from_fn(|state| u64::from(state == current))
    });
    w.each(&families::BREAKER_STATE, false, ("state", BreakerState::ALL.map(BreakerState::as_str)), |a| {
        let current = a.breaker.get();
        std::array::from_fn(|state| u64::from(state == current as usize))
    });
    w.one(&families::CONCURRENCY, false, |a| Some(a.concurrency_limit.get()));
    w.one(&families::SECRET_AGE, false, |a| a.secret_age_days(now_ms));
}

/// The seconds since a moment in epoch ms; 0: there is none.
fn age(at_ms: i64, now_ms: i64) -> f64 {
    if at_ms == 0 { 0.0 } else { now_ms.saturating_sub(at_ms).max(0) as f64 / 1000.0 }
}

fn counts<const N: usize>(of: &[Count; N]) -> [u64; N] {
    of.each_ref().map(Count::get)
}

impl Writer<'_> {
    /// Writes one series for each account that has a value.
    fn one<T: Display>(&mut self, family: &Family, unknown_too: bool, value: impl Fn(&AccountMetrics) -> Option<T>) {
        family.write_head(self.text);
        for account in shown(self.accounts, unknown_too) {
            if let Some(value) = value(account) {
                self.series(family, account, None, value);
            }
        }
    }

    /// Writes one series for each account and value of a closed label. The values of an account are read together.
    fn each<const N: usize>(
        &mut self,
        family: &Family,
        unknown_too: bool,
        (label, names): (&str, [&str; N]),
        values: impl Fn(&AccountMetrics) -> [u64; N],
    ) {
        family.write_head(self.text);
        for account in shown(self.accounts, unknown_too) {
            for (name, value) in names.into_iter().zip(values(account)) {
                self.series(family, account, Some((label, name)), value);
            }
        }
    }

    /// Writes one series. The labels are in alphabetical order, as the library writes its own. No value needs escaping:
    /// the names of accounts are checked, and the others are constants.
    fn series(&mut self, family: &Family, account: &AccountMetrics, label: Option<(&str, &str)>, value: impl Display) {
        let platform = family.labels.contains(&"platform").then_some(("platform", account.platform));
        let mut others = [label, platform];
        others.sort_unstable();
        let _ = write!(self.text, "{}{{account=\"{}\"", family.name, account.name);
        for (name, value) in others.into_iter().flatten() {
            let _ = write!(self.text, ",{name}=\"{value}\"");
        }
        let _ = writeln!(self.text, "}} {value}");
    }
}

fn shown(accounts: &AccountTable, unknown_too: bool) -> impl Iterator<Item = &AccountMetrics> {
    let shown = move |account: &&AccountMetrics| (account.is_configured || unknown_too) && !account.is_gone();
    accounts.iter().map(|account| &**account).filter(shown)
}
