//! What the audit says of a reload (pure).

use crate::clock::now_ms;
use crate::operate::By;
use crate::operate::audit::{AuditRecord, Change};
use crate::operate::reload::ReloadReport;
use crate::settings::Config;

/// The accounts of one configuration that another one does not name.
pub(super) fn names(of: &Config, not_of: &Config) -> Vec<String> {
    of.accounts.keys().filter(|name| !not_of.accounts.contains_key(*name)).map(ToString::to_string).collect()
}

/// At most so many changes stand in the audit; the log has all of them.
const IN_AUDIT: usize = 50;

pub(super) fn entry(by: &By, report: &ReloadReport) -> AuditRecord {
    let mut lines: Vec<&str> = report.changed.iter().map(String::as_str).collect();
    let left_out = lines.len().saturating_sub(IN_AUDIT);
    lines.truncate(IN_AUDIT);
    let mut detail = if lines.is_empty() { "nothing has changed".to_owned() } else { lines.join("; ") };
    if left_out > 0 {
        detail.push_str(&format!("; and {left_out} more"));
    }
    for account in &report.resumed {
        detail.push_str(&format!("; {account} resumed"));
    }
    let counts = [
        ("changed", report.changed.len()),
        ("at_restart", report.at_restart.len()),
        ("added", report.added.len()),
        ("removed", report.removed.len()),
    ];
    AuditRecord {
        detail: Some(detail),
        counts: counts.into_iter().map(|(name, count)| (name.to_owned(), count as u64)).collect(),
        ..AuditRecord::new(Change::Reload, by, now_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::audit::Via;

    #[test]
    fn the_audit_names_what_changed_and_how_much_it_leaves_out() {
        let by = By::new(Via::Api, "li", "contract raised").at("w1");
        let changed = (0..60).map(|n| format!("accounts.a{n}.limits.rps: 20 → 50")).collect();
        let report = ReloadReport { changed, resumed: vec!["a1".into()], ..ReloadReport::default() };
        let entry = entry(&by, &report);
        let detail = entry.detail.unwrap();
        assert!(detail.starts_with("accounts.a0.limits.rps: 20 → 50; "), "{detail}");
        assert!(detail.ends_with("; and 10 more; a1 resumed"), "{detail}");
        assert_eq!((entry.what.as_str(), entry.counts["changed"], entry.worker.as_str()), ("reload", 60, "w1"));
        let nothing = super::entry(&by, &ReloadReport::default());
        assert_eq!(nothing.detail.as_deref(), Some("nothing has changed"));
    }
}
