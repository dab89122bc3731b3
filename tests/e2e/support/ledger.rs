//! The ledger that closes a test: what was published, against what the platform took, the receipts and the dead
//! letters. It is kept per origin, and per identity at the platform where copies are counted. A test that does not end
//! here proves nothing.

use super::event::{Event, Expect};
use super::platform::Request;
use super::records::{Origin, Record};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What a test allows beside the plain case.
#[derive(Clone, Copy, Default)]
pub struct Check {
    /// A member was killed, frozen, stopped or joined: records may be read again, which ends as `duplicate`.
    pub disturbed: bool,
    /// Requests that the platform finds wrong are part of the test.
    pub bad_requests: bool,
    /// Each declared re-send has happened: copies are exactly one more than declared.
    pub exact: bool,
}

impl Check {
    /// Nothing was read twice; every declared re-send has happened.
    pub const EXACT: Self = Self { disturbed: false, bad_requests: false, exact: true };
    pub const DISTURBED: Self = Self { disturbed: true, bad_requests: false, exact: false };
}

/// Everything the ledger looks at.
pub struct Books {
    pub events: Vec<Event>,
    pub requests: Vec<Request>,
    pub receipts: Vec<Record>,
    pub dead: Vec<Record>,
    /// The input records as they lie in their topic.
    pub sources: HashMap<Origin, Record>,
}

/// One receipt, read strictly.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub trans_id: Option<String>,
    pub account: Option<String>,
    pub event: Option<String>,
    pub outcome: String,
    pub reason: Option<String>,
    pub attempts: u64,
    pub resends: u64,
    pub origin: Origin,
}

impl Receipt {
    fn read(record: &Record) -> Result<Self, String> {
        let value = record.value.as_deref().unwrap_or_default();
        let json: Value = serde_json::from_slice(value).map_err(|e| format!("a receipt that is no JSON: {e}"))?;
        let names = [
            "schema",
            "trans_id",
            "platform",
            "account",
            "event",
            "outcome",
            "reason",
            "attempts",
            "resends",
            "platform_id",
            "origin",
            "first_seen_ms",
            "finished_at_ms",
        ];
        for name in names {
            // Absent and null mean the same for what an event need not have.
            let optional = ["trans_id", "platform", "account", "event", "reason", "platform_id"].contains(&name);
            if !optional && json.get(name).is_none_or(Value::is_null) {
                return Err(format!("a receipt without {name}: {json}"));
            }
        }
        if json["schema"] != "postback.receipt/1" {
            return Err(format!("a receipt of schema {}", json["schema"]));
        }
        if json["first_seen_ms"].as_i64() > json["finished_at_ms"].as_i64() {
            return Err(format!("a receipt that was finished before it was seen: {json}"));
        }
        let text = |name: &str| json[name].as_str().map(str::to_owned);
        let receipt = Self {
            trans_id: text("trans_id"),
            account: text("account"),
            event: text("event"),
            outcome: text("outcome").ok_or("a receipt whose outcome is no text")?,
            reason: text("reason").filter(|r| !r.is_empty()),
            attempts: json["attempts"].as_u64().ok_or("a receipt whose attempts are no number")?,
            resends: json["resends"].as_u64().ok_or("a receipt whose resends are no number")?,
            origin: super::world::receipt_origin(record)
                .ok_or_else(|| format!("a receipt without an origin: {json}"))?,
        };
        let key = receipt.trans_id.as_deref().map(str::as_bytes);
        if key.is_some() && record.key.as_deref() != key {
            return Err(format!("a receipt whose key is not its trans_id: {:?}", record.key));
        }
        Ok(receipt)
    }
}

/// The receipts of one origin.
#[derive(Clone, Debug, Default)]
pub struct Ends(pub Vec<Receipt>);

impl Ends {
    /// The first that is not `duplicate` counts.
    pub fn main(&self) -> Option<&Receipt> {
        self.0.iter().find(|r| r.outcome != "duplicate").or(self.0.first())
    }

    pub fn resends(&self) -> u64 {
        self.0.iter().map(|r| r.resends).max().unwrap_or(0)
    }
}

impl Books {
    fn by_origin(&self, problems: &mut Vec<String>) -> HashMap<Origin, Ends> {
        let mut found: HashMap<Origin, Ends> = HashMap::new();
        for record in &self.receipts {
            match Receipt::read(record) {
                Ok(receipt) => found.entry(receipt.origin.clone()).or_default().0.push(receipt),
                Err(problem) => problems.push(problem),
            }
        }
        found
    }

