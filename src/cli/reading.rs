//! Reads topics for a command: within bounds, with progress on a terminal if it takes long.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::progress;
use super::reach::cluster;
use crate::exit::Exit;
use crate::kafka::record::Record;
use crate::kafka::scan::{self, Progress, Span};
use crate::kafka::topics::AdminError;
use crate::settings::Config;

/// Reads spans on several threads and gives each record to `each`.
///
/// # Errors
/// 1: Kafka does not answer, or refuses.
pub fn read(config: &Config, spans: Vec<Span>, each: &(dyn Fn(Record) + Sync)) -> Result<(), Exit> {
    let (progress, over) = (Progress::default(), AtomicBool::new(false));
    let bar = progress::Progress::new("records read");
    std::thread::scope(|scope| {
        if !bar.is_hidden() {
            scope.spawn(|| show(&progress, &bar, &over));
        }
        let result = scan::read(&config.kafka, spans, &progress, each);
        over.store(true, Relaxed);
        result
    })
    .map_err(failed)
}

/// Returns the spans of all records that are in the dead-letter topic now.
///
/// # Errors
/// 1: Kafka does not answer, or the topic does not exist.
pub fn dead_letters(config: &Config) -> Result<Vec<Span>, Exit> {
    let (cluster, topic) = (cluster(config)?, &config.kafka.dead_letter);
    let found = scan::spans(&cluster, |name| name == topic).map_err(failed)?;
    // No span is found for an empty topic and for a missing one.
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

/// Turns an error of Kafka into the exit of a command.
pub fn failed(error: AdminError) -> Exit {
    Exit::failed(format!("kafka.brokers: {error}"))
}

/// Shows the progress until it is over.
pub fn show(progress: &Progress, bar: &progress::Progress, over: &AtomicBool) {
    while !over.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        bar.at(progress.done.load(Relaxed), progress.total.load(Relaxed));
    }
}
