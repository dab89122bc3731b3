//! `GET /audit`: who changed what, from where and why.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::answer::{Answer, Answered};
use crate::admin::endpoint::Endpoint;
use crate::admin::parts::Parts;
use crate::admin::refusal::Refusal;
use crate::admin::request::Query;
use crate::operate::audit::trail::{self, Cursor};
use crate::operate::audit::{AuditRecord, Change, Via};
use crate::similar::nearest;

/// What is shown of the audit.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct AuditQuery {
    /// Only changes of this kind, e.g. `pause`.
    what: Option<String>,
    /// Only changes by this name.
    who: Option<String>,
    /// Only changes from there.
    via: Option<Via>,
    /// Only changes of this account.
    account: Option<String>,
    /// Only changes of this replay, or of this discard.
    subject: Option<String>,
    /// Where the last page ended.
    cursor: Option<String>,
    /// The most entries of a page; 50 if it is absent.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
}

/// A page of the audit.
#[derive(Serialize, JsonSchema)]
struct AuditPage {
    /// Newest first. Entries that no topic has yet come before all others, on the first page.
    items: Vec<AuditRecord>,
    /// Where the next page begins. Null: nothing is left.
    cursor: Option<String>,
    done: bool,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get::<AuditPage, _>("/audit", "Every change, newest first", audit)
            .query::<AuditQuery>()
            .refuses(&[503]),
    ]
}

impl AuditQuery {
    fn selects(&self, entry: &AuditRecord) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        is(&self.what, &entry.what)
            && is(&self.who, &entry.who)
            && self.via.is_none_or(|via| via == entry.via)
            && is(&self.account, entry.account.as_deref().unwrap_or_default())
            && is(&self.subject, entry.subject.as_deref().unwrap_or_default())
    }

    /// Refuses what would silently select nothing.
    fn check(&self) -> Result<(Option<Cursor>, usize), Refusal> {
        let names: Vec<&str> = Change::ALL.iter().map(|change| change.as_str()).collect();
        if let Some(what) = self.what.as_deref().filter(|what| !names.contains(what)) {
            let close = nearest(what, names.iter().copied());
            let hint = close.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            return Err(Refusal::field("what", format!("no such change{hint}; one of: {}", names.join(", "))));
        }
        let limit = self.limit.unwrap_or(50);
        if !(1..=500).contains(&limit) {
            return Err(Refusal::field("limit", "has to be 1 to 500"));
        }
        let cursor = self.cursor.as_deref().map(str::parse).transpose();
        let cursor = cursor.map_err(|()| Refusal::field("cursor", "is none that an earlier page gave"))?;
        Ok((cursor, limit))
    }
}

async fn audit(State(parts): State<Arc<Parts>>, Query(query): Query<AuditQuery>) -> Answered<AuditPage> {
    let (from, limit) = query.check()?;
    let mut items = match &from {
        // Without Redis the entries that wait there are missing, and those of Kafka are still of use.
        None => parts.worker.status.audit_waiting().await.unwrap_or_default(),
        Some(_) => Vec::new(),
    };
    items.retain(|entry| query.selects(entry));
    items.reverse();
    let kafka = parts.worker.config.load().kafka.clone();
    let read = move || trail::page(&kafka, &|entry| query.selects(entry), from.as_ref(), limit);
    let page = parts.read_kafka(read).await?;
    // An entry may have been published since Redis was read.
    let waiting: BTreeSet<String> = items.iter().map(|entry| entry.id.clone()).collect();
    items.extend(page.items.into_iter().filter(|entry| !waiting.contains(&entry.id)));
    let cursor = page.cursor.map(|cursor| cursor.to_string());
    Ok(Answer(AuditPage { items, done: cursor.is_none(), cursor }))
}
