//! The rule of the lease: longer than the slowest visit, but not longer than the session timeout.

use std::time::Duration;

use super::accounts::Draft;
use super::root::{Root, session_timeout};
use crate::account::Inline;
use crate::config::layers::Settings;
use crate::units::show_duration;

/// The time that a claim needs before the first try and after the last one.
const MARGIN: Duration = Duration::from_secs(5);

/// The longest time that all inline delays can take together.
fn delays(inline: &Inline) -> Duration {
    let mut delay = inline.initial.min(inline.max);
    let mut sum = Duration::ZERO;
    for _ in 0..inline.max_retries {
        sum += delay;
        delay = (delay * 2).min(inline.max);
    }
    sum
}

/// The longest time that one visit of an account may hold its claim.
fn longest_visit(draft: &Draft<'_>) -> Duration {
    let inline = &draft.retry.inline;
    MARGIN + timeout(draft) * (1 + inline.max_retries) + delays(inline) + token_timeout(draft) + MARGIN
}

/// The longest time that one request may take. A call with several requests renews its claim before each.
pub(super) fn timeout(draft: &Draft<'_>) -> Duration {
    let of_calls = draft.account.as_ref().filter(|account| account.call.is_some());
    of_calls.map_or(draft.limits.timeout, |account| account.call_limits.timeout.max(account.limits.timeout))
}

/// The longest time that a visit may wait for a token: one token request, or zero if the account sends without a token.
fn token_timeout(draft: &Draft<'_>) -> Duration {
    let has_tokens = draft.account.as_ref().is_some_and(|account| account.tokens().is_some());
    if has_tokens { timeout(draft) } else { Duration::ZERO }
}

/// The lease must be longer than the slowest visit. It must not be longer than the session timeout, because the
/// partitions of a crashed member come back only after that (core.md section 3).
pub(super) fn judge(settings: &Settings<'_>, Root { dedupe, kafka, .. }: &Root, drafts: &[Draft<'_>]) {
    let session = session_timeout(kafka);
    let mut slow: Vec<_> = drafts.iter().map(|d| (longest_visit(d), d)).collect();
    slow.retain(|(need, _)| *need > dedupe.lease);
    slow.sort_by_key(|(need, _)| std::cmp::Reverse(*need));
    if let Some((need, draft)) = slow.first() {
        let others: Vec<_> = slow[1..].iter().map(|(_, d)| d.name.as_str()).collect();
        let also =
            if others.is_empty() { String::new() } else { format!(" (and too short for {})", others.join(", ")) };
        let token = match token_timeout(draft) {
            Duration::ZERO => String::new(),
            timeout => format!(" + {} for a token", show_duration(timeout)),
        };
        settings.problem(
            "dedupe.lease",
            format!(
                "the lease of {} is shorter than one visit of account {} may take{also}: 5s + {} tries x {} + {} of inline delays{token} + 5s = {}; raise dedupe.lease, or lower limits.timeout or retry.inline.max_retries",
                show_duration(dedupe.lease),
                draft.name,
                1 + draft.retry.inline.max_retries,
                show_duration(timeout(draft)),
                show_duration(delays(&draft.retry.inline)),
                show_duration(*need),
            ),
        );
    }
    if dedupe.lease > session {
        settings.problem(
            "dedupe.lease",
            format!(
                "the lease of {} is longer than session.timeout.ms of {}: a crashed member's records would come back before its claims may be taken over; lower dedupe.lease, or raise \"session.timeout.ms\" in [kafka.properties]",
                show_duration(dedupe.lease),
                show_duration(session),
            ),
        );
    }
}