    /// The receipts of each origin.
    pub fn ends(&self) -> HashMap<Origin, Ends> {
        self.by_origin(&mut Vec::new())
    }

    /// How many origins ended so.
    pub fn outcomes(&self, outcome: &str) -> usize {
        self.ends().values().filter(|e| e.main().is_some_and(|r| r.outcome == outcome)).count()
    }

    /// Declared re-sends: the largest number each origin's receipts tell.
    pub fn declared(&self) -> u64 {
        self.ends().values().map(Ends::resends).sum()
    }

    /// The receipt that counts of an event that was published.
    #[track_caller]
    pub fn receipt(&self, event: &Event) -> Receipt {
        let mut all = self.ends();
        let published =
            self.events.iter().find(|e| e.json == event.json && e.raw == event.raw).and_then(|e| e.at.clone());
        let ends = published.and_then(|at| all.remove(&at)).unwrap_or_default();
        ends.main().cloned().unwrap_or_else(|| panic!("no receipt of {}", event.trans_id()))
    }

    /// What does not add up, one line each.
    pub fn problems(&self, check: &Check) -> Vec<String> {
        let mut problems = Vec::new();
        let ends = self.by_origin(&mut problems);
        let mut dead: HashMap<Origin, Vec<&Record>> = HashMap::new();
        for record in &self.dead {
            match record.origin() {
                Some(origin) => dead.entry(origin).or_default().push(record),
                None => problems.push(format!("a dead letter without origin at {}", record.at())),
            }
        }
        let known: HashSet<&Origin> = self.events.iter().filter_map(|e| e.at.as_ref()).collect();
        for origin in ends.keys().chain(dead.keys()).filter(|o| !known.contains(o)) {
            problems.push(format!("a receipt or dead letter of {origin}, which was never published"));
        }
        for event in &self.events {
            let Some(at) = event.at.as_ref() else {
                problems.push(format!("{} was never published", event.trans_id()));
                continue;
            };
            let none = (Ends::default(), Vec::new());
            let (e, d) = (ends.get(at).unwrap_or(&none.0), dead.get(at).unwrap_or(&none.1));
            problems.extend(self.one_event(event, at, e, d, check));
        }
        problems.extend(self.copies(&ends, &dead, check));
        if !check.bad_requests {
            let bad = self
                .requests
                .iter()
                .filter_map(|r| Some(format!("{}: bad request: {}", r.account, r.problem.as_ref()?)));
            problems.extend(bad);
        }
        problems
    }

    fn one_event(&self, event: &Event, at: &Origin, ends: &Ends, dead: &[&Record], check: &Check) -> Vec<String> {
        let mut problems = Vec::new();
        let name = format!("{at} ({})", event.trans_id());
        let all: Vec<&str> = ends.0.iter().map(|r| r.outcome.as_str()).collect();
        let Some(main) = ends.main() else {
            if event.expect != Expect::Open {
                problems.push(format!("{name}: lost: no receipt"));
            }
            return problems;
        };
        let settled: Vec<&str> = all.iter().copied().filter(|o| *o != "duplicate").collect();
        // Two members may both have sent one event, where one of them was thought dead: both say so, and one declares
        // it.
        let repeats = settled.iter().all(|o| *o == "dead_lettered")
            || settled.iter().all(|o| *o == "delivered") && settled.len() as u64 <= 1 + ends.resends();
        if !check.disturbed && all.len() > 1 {
            problems.push(format!("{name}: more than one receipt in an undisturbed run: {all:?}"));
        } else if settled.len() > 1 && !repeats {
            problems.push(format!("{name}: more than one end: {all:?}"));
        }
        let allowed: &[&str] = match event.expect {
            Expect::Delivered => &["delivered", "duplicate"],
            Expect::Suppressed => &["suppressed"],
            Expect::Dead { .. } => &["dead_lettered"],
            Expect::Open => &["delivered", "duplicate", "suppressed", "dead_lettered"],
        };
        if !allowed.contains(&main.outcome.as_str()) {
            let why = dead.last().map(|d| (d.header("pb-reason"), d.header("pb-field"), d.header("pb-detail")));
            problems.push(format!("{name}: ended as {}, expected {allowed:?}; dead letter: {why:?}", main.outcome));
        }
        if let Expect::Dead { reason, field } = event.expect {
            problems.extend(self.dead_letter(event, at, main, dead, reason, field));
        }
        let dead_outcome = main.outcome == "dead_lettered";
        let unsaid = !dead_outcome && !dead.is_empty() && !check.disturbed;
        if dead_outcome && dead.is_empty() || unsaid {
            problems.push(format!("{name}: receipt says {}, dead letters: {}", main.outcome, dead.len()));
        }
        if dead.len() > 1 && !check.disturbed {
            problems.push(format!("{name}: {} dead letters", dead.len()));
        }
        if main.outcome == "delivered" && (main.attempts == 0 || main.reason.is_some()) {
            problems
                .push(format!("{name}: a delivered receipt with attempts {}, reason {:?}", main.attempts, main.reason));
        }
        if event.expect == Expect::Delivered {
            let told = (main.trans_id.as_deref(), main.account.as_deref());
            if told != (Some(event.trans_id()), Some(event.account.as_str())) {
                problems.push(format!("{name}: the receipt names {told:?}"));
            }
            if main.event.as_deref() != event.ident().split(':').next() {
                problems.push(format!("{name}: the receipt names the event {:?}", main.event));
            }
        }
        problems
    }

