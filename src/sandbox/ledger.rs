//! Keeps every request that the fakes received: the platforms' side of the balance.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::{Digest, Md5};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::request::header_lines;

/// One request, and what became of it.
#[derive(Clone, Debug, Default)]
pub struct LedgerEntry {
    /// The account it belongs to, or `unknown`.
    pub account: Arc<str>,
    /// The platform's dedupe key, where it has one.
    pub trans_id: Option<String>,
    /// The platform's own name of the event.
    pub event: Option<String>,
    /// The request passed every check and was accepted, even if it got no answer.
    pub accepted: bool,
    /// Whether it reports a conversion.
    pub conversion: bool,
    /// Why it was not accepted.
    pub problem: Option<String>,
    /// When it was received, epoch ms.
    pub at_ms: u64,
    /// The ids by which a platform without trans_id knows an event: names and values.
    pub ids: Vec<(&'static str, Option<String>)>,
    /// The request was accepted, and an earlier one had the same account, trans_id and event.
    pub repeat: bool,
    /// The fault that hit it, e.g. `status 429, retry_after 7`.
    pub fault: Option<String>,
    /// HTTP method.
    pub method: String,
    /// Request target.
    pub target: String,
    /// Request line and headers, byte for byte.
    pub head: Bytes,
    /// The body, byte for byte.
    pub body: Bytes,
}

impl LedgerEntry {
    /// The name and value of each header, with names as they were spelled. The values of a repeated header are joined
    /// by a comma.
    pub fn headers(&self) -> BTreeMap<String, String> {
        let mut headers = BTreeMap::<String, String>::new();
        for (name, value) in header_lines(&self.head) {
            let value = String::from_utf8_lossy(value);
            headers
                .entry(String::from_utf8_lossy(name).into_owned())
                .and_modify(|all| {
                    all.push_str(", ");
                    all.push_str(&value);
                })
                .or_insert_with(|| value.clone().into_owned());
        }
        headers
    }

    fn identity(&self) -> Option<[u8; 16]> {
        let (id, event) = (self.trans_id.as_deref()?, self.event.as_deref()?);
        let mut digest = Md5::new();
        for part in [&self.account, id, event] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        Some(digest.finalize().into())
    }
}

impl Serialize for LedgerEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("account", &*self.account)?;
        map.serialize_entry("trans_id", &self.trans_id)?;
        map.serialize_entry("event", &self.event)?;
        map.serialize_entry("accepted", &self.accepted)?;
        map.serialize_entry("problem", &self.problem)?;
        map.serialize_entry("at_ms", &self.at_ms)?;
        map.serialize_entry("headers", &self.headers())?;
        map.serialize_entry("body_base64", &STANDARD.encode(&self.body))?;
        for (name, value) in &self.ids {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("method", &self.method)?;
        map.serialize_entry("path", &self.target)?;
        map.serialize_entry("repeat", &self.repeat)?;
        map.serialize_entry("fault", &self.fault)?;
        map.end()
    }
}

/// The sums of one account since the ledger was cleared; they include entries that were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    pub received: u64,
    /// Accepted conversions, repeats included.
    pub accepted: u64,
    /// Accepted requests that repeat an earlier one.
    pub repeats: u64,
}

/// The size of the ledger, and the sums of all that it has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct LedgerStatus {
    /// The number of entries in the ledger.
    pub entries: usize,
    /// The largest number of entries. Beyond it the ledger drops the oldest ones.
    pub capacity: usize,
    /// The number of dropped entries.
    pub dropped: u64,
    /// Sums per account, `unknown` included.
    pub accounts: BTreeMap<String, Totals>,
}

/// The ledger of all accounts, with a bound on its entries.
#[derive(Debug)]
pub(super) struct Ledger {
    capacity: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Arc<LedgerEntry>>,
    /// The identities of the accepted entries in the ledger.
    seen: HashSet<[u8; 16]>,
    dropped: u64,
    totals: HashMap<Arc<str>, Totals>,
    /// Conversions accepted since the start. Clearing resets neither this sum nor the next ones.
    accepted: u64,
    /// Accepted requests of each account that report no conversion, since the start.
    others: HashMap<Arc<str>, u64>,
}

