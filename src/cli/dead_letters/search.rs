//! Searches the dead letters for a command, with progress on a terminal.

use std::collections::HashMap;
use std::time::Duration;

use crate::cli::reach::Reach;
use crate::cli::{progress, reading};
use crate::exit::{self, Exit};
use crate::inspect::dead_letters::scan::{Progress, SKEW_MS, Scan, Source, Trouble};
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
const TICK: Duration = Duration::from_millis(200);
/// How long a search may stand still.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks at all dead letters that are there now.
///
/// # Errors
/// 1: Kafka or Redis does not answer, or the topic does not exist.
pub(super) fn all(config: &Config) -> Result<Scan, Exit> {
    let scan = start(config)?;
    exit::block_on(wait(&scan, &|_| false))?;
    tell_left_out(&scan.progress());
    Ok(scan)
}

/// Looks at as many dead letters as the filter needs: if it has a limit, the search ends with the newest ones that
/// match. Ctrl-C ends it, too. Standard error then says how many were looked at, and how to go on.
///
/// # Errors
/// As for [`all`].
pub(super) fn enough(config: &Config, filter: &Filter, every: bool) -> Result<Scan, Exit> {
    let scan = start(config)?;
    let found = |progress: &Progress| {
        let Some(limit) = filter.limit else { return false };
        let since = filter.since.unwrap_or(i64::MIN).max(progress.settled_ms.saturating_add(SKEW_MS));
        let settled = Filter { since: Some(since), limit: None, ..filter.clone() };
        progress.rounds > 0 && scan.index().count(&settled, every) >= limit as u64
    };
    exit::block_on(async {
        tokio::select! {
            waited = wait(&scan, &found) => waited,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })?;
    let progress = scan.progress();
    if !progress.done {
        let more = scan.index().newest_first(filter, every).last().map(|row| scan.index().row(*row).failed_at_ms);
        let more = more.map(|ms| format!(", older ones with --until {ms}")).unwrap_or_default();
        eprintln!("note: looked at {} of {} dead letters, the newest ones{more}", progress.scanned, progress.total);
    }
    tell_left_out(&progress);
    Ok(scan)
}

fn tell_left_out(progress: &Progress) {
    if let Some(text) = progress.left_out_text() {
        eprintln!("note: {text}");
    }
}

fn start(config: &Config) -> Result<Scan, Exit> {
    reading::dead_letters(config)?;
    Scan::start(source(config)).map_err(|error| Exit::failed(format!("no thread for the search: {error}")))
}

pub(super) fn source(config: &Config) -> Source {
    Source { kafka: config.kafka.clone(), redis: config.redis.clone() }
}

/// Waits until everything was looked at, or until it is enough.
async fn wait(scan: &Scan, enough: &dyn Fn(&Progress) -> bool) -> Result<(), Exit> {
    let bar = progress::Progress::new("dead letters looked at");
    let (mut last, mut moved) = (Progress::default(), tokio::time::Instant::now());
    let number = scan.ask_anew();
    loop {
        match scan.fresh_since(number, TICK).await {
            Ok(_) => return Ok(()),
            Err(_) if enough(&scan.progress()) => return Ok(()),
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
    let places: Vec<((i32, i64), State)> = {
        let index = scan.index();
        let rows = index.newest_first(filter, all);
        rows.iter().map(|row| index.row(*row)).map(|row| ((row.partition, row.offset), row.state)).collect()
    };
    for places in places.chunks(PAGE) {
        let states: HashMap<(i32, i64), State> = places.iter().copied().collect();
        let places: Vec<(i32, i64)> = places.iter().map(|(place, _)| *place).collect();
        let with_state = |record: Record| {
            let state = *states.get(&(record.partition, record.offset))?;
            Some((record, state))
        };
        let records = scan.fetch(&places).map_err(reading::failed)?;
        let found: Vec<Found> = records.into_iter().filter_map(with_state).collect();
        if !found.is_empty() {
            take(&found)?;
        }
    }
    Ok(())
}
