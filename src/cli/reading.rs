//! Reading topics for a command: bounded, with progress on a terminal where it takes its time.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

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