    fn dead_letter(
        &self,
        event: &Event,
        at: &Origin,
        receipt: &Receipt,
        dead: &[&Record],
        reason: &str,
        field: &str,
    ) -> Vec<String> {
        let name = format!("{at} ({})", event.trans_id());
        // The newest per origin counts.
        let Some(letter) = dead.iter().max_by_key(|d| (d.number("pb-failed-at"), d.offset)) else {
            return vec![format!("{name}: no dead letter")];
        };
        let mut problems = Vec::new();
        let told = (letter.header("pb-reason"), &receipt.reason);
        if told.0 != *told.1 || (!reason.is_empty() && told.0.as_deref() != Some(reason)) {
            problems.push(format!("{name}: reason {told:?}, expected {reason} ({:?})", letter.header("pb-detail")));
        }
        if !field.is_empty() && letter.header("pb-field").as_deref() != Some(field) {
            problems.push(format!("{name}: pb-field {:?}, expected {field}", letter.header("pb-field")));
        }
        match self.sources.get(at) {
            Some(source) => problems.extend(faithful(letter, source).into_iter().map(|p| format!("{name}: {p}"))),
            None => problems.push(format!("{name}: not in the input topic")),
        }
        problems
    }

    fn copies(&self, ends: &HashMap<Origin, Ends>, dead: &HashMap<Origin, Vec<&Record>>, check: &Check) -> Vec<String> {
        let mut taken: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for request in self.requests.iter().filter(|r| r.executed) {
            *taken.entry((&request.account, request.ident.as_deref().unwrap_or_default())).or_default() += 1;
        }
        let mut groups: BTreeMap<(&str, &str), Vec<&Event>> = BTreeMap::new();
        for event in &self.events {
            if let Some(ident) = &event.ident {
                groups.entry((&event.account, ident)).or_default().push(event);
            }
        }
        let mut problems = Vec::new();
        for (key, events) in &groups {
            let copies = taken.remove(key).unwrap_or(0);
            let origins = || events.iter().filter_map(|e| e.at.as_ref());
            let declared: u64 = origins().filter_map(|o| ends.get(o)).map(Ends::resends).sum();
            let unknown = origins()
                .filter(|o| {
                    dead.get(o)
                        .is_some_and(|d| d.iter().any(|d| d.header("pb-reason").as_deref() == Some("unknown_outcome")))
                })
                .count() as u64;
            let delivered = origins().filter_map(|o| ends.get(o)?.main()).filter(|r| r.outcome == "delivered").count();
            let told =
                origins().any(|o| ends.get(o).is_some_and(|e| e.main().is_some_and(|r| r.outcome != "dead_lettered")));
            let name = format!("{} {}", key.0, key.1);
            if events.iter().any(|e| e.expect == Expect::Delivered) && copies == 0 {
                problems.push(format!("{name}: lost: the platform never took it"));
            }
            let suppressed = events.iter().all(|e| e.expect == Expect::Suppressed);
            if told && !suppressed && copies == 0 {
                problems.push(format!("{name}: reported as sent, and the platform never took it"));
            }
            if suppressed && copies > 0 {
                problems.push(format!("{name}: opted out and sent {copies} times"));
            }
            if copies > 1 + declared + unknown {
                problems.push(format!(
                    "{name}: {copies} copies at the platform, {declared} re-sends declared, {unknown} unknown"
                ));
            }
            if check.exact && copies > 0 && unknown == 0 && copies != 1 + declared {
                problems.push(format!("{name}: {copies} copies at the platform, exactly {} expected", 1 + declared));
            }
            if !check.disturbed && copies > 0 && unknown == 0 && delivered != 1 {
                problems.push(format!("{name}: {delivered} receipts say delivered, one expected"));
            }
        }
        problems.extend(taken.keys().map(|(account, ident)| format!("{account} {ident}: sent, and never published")));
        problems
    }
}

