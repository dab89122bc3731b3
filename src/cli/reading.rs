//! Reading topics for a command: bounded, with progress on a terminal where it takes its time.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::reach::cluster;
use crate::exit::Exit;
use crate::kafka::record::Record;
use crate::kafka::scan::{self, Progress, Span};
use crate::kafka::topics::AdminError;
use crate::settings::Config;

/// Work that is done sooner shows nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads spans and hands each record to `each`, from several threads.
///
/// # Errors
/// 1: Kafka does not answer, or refuses.
pub fn read(config: &Config, spans: Vec<Span>, each: &(dyn Fn(Record) + Sync)) -> Result<(), Exit> {
    let (progress, over) = (Progress::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        if std::io::stderr().is_terminal() {
            scope.spawn(|| show(&progress, &over));
        }
        let result = scan::read(&config.kafka, spans, &progress, each);
        over.store(true, Relaxed);
        result
    })
    .map_err(failed)
}

/// Everything that is in the dead-letter topic now.
///
/// # Errors
/// 1: Kafka does not answer, or there is no such topic.
pub fn dead_letters(config: &Config) -> Result<Vec<Span>, Exit> {
    let (cluster, topic) = (cluster(config)?, &config.kafka.dead_letter);
    let found = scan::spans(&cluster, |name| name == topic).map_err(failed)?;
    // An empty one and one that is not there look alike.
    if found.is_empty() && !cluster.topics().map_err(failed)?.iter().any(|t| t.name == *topic) {
        return Err(Exit::failed(missing(topic)));
    }
    Ok(found)
}

fn missing(topic: &str) -> String {
    format!(
        "topic {topic} does not exist (kafka.dead_letter): name the worker's own configuration with --config, or start \
         the worker, which creates it (kafka.create_topics); `postback check --connect` looks at every topic"
    )
}

/// What an answer of Kafka means for a command.
pub fn failed(error: AdminError) -> Exit {
    Exit::failed(format!("kafka.brokers: {error}"))
}

fn show(progress: &Progress, over: &AtomicBool) {
    let (began, mut shown) = (Instant::now(), false);
    while !over.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        if began.elapsed() > PATIENCE {
            shown = true;
            let (done, total) = (progress.done.load(Relaxed), progress.total.load(Relaxed).max(1));
            let filled = usize::try_from(done.min(total) * 20 / total).unwrap_or(20);
            eprint!("\r[{}{}] {done} of {total} records read", "#".repeat(filled), " ".repeat(20 - filled));
            let _ = std::io::stderr().flush();
        }
    }
    if shown {
        eprint!("\r\x1b[K");
    }
}
