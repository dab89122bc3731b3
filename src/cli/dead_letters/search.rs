//! Searches the dead letters for a command, with progress on a terminal.

use std::time::Duration;

use crate::cli::reach::Reach;
use crate::cli::{progress, reading};
use crate::exit::{self, Exit};
use crate::inspect::dead_letters::Filter;
use crate::inspect::dead_letters::scan::{Progress, Scan, Source, Trouble};
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

/// How long a search may stand still.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks at all dead letters that are there now.
///
/// # Errors
/// 1: Kafka or Redis does not answer, or the topic does not exist.
pub(super) fn all(config: &Config) -> Result<Scan, Exit> {
    reading::dead_letters(config)?;
    let source = Source { kafka: config.kafka.clone(), redis: config.redis.clone() };
    let scan = Scan::start(source).map_err(|error| Exit::failed(format!("no thread for the search: {error}")))?;
    exit::block_on(wait(&scan))?;
    Ok(scan)
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