impl Ledger {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), kept: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // No code under the lock can panic halfway through a change, so a poisoned lock does no harm.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry, and marks it if it repeats an accepted one.
    pub(super) fn record(&self, mut entry: LedgerEntry) {
        let identity = entry.accepted.then(|| entry.identity()).flatten();
        let mut kept = self.lock();
        if kept.entries.len() >= self.capacity
            && let Some(oldest) = kept.entries.pop_front()
        {
            kept.dropped += 1;
            if oldest.accepted
                && !oldest.repeat
                && let Some(gone) = oldest.identity()
            {
                kept.seen.remove(&gone);
            }
        }
        entry.repeat = identity.is_some_and(|identity| !kept.seen.insert(identity));
        let accepted = u64::from(entry.accepted && entry.conversion);
        let totals = kept.totals.entry(entry.account.clone()).or_default();
        totals.received += 1;
        totals.accepted += accepted;
        totals.repeats += u64::from(entry.repeat);
        kept.accepted += accepted;
        if entry.accepted && !entry.conversion {
            *kept.others.entry(entry.account.clone()).or_default() += 1;
        }
        kept.entries.push_back(Arc::new(entry));
    }

    pub(super) fn entries(&self) -> Vec<Arc<LedgerEntry>> {
        self.lock().entries.iter().cloned().collect()
    }

    /// Forgets everything, with the sums and the known identities. Returns the number of entries that it had.
    pub(super) fn clear(&self) -> usize {
        // The entries are freed after the lock is released.
        let gone = {
            let mut kept = self.lock();
            let others = std::mem::take(&mut kept.others);
            let fresh = Kept { accepted: kept.accepted, others, ..Kept::default() };
            std::mem::replace(&mut *kept, fresh)
        };
        gone.entries.len()
    }

    /// Requests accepted since the start, including those that were dropped or cleared.
    pub(super) fn accepted(&self) -> u64 {
        self.lock().accepted
    }

    /// Requests of this account that were accepted since the start and report no conversion.
    pub(super) fn others(&self, account: &str) -> u64 {
        self.lock().others.get(account).copied().unwrap_or_default()
    }

    pub(super) fn status(&self) -> LedgerStatus {
        let kept = self.lock();
        LedgerStatus {
            entries: kept.entries.len(),
            capacity: self.capacity,
            dropped: kept.dropped,
            accounts: kept.totals.iter().map(|(name, totals)| (name.to_string(), *totals)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(account: &str, id: &str, event: &str, accepted: bool) -> LedgerEntry {
        LedgerEntry {
            account: account.into(),
            trans_id: Some(id.to_owned()),
            event: Some(event.to_owned()),
            accepted,
            conversion: true,
            ..LedgerEntry::default()
        }
    }

    #[test]
    fn the_second_accepted_copy_is_a_repeat_and_a_refused_first_one_does_not_count() {
        let ledger = Ledger::new(100);
        for (account, id, event, accepted) in [
            ("a", "1", "ORDER", false),
            ("a", "1", "ORDER", true),
            ("a", "1", "ORDER", true),
            ("a", "1", "PAY", true),
            ("b", "1", "ORDER", true),
            ("a", "1", "ORDER", false),
        ] {
            ledger.record(entry(account, id, event, accepted));
        }
        let repeats: Vec<_> = ledger.entries().iter().map(|e| e.repeat).collect();
        assert_eq!(repeats, [false, false, true, false, false, false]);
        let totals = ledger.status().accounts;
        assert_eq!(totals["a"], Totals { received: 5, accepted: 3, repeats: 1 });
    }

    #[test]
    fn past_its_capacity_the_oldest_go_and_the_status_says_so() {
        let ledger = Ledger::new(2);
        for id in ["1", "2", "3", "1"] {
            ledger.record(entry("a", id, "ORDER", true));
        }
        let ids: Vec<_> = ledger.entries().iter().filter_map(|e| e.trans_id.clone()).collect();
        assert_eq!(ids, ["3", "1"]);
        let status = ledger.status();
        assert_eq!((status.entries, status.dropped, status.accounts["a"].received), (2, 2, 4));
        assert_eq!(ledger.clear(), 2);
        assert_eq!(ledger.status(), LedgerStatus { capacity: 2, ..LedgerStatus::default() });
        ledger.record(entry("a", "1", "ORDER", true));
        ledger.record(entry("a", "2", "ORDER", false));
        assert_eq!(ledger.accepted(), 5, "neither dropping nor clearing takes from it");
    }

    #[test]
    fn accepted_requests_without_a_conversion_have_a_sum_of_their_own() {
        let ledger = Ledger::new(1);
        for (account, conversion, accepted) in
            [("a", false, true), ("a", false, true), ("a", false, false), ("a", true, true), ("b", false, true)]
        {
            ledger.record(LedgerEntry { conversion, ..entry(account, "1", "1002", accepted) });
        }
        assert_eq!((ledger.others("a"), ledger.others("b"), ledger.others("c")), (2, 1, 0));
        ledger.clear();
        assert_eq!((ledger.others("a"), ledger.accepted()), (2, 1));
    }

    #[test]
    fn the_names_are_those_of_the_contract() {
        let mut entry = entry("a", "1", "ORDER", true);
        entry.head = Bytes::from_static(b"POST /x HTTP/1.1\r\nApp-Key: k\r\nX: 1\r\nX: 2\r\n\r\n");
        entry.body = Bytes::from_static(b"\xff\x00");
        let json = serde_json::to_value(&entry).unwrap();
        for name in ["account", "trans_id", "event", "accepted", "problem", "at_ms", "headers", "body_base64"] {
            assert!(json.get(name).is_some(), "{name}");
        }
        assert_eq!(json["headers"], serde_json::json!({"App-Key": "k", "X": "1, 2"}));
        assert_eq!(json["body_base64"], "/wA=");
        assert!(json.get("uid").is_none());
        entry.trans_id = None;
        entry.ids = vec![("uid", Some("u".to_owned())), ("order_number", None)];
        let json = serde_json::to_value(&entry).unwrap();
        assert!(json["trans_id"].is_null() && json["order_number"].is_null());
        assert_eq!(json["uid"], "u");
    }
}
