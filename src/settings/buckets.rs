//! Rules for what accounts share: accounts of one bucket must state the same rate, and accounts of one contract the
//! same limits of their calls.

use std::collections::BTreeMap;

use super::accounts::Draft;
use crate::account::Limits;
use crate::config::layers::Settings;

/// Accounts that share a bucket must state the same rate. Calls have buckets of their own, for each platform.
pub(super) fn judge(settings: &Settings<'_>, drafts: &[Draft<'_>]) {
    let conversions = drafts.iter().map(|draft| (draft, &draft.limits, ""));
    bucket(settings, "limits", conversions);
    let calls = drafts.iter().filter_map(|draft| {
        let account = draft.account.as_ref().filter(|account| account.call.is_some())?;
        Some((draft, &draft.call_limits, account.platform))
    });
    bucket(settings, "call_limits", calls);
    contracts(settings, drafts);
}

/// The requests of all accounts of one contract are counted together (`send::quota`). So an account with a smaller
/// limit would be stopped by the requests of the others.
fn contracts(settings: &Settings<'_>, drafts: &[Draft<'_>]) {
    let mut first = BTreeMap::new();
    for draft in drafts {
        let Some(account) = &draft.account else { continue };
        let Some((call, credential)) = account.call.as_ref().zip(account.credentials.last()) else { continue };
        let title = draft.platform.and_then(|platform| platform.credential()).map_or("key", |shape| shape.title);
        let (name, own) = (&*account.name, call.bounds());
        let known = first.entry((account.platform, &*credential.key)).or_insert_with(|| (name, own.clone()));
        let bounds = own.iter().filter_map(|(key, stated)| {
            let (_, theirs) = known.1.iter().find(|(known, theirs)| known == key && theirs != stated)?;
            Some((key, theirs, stated))
        });
        for (key, theirs, stated) in bounds {
            let reason = format!(
                "accounts {} and {name} have one {title}, and what both ask is counted together, but they state {theirs} and {stated}; state one {key} for both",
                known.0
            );
            settings.problem(&format!("accounts.{name}.{key}"), reason);
        }
    }
}

fn bucket<'a>(settings: &Settings<'_>, section: &str, of: impl Iterator<Item = (&'a Draft<'a>, &'a Limits, &'a str)>) {
    let mut first: BTreeMap<(&str, &str), (&Draft<'_>, &Limits)> = BTreeMap::new();
    for (draft, limits, platform) in of.filter(|(_, limits, _)| !limits.shared_as.is_empty()) {
        let (known, known_limits) = *first.entry((platform, &limits.shared_as)).or_insert((draft, limits));
        #[expect(clippy::float_cmp, reason = "two spellings of one number are equal, two numbers are not")]
        let differs = known_limits.rps != limits.rps;
        // Where calls take the limits of conversions, those are reported already.
        let is_stated = section == "limits" || known.has_call_limits || draft.has_call_limits;
        if differs && is_stated {
            let (a, b) = (&known.name, &draft.name);
            settings.problem(
                &format!("accounts.{b}.{section}.rps"),
                format!(
                    "accounts {a} and {b} share one rate, but state {} and {} requests per second; state one rps, or give them different {section}.shared_as",
                    known_limits.rps, limits.rps
                ),
            );
        }
    }
}