fn sha256(bytes: Option<&[u8]>) -> String {
    Sha256::digest(bytes.unwrap_or_default()).iter().map(|b| format!("{b:02x}")).collect()
}

/// What a dead letter that was too large for its topic has to hold instead of the original: key, value, headers of the
/// producer; and what it has to tell. `told` is what it tells.
fn cut(told: &str, source: &Record) -> (Record, String) {
    let mut left = Record { value: Some(sha256(source.value.as_deref()).into_bytes()), ..source.clone() };
    let mut telling = source.value.as_ref().map_or(0, Vec::len).to_string();
    if told.contains(" headers=") {
        let of = |(name, value): &(Vec<u8>, Option<Vec<u8>>)| {
            format!("{}:{}", String::from_utf8_lossy(name), value.as_ref().map_or(0, Vec::len))
        };
        let names: Vec<String> = source.headers.iter().map(of).collect();
        telling += &format!(" headers={}", names.join(","));
        left.headers.clear();
    }
    if told.contains(" key=") {
        telling += &format!(" key={}", source.key.as_ref().map_or(0, Vec::len));
        left.key = Some(sha256(source.key.as_deref()).into_bytes());
    }
    (left, telling)
}

/// Whether a dead letter is the original, byte for byte, with the worker's own headers in one block at its end.
fn faithful(letter: &Record, source: &Record) -> Vec<String> {
    let mut problems = Vec::new();
    let mut original = source.clone();
    if let Some(told) = letter.header("pb-truncated") {
        let (left, telling) = cut(&told, source);
        if told != telling {
            problems.push(format!("cut as {told:?}, where {telling:?} is right"));
        }
        original = left;
    }
    if letter.key != original.key {
        problems.push(format!("the key differs: {:?}", letter.key));
    }
    if letter.value != original.value {
        let len = |r: &Record| r.value.as_ref().map(Vec::len);
        problems.push(format!("the value differs: {:?} bytes, {:?} originally", len(letter), len(source)));
    }
    let block = letter.headers.iter().rposition(|(n, _)| n == b"pb-origin-topic").unwrap_or(0);
    let (theirs, ours) = letter.headers.split_at(block);
    let mut original = original.headers;
    if letter.header("pb-reason").as_deref() == Some("quarantined") {
        original.retain(|(name, _)| std::str::from_utf8(name).is_ok());
    }
    if theirs != original {
        problems.push(format!("the producer's headers differ: {theirs:?}, originally {original:?}"));
    }
    let text = |name: &str| {
        ours.iter().find(|(n, _)| n == name.as_bytes()).and_then(|(_, v)| String::from_utf8(v.clone()?).ok())
    };
    for name in ["pb-first-seen", "pb-attempts", "pb-reason", "pb-failed-at", "pb-worker"] {
        if text(name).is_none_or(|t| t.is_empty()) {
            problems.push(format!("{name} is missing"));
        }
    }
    if text("pb-origin-timestamp") != Some(source.timestamp.to_string()) {
        problems.push(format!(
            "pb-origin-timestamp {:?}, the record has {}",
            text("pb-origin-timestamp"),
            source.timestamp
        ));
    }
    if text("pb-detail").is_some_and(|t| t.len() > 512) {
        problems.push("pb-detail is longer than 512 bytes".into());
    }
    let names: HashSet<&Vec<u8>> = ours.iter().map(|(n, _)| n).collect();
    let size: usize = ours.iter().map(|(n, v)| n.len() + v.as_ref().map_or(0, Vec::len)).sum();
    let odd = |(n, v): &(Vec<u8>, Option<Vec<u8>>)| {
        !n.starts_with(b"pb-") || v.as_ref().is_none_or(|v| std::str::from_utf8(v).is_err())
    };
    if names.len() != ours.len() || size > 8192 || ours.iter().any(odd) {
        problems.push(format!("the worker's own headers are not in order: {ours:?}"));
    }
    problems
}

#[cfg(test)]
mod tests;
