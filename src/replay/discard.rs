//! Marks dead letters as done with, and takes such a mark back. Nothing is deleted: the mark is an entry of the audit,
//! which every reader of dead letters follows.

use std::collections::BTreeMap;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::now_ms;
use crate::inspect::dead_letters::index::{EndOffsets, Index, RowRef};
use crate::inspect::dead_letters::scan::Scan;
use crate::inspect::dead_letters::{Filter, State, place};
use crate::operate::audit::{self, AuditRecord, By, Change, Via};
use crate::operate::keys::Keys;
use crate::replay::error::ReplayError;

/// The most dead letters that one entry of the audit names one by one.
const MOST_ITEMS: usize = 1000;

/// What is to be discarded: a filter, or places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiscardRequest {
    /// The filters of `dead-letters`; `everything` where there is none. Only what is there now is discarded. Of
    /// more than 1000 that were replayed, those too that a replay publishes later.
    pub filter: Option<Filter>,
    /// Dead letters named one by one as `PARTITION:OFFSET`, instead of a filter.
    pub items: Vec<String>,
    /// Who asks for it, as claimed.
    pub who: String,
    /// From where; `api` by default.
    pub via: Option<Via>,
    pub why: String,
}

/// Which discard is to be taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UndiscardRequest {
    /// The id that the discard got.
    pub id: String,
    /// Who asks for it, as claimed.
    pub who: String,
    /// From where; `api` by default.
    pub via: Option<Via>,
    pub why: String,
}

/// A discard that was made or taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Discarded {
    /// The id of the discard.
    pub id: String,
    /// How many dead letters it marks, or marked.
    pub count: u64,
}

/// Discards what is selected. It waits for the search to be complete, at most so long.
///
/// # Errors
/// The request cannot be used, nothing is selected, or Kafka or Redis does not answer: then nothing was discarded.
pub async fn discard(
    scan: &Scan,
    redis: (&mut MultiplexedConnection, &Keys),
    what: &DiscardRequest,
    by: &By,
    within: Duration,
) -> Result<Discarded, ReplayError> {
    check_why(by)?;
    let filter = match (&what.filter, what.items.is_empty()) {
        (Some(filter), true) => Some(acting(filter)?),
        (None, false) => None,
        _ => return Err(ReplayError::bad("filter", "state either a filter or items")),
    };
    let ends = fresh(scan, within).await?;
    let entry = {
        let index = scan.index();
        let (rows, by_place) = match &filter {
            Some(filter) => {
                let rows = index.select(filter, Some(&ends));
                // By the filter alone it would take those too that are replayed later.
                let by_state = filter.state == Some(State::Replayed) && rows.len() <= MOST_ITEMS;
                (rows, filter.limit.is_some() || is_personal(filter) || by_state)
            }
            None => (named(&index, &what.items)?, true),
        };
        if rows.is_empty() {
            let message = "selects no dead letter in this state, so that nothing was discarded";
            return Err(ReplayError::bad("filter", message));
        }
        if by_place && rows.len() > MOST_ITEMS {
            let message = "a discard with a limit, with items or with personal data in its filter takes at most 1000";
            return Err(ReplayError::bad(if filter.is_some() { "filter" } else { "items" }, message));
        }
        entry(&index, filter.as_ref(), &rows, by_place.then_some(()).map_or(Some(ends), |()| None), by)
    };
    write(redis, &entry).await?;
    let count = entry.counts.values().sum();
    tracing::info!(id = entry.id, count, who = by.who, why = by.why, "dead letters discarded");
    Ok(Discarded { id: entry.id, count })
}

