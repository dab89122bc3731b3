//! What the API shows of dead letters: pages, groups and single ones, all of the one shared search.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::inspect::dead_letters::filter::{Filter, FilterError};
use crate::inspect::dead_letters::index::{Cursor, Group, Stats};
use crate::inspect::dead_letters::item::Item;
use crate::inspect::dead_letters::scan::{Progress, Scan};
use crate::inspect::dead_letters::state::State;
use crate::kafka::record::Record;
use crate::kafka::topics::AdminError;

/// Rows of a page that states no limit, and the most.
const PAGE: usize = 50;
const LONGEST_PAGE: usize = 500;
/// At most so many bytes of each value are in a page. The single dead letter has the rest.
const LONGEST_VALUE: usize = 16 * 1024;
/// An answer waits so long for a full page, and for the first letters.
const PATIENCE: Duration = Duration::from_millis(800);
const FIRST: Duration = Duration::from_secs(5);
/// Single records are read for so long. It is shorter than the time limit of an answer, so that the client is told why.
const READ: Duration = Duration::from_secs(8);

/// What is asked for: the filter, and which page. `limit` is the length of the page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Without its limit.
    pub filter: Filter,
    /// Every dead letter, not only the newest of each origin.
    pub all: bool,
    pub cursor: Option<Cursor>,
    pub limit: usize,
}

impl Query {
    /// Reads a query from the pairs of a URL.
    ///
    /// # Errors
    /// Names the first pair that is unknown or cannot be read.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, FilterError> {
        let wrong = |field: &str, message: &str| FilterError { field: field.to_owned(), message: message.to_owned() };
        let (mut query, mut rest) = (Query { limit: PAGE, ..Query::default() }, Vec::new());
        for (name, text) in pairs {
            match name {
                "cursor" if text.is_empty() => {}
                "cursor" => query.cursor = Some(text.parse().map_err(|why| wrong("cursor", why))?),
                "all" => query.all = text.parse().map_err(|_| wrong("all", "neither true nor false"))?,
                _ => rest.push((name, text)),
            }
        }
        query.filter = Filter::from_pairs(rest)?;
        if let Some(limit) = query.filter.limit.take() {
            if !(1..=LONGEST_PAGE).contains(&limit) {
                return Err(wrong("limit", "has to be 1 to 500"));
            }
            query.limit = limit;
        }
        Ok(query)
    }
}

/// How far the search has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SearchView {
    /// How many dead letters were looked at, of how many that are there.
    pub scanned: u64,
    pub total: u64,
    /// Whether all were looked at, or as many of the newest as a search holds (4,000,000). Until then, more may be
    /// found, and asking again goes on with the search.
    pub done: bool,
    /// Why the search does not get on, or what it does not know; null: nothing is wrong.
    pub trouble: Option<String>,
}

impl From<Progress> for SearchView {
    fn from(progress: Progress) -> Self {
        let left_out = progress.left_out_text();
        let trouble = progress.trouble.map(|trouble| trouble.text).or(left_out);
        Self { scanned: progress.scanned, total: progress.total, done: progress.done, trouble }
    }
}

/// A page of dead letters, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Listing {
    pub items: Vec<Item>,
    /// Where the next page begins; null: nothing is left.
    pub cursor: Option<String>,
    #[serde(flatten)]
    pub search: SearchView,
}

/// Groups of dead letters: those with most open ones first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GroupListing {
    pub groups: Vec<Group>,
    /// The sums over all groups.
    pub stats: Stats,
    #[serde(flatten)]
    pub search: SearchView,
}

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    /// The cursor is too old.
    #[error("{0}")]
    Stale(String),
    /// Kafka does not answer, or the topic cannot be read.
    #[error("{0}")]
    Unavailable(String),
}

/// A page. It waits until the page is full, but not long; an unfinished page has a cursor, with which to go on.
///
/// # Errors
/// See [`ListingError`].
pub async fn page(scan: &Arc<Scan>, query: &Query) -> Result<Listing, ListingError> {
    let asked = begin(scan).await?;
    let select = || scan.index().page(&query.filter, query.all, query.cursor, query.limit);
    let progress = scan
        .wait(PATIENCE, |progress| progress.done || select().is_ok_and(|page| page.rows.len() >= query.limit))
        .await;
    let (places, cursor) = {
        let index = scan.index();
        let page = index.page(&query.filter, query.all, query.cursor, query.limit);
        let page = page.map_err(|stale| ListingError::Stale(stale.to_string()))?;
        let rows = page.rows.iter().map(|row| index.row(*row)).map(|row| ((row.partition, row.offset), row.state));
        (rows.collect::<Vec<_>>(), page.cursor)
    };
    let records = fetch(scan, places.iter().map(|(place, _)| *place).collect()).await?;
    let state = |record: &Record| {
        places.iter().find(|(place, _)| *place == (record.partition, record.offset)).map(|(_, state)| *state)
    };
    Ok(Listing {
        items: records.iter().map(|record| Item::new(record, state(record), LONGEST_VALUE)).collect(),
        cursor: cursor.map(|cursor| cursor.to_string()),
        search: view(scan, progress, asked),
    })
}

