//! Searches the dead letters for a command, with progress on a terminal.

use std::collections::HashMap;
use std::time::Duration;

use crate::cli::reach::Reach;
use crate::cli::{progress, reading};
use crate::exit::{self, Exit};
use crate::inspect::dead_letters::scan::{Progress, Scan, Source, Trouble};
use crate::inspect::dead_letters::{Filter, State};
use crate::kafka::record::Record;
use crate::settings::Config;

/// What `list` and `stats` select.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Selection {
    #[command(flatten)]
    pub(super) filter: Filter,
    /// Every dead letter, not only the newest of each origin
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) reach: Reach,
}

/// Rows that are read and written at once.
const PAGE: usize = 500;
/// How long a search may stand still.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks at all dead letters that are there now.
///
/// # Errors
/// 1: Kafka or Redis does not answer, or the topic does not exist.
pub(super) fn all(config: &Config) -> Result<Scan, Exit> {
    reading::dead_letters(config)?;
    let scan =
        Scan::start(source(config)).map_err(|error| Exit::failed(format!("no thread for the search: {error}")))?;
    exit::block_on(wait(&scan))?;
    Ok(scan)
}

pub(super) fn source(config: &Config) -> Source {
    Source { kafka: config.kafka.clone(), redis: config.redis.clone() }
}

async fn wait(scan: &Scan) -> Result<(), Exit> {
    let bar = progress::Progress::new("dead letters looked at");
    let (mut last, mut moved) = (Progress::default(), tokio::time::Instant::now());
    loop {
        let tick = if bar.is_hidden() { PATIENCE } else { Duration::from_millis(200) };
        match scan.fresh(tick).await {
            Ok(_) => return Ok(()),
            Err(trouble) if trouble.refused => return Err(failed(&trouble)),
            Err(trouble) => {
                let now = scan.progress();
                bar.at(now.scanned, now.total);
                if (now.scanned, now.total) != (last.scanned, last.total) {
                    (last, moved) = (now, tokio::time::Instant::now());
                } else if moved.elapsed() >= PATIENCE {
                    return Err(failed(&trouble));
                }
            }
        }
    }
}

fn failed(trouble: &Trouble) -> Exit {
    Exit::failed(format!("dead letters: {trouble}"))
}

/// A selected dead letter.
pub(super) type Found = (Record, State);
/// Takes one page.
type Take<'a> = dyn FnMut(&[Found]) -> Result<(), Exit> + 'a;

/// Reads the selected dead letters in pages, newest first, and hands out each page.
///
/// # Errors
/// 1: Kafka does not answer; and the errors of `take`.
pub(super) fn each_page(scan: &Scan, filter: &Filter, all: bool, take: &mut Take<'_>) -> Result<(), Exit> {
    let mut cursor = None;
    loop {
        let (places, next) = {
            let index = scan.index();
            let page = index.page(filter, all, cursor, PAGE).map_err(|stale| Exit::failed(stale.to_string()))?;
            let rows = page.rows.iter().map(|row| index.row(*row)).map(|row| ((row.partition, row.offset), row.state));
            (rows.collect::<Vec<_>>(), page.cursor)
        };
        let states: HashMap<(i32, i64), State> = places.iter().copied().collect();
        let places: Vec<(i32, i64)> = places.into_iter().map(|(place, _)| place).collect();
        let with_state = |record: Record| {
            let state = *states.get(&(record.partition, record.offset))?;
            Some((record, state))
        };
        let records = scan.fetch(&places).map_err(reading::failed)?;
        let found: Vec<Found> = records.into_iter().filter_map(with_state).collect();
        if !found.is_empty() {
            take(&found)?;
        }
        cursor = next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}