/// Takes a discard back: what it marked is open again, unless another one marks it, too.
///
/// # Errors
/// No such discard is in force, or Kafka or Redis does not answer: then nothing was changed.
pub async fn undiscard(
    scan: &Scan,
    redis: (&mut MultiplexedConnection, &Keys),
    id: &str,
    by: &By,
    within: Duration,
) -> Result<Discarded, ReplayError> {
    check_why(by)?;
    fresh(scan, within).await?;
    let count = {
        let index = scan.index();
        if !index.discards().iter().any(|discard| discard.id == id) {
            let message = format!("no discard `{}` is in force: there is none, or it was taken back", audit::safe(id));
            return Err(ReplayError::bad("id", message));
        }
        index.covered(id)
    };
    let mut entry = AuditRecord::new(Change::Undiscard, by, now_ms());
    entry.subject = Some(id.to_owned());
    entry.counts = [("selected".to_owned(), count)].into();
    write(redis, &entry).await?;
    tracing::info!(id, count, who = by.who, why = by.why, "a discard was taken back");
    Ok(Discarded { id: id.to_owned(), count })
}

fn check_why(by: &By) -> Result<(), ReplayError> {
    if by.why.is_empty() {
        return Err(ReplayError::bad("why", "say why: it is kept in the audit"));
    }
    Ok(())
}

fn acting(filter: &Filter) -> Result<Filter, ReplayError> {
    let filter = filter.clone().acting().map_err(|error| ReplayError::bad(error.field, error.message))?;
    if filter.state == Some(State::Discarded) {
        return Err(ReplayError::bad("state", "what is discarded cannot be discarded again"));
    }
    Ok(filter)
}

async fn fresh(scan: &Scan, within: Duration) -> Result<EndOffsets, ReplayError> {
    scan.fresh(within).await.map_err(|trouble| ReplayError::Unavailable(trouble.text))
}

/// The open dead letters at these places.
fn named(index: &Index, items: &[String]) -> Result<Vec<RowRef>, ReplayError> {
    let mut rows = Vec::new();
    for item in items {
        let shown = audit::safe(item);
        let wrong = |why: &str| ReplayError::bad("items", format!("`{shown}` {why}"));
        let (partition, offset) = place(item).ok_or_else(|| wrong("is no PARTITION:OFFSET"))?;
        let row = index.find(partition, offset).ok_or_else(|| wrong("is no dead letter, or not any more"))?;
        let state = index.row(row).state;
        if state != State::Open {
            return Err(wrong(&format!("is {} already", state.as_str())));
        }
        rows.push(row);
    }
    rows.sort_unstable();
    rows.dedup();
    Ok(rows)
}

/// Whether a text of the filter would be shown masked. The audit holds no such text: it names the places instead.
fn is_personal(filter: &Filter) -> bool {
    filter.masked() != *filter
}

/// The entry: with `ends` the filter decides what is covered, else the places.
fn entry(index: &Index, filter: Option<&Filter>, rows: &[RowRef], ends: Option<EndOffsets>, by: &By) -> AuditRecord {
    let shown = filter.map(Filter::masked);
    let mut entry = AuditRecord::new(Change::Discard, by, now_ms());
    entry.filter = shown.and_then(|filter| serde_json::to_value(filter).ok());
    if ends.is_none() {
        let place = |row: &RowRef| {
            let row = index.row(*row);
            format!("{}:{}", row.partition, row.offset)
        };
        entry.items = rows.iter().map(place).collect();
    }
    entry.end_offsets = ends.unwrap_or_default();
    entry.topic_id = index.topic().id().map(str::to_owned);
    entry.counts = BTreeMap::from([("selected".to_owned(), rows.len() as u64)]);
    entry
}