/// The groups of what was found so far.
///
/// # Errors
/// See [`ListingError`].
pub async fn groups(scan: &Arc<Scan>, filter: &Filter) -> Result<GroupListing, ListingError> {
    let asked = begin(scan).await?;
    let progress = scan.wait(PATIENCE, |progress| progress.done).await;
    let index = scan.index();
    let search = view(scan, progress, asked);
    Ok(GroupListing { groups: index.groups(filter, false), stats: index.stats(filter, false), search })
}

/// One dead letter by its place, with its state where the search has come so far; `None`: there is none.
///
/// # Errors
/// See [`ListingError`].
pub async fn letter(scan: &Arc<Scan>, place: (i32, i64)) -> Result<Option<(Record, Option<State>)>, ListingError> {
    begin(scan).await?;
    let find = || {
        let index = scan.index();
        index.find(place.0, place.1).map(|row| index.row(row).state)
    };
    scan.wait(PATIENCE, |progress| progress.done || find().is_some()).await;
    let state = find();
    let found = match state {
        Some(_) => fetch(scan, vec![place]).await?.pop(),
        None => blocking(scan, move |scan| scan.fetch_one(place)).await?,
    };
    Ok(found.map(|record| (record, state)))
}

/// Waits for the first letters, and after a rest for what has arrived meanwhile. Then it returns the number under which
/// it asked for that.
async fn begin(scan: &Arc<Scan>) -> Result<Option<u64>, ListingError> {
    let asked = scan.ask_anew_if_quiet();
    let ready = |progress: &Progress| progress.done || progress.rounds > 0;
    let refused = |progress: &Progress| progress.trouble.as_ref().is_some_and(|trouble| trouble.refused);
    let progress = scan.wait(FIRST, |progress| ready(progress) || refused(progress)).await;
    match progress.trouble {
        Some(trouble) if !ready(&progress) || trouble.refused => Err(ListingError::Unavailable(trouble.text)),
        None if !ready(&progress) => Err(ListingError::Unavailable("Kafka has not answered yet: ask again".to_owned())),
        _ => {
            if let Some(number) = asked {
                scan.wait(PATIENCE, |progress| !progress.done || scan.is_fresh(number)).await;
            }
            Ok(asked)
        }
    }
}

/// How far the search is. What it did not look up since it was asked is no answer without a word.
fn view(scan: &Scan, progress: Progress, asked: Option<u64>) -> SearchView {
    let is_old = progress.done && asked.is_some_and(|number| !scan.is_fresh(number));
    let mut view = SearchView::from(progress);
    if is_old && view.trouble.is_none() {
        view.trouble =
            Some("what has arrived or changed since somebody last asked is not known yet: ask again".to_owned());
    }
    view
}

async fn fetch(scan: &Arc<Scan>, places: Vec<(i32, i64)>) -> Result<Vec<Record>, ListingError> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    blocking(scan, move |scan| scan.fetch(&places)).await
}

/// Reads on a thread, one reading at a time.
async fn blocking<T: Send + 'static>(
    scan: &Arc<Scan>,
    read: impl FnOnce(&Scan) -> Result<T, AdminError> + Send + 'static,
) -> Result<T, ListingError> {
    let unavailable = |text: &str| ListingError::Unavailable(text.to_owned());
    let in_turn = async {
        let turn = scan.turn().await;
        let scan = scan.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let done = read(&scan);
            drop(turn);
            done
        });
        reading.await.map_err(|_| unavailable("the reading broke off: ask again"))
    };
    let done = tokio::time::timeout(READ, in_turn).await;
    let done = done.map_err(|_| unavailable("Kafka does not answer in time: ask again"))??;
    done.map_err(|error| ListingError::Unavailable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_filter_a_cursor_and_the_length_of_a_page() {
        let query = Query::from_pairs([("reason", "invalid"), ("limit", "10"), ("cursor", "r.1.2.3"), ("all", "true")])
            .unwrap();
        assert_eq!((query.limit, query.all, query.filter.limit), (10, true, None));
        assert_eq!(query.cursor.unwrap().to_string(), "r.1.2.3");
        assert_eq!(Query::from_pairs([("cursor", "")]).unwrap(), Query { limit: 50, ..Query::default() });
        for (name, text) in [("limit", "0"), ("limit", "501"), ("cursor", "x"), ("all", "yes"), ("page", "2")] {
            assert_eq!(Query::from_pairs([(name, text)]).unwrap_err().field, name, "{text}");
        }
    }
}