async fn write(
    (connection, keys): (&mut MultiplexedConnection, &Keys),
    entry: &AuditRecord,
) -> Result<(), ReplayError> {
    let mut pipe = ::redis::pipe();
    audit::push(pipe.atomic(), keys, entry);
    pipe.query_async(connection).await.map_err(|error| ReplayError::redis(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::dead_letters::DiscardLog;
    use crate::inspect::dead_letters::tests::letter;

    fn index() -> Index {
        let mut index = Index::default();
        index.begin(0, 0);
        let at = |offset, reason, id| letter(0, offset, &[("reason", reason), ("trans-id", id), ("failed-at", "9")]);
        index.newer(0, 3, &[at(0, "rejected", "t-0"), at(1, "rejected", "13812345678"), at(2, "invalid", "t-2")]);
        index.complete();
        index
    }

    fn states(index: &Index) -> Vec<State> {
        (0..3).filter_map(|offset| index.find(0, offset)).map(|row| index.row(row).state).collect()
    }

    #[test]
    fn an_entry_covers_exactly_what_was_selected_when_it_is_read_back() {
        let by = By::new(Via::Cli, "li", "campaign ended");
        let filter = |json: &str| serde_json::from_str::<Filter>(json).unwrap().acting().unwrap();
        for (filter, by_place, wanted) in [
            (filter(r#"{"reason":"rejected"}"#), false, [State::Discarded, State::Discarded, State::Open]),
            (filter(r#"{"trans_id":"13812345678"}"#), true, [State::Open, State::Discarded, State::Open]),
            (filter(r#"{"everything":true}"#), false, [State::Discarded; 3]),
            (filter(r#"{"everything":true,"limit":1}"#), true, [State::Open, State::Open, State::Discarded]),
        ] {
            let mut index = index();
            let ends = index.ends();
            assert_eq!(is_personal(&filter) || filter.limit.is_some(), by_place);
            let rows = index.select(&filter, Some(&ends));
            let entry = entry(&index, Some(&filter), &rows, Some(ends).filter(|_| !by_place), &by);
            let json = entry.json();
            assert!(!json.contains("13812345678"), "{json}");
            let mut log = DiscardLog::default();
            log.take(&AuditRecord::read(Some(json.as_bytes())).unwrap()).unwrap();
            index.set_discards(log.in_force(index.topic()));
            assert_eq!(states(&index), wanted);
            assert_eq!(index.covered(&entry.id), rows.len() as u64);
            assert_eq!(entry.counts["selected"], rows.len() as u64);
        }
    }

    #[test]
    fn a_discard_of_replayed_ones_takes_none_that_is_replayed_later() {
        let mut index = index();
        index.set_replayed(0, 0, &[0x80]);
        let filter = Filter { everything: true, state: Some(State::Replayed), ..Filter::default() }.acting().unwrap();
        let rows = index.select(&filter, Some(&index.ends()));
        let entry = entry(&index, Some(&filter), &rows, None, &By::new(Via::Cli, "li", "counted twice"));
        let mut log = DiscardLog::default();
        log.take(&AuditRecord::read(Some(entry.json().as_bytes())).unwrap()).unwrap();
        index.set_discards(log.in_force(index.topic()));
        assert_eq!(states(&index), [State::Discarded, State::Open, State::Open]);
        index.set_replayed(0, 0, &[0xc0]);
        assert_eq!(states(&index), [State::Discarded, State::Replayed, State::Open]);
        assert_eq!(index.covered(&entry.id), 1);
    }

    #[test]
    fn items_must_be_open_dead_letters() {
        let mut index = index();
        index.set_replayed(0, 0, &[0x80]);
        let items = |items: &[&str]| named(&index, &items.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>());
        assert_eq!(items(&["0:2", "0:1", "0:2"]).unwrap().len(), 2);
        for (item, says) in
            [("0:9", "is no dead letter"), ("x", "is no PARTITION:OFFSET"), ("0:0", "is replayed already")]
        {
            let error = items(&["0:1", item]).unwrap_err().to_string();
            assert!(error.starts_with("items: `") && error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_filter_without_condition_and_one_of_discarded_ones_are_refused() {
        assert!(acting(&Filter::default()).unwrap_err().to_string().contains("`everything`"));
        let discarded = Filter { everything: true, state: Some(State::Discarded), ..Filter::default() };
        assert_eq!(acting(&discarded).unwrap_err().field(), Some("state"));
        assert!(check_why(&By::new(Via::Api, "li", " ")).is_err());
    }
}
