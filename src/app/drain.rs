//! What ends a running worker, and how it ends: signals, a part that dies, the drain.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

use super::consumers::Started;
use crate::exit::Exit;
use crate::kafka::consumer::ENDS_WITHIN;
use crate::operate::status::WorkerStatus;
use crate::settings::Config;
use crate::settle::context::StageContext;

/// How long Redis may take to store tokens that were just issued. The producer is flushed meanwhile.
const FOR_TOKENS: Duration = Duration::from_secs(3);
/// How long the broker may take to acknowledge what the producer still holds.
const FOR_FLUSH: Duration = Duration::from_secs(2);
/// The time after the drain in which the process ends, even if neither Kafka nor Redis answers: what the consumers
/// need, then the longer of the two above, and a second for the rest.
const AFTER_DRAIN: Duration = ENDS_WITHIN.saturating_add(FOR_TOKENS).saturating_add(Duration::from_secs(1));
/// The exit code after a second signal.
const INTERRUPTED: i32 = 130;

/// Returns a future that completes at the first SIGTERM or SIGINT. A second signal exits at once. From now on SIGHUP
/// does not end the process; a running worker reloads its configuration.
///
/// # Errors
/// Exits with 1 if the signals cannot be watched. Call it inside a Tokio runtime.
pub fn stop_signal() -> Result<impl Future<Output = ()>, Exit> {
    let failed = |error: std::io::Error| Exit::failed(format!("signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    // Whoever has asked for a signal once keeps it from its usual effect.
    drop(signal(SignalKind::hangup()).map_err(failed)?);
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            std::process::exit(INTERRUPTED);
        });
    })
}

/// Checks once a second and returns why the worker has to end. If a thread has ended, the whole process ends; it is
/// restarted and continues to read.
pub(super) async fn a_part_dies(status: &WorkerStatus, embedded: bool) -> String {
    use crate::operate::readiness::Status as _;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if !status.live() {
            return "a consumer or lane thread has ended; see the log before this line".into();
        }
        if let Some(why) = status.dropped().filter(|_| embedded) {
            return why;
        }
    }
}

/// Stops the intake, finishes the records under way, gives the rest back, flushes, commits, and leaves the group.
pub(super) async fn drain_all(
    config: &Config,
    context: &Arc<StageContext>,
    status: &WorkerStatus,
    intake: Started,
    waiting: Started,
    ended: Option<String>,
) -> Result<(), Exit> {
    let drain = config.intake.drain_timeout;
    match &ended {
        None => tracing::info!(drain_timeout = ?drain, "stopping: finishing what is under way"),
        Some(why) => tracing::error!("stopping: {why}"),
    }
    // The whole end has to stay below the orchestrator's grace period, even if something hangs: unfinished records are
    // read again. A program that embeds the worker continues after the drain, so this thread ends with the drain too.
    let (drained, hangs) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        if hangs.recv_timeout(drain + AFTER_DRAIN) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the drain took too long; leaving all the same");
            std::process::exit(1);
        }
    });
    intake.handle.shutdown(drain);
    waiting.handle.shutdown(drain);
    let context = context.clone();
    let runtimes = status.running.get().map(|running| running.runtimes.clone());
    let joined = spawn_blocking(move || {
        let results = [intake.join(), waiting.join()];
        // Both at once: a token that is lost because Kafka does not answer locks its account out.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if runtimes.is_some_and(|runtimes| !runtimes.store_tokens(FOR_TOKENS)) {
                    tracing::error!(
                        "redis has not taken a new token in time; its account may have to be authorised anew"
                    );
                }
            });
            if context.producer.flush(FOR_FLUSH).is_err() {
                tracing::warn!("some records were not acknowledged; their originals are read again");
            }
        });
        results.into_iter().collect::<Result<Vec<()>, _>>()
    })
    .await;
    drop(drained);
    match (ended, joined) {
        (Some(why), _) => Err(Exit::failed(why)),
        (None, Ok(Ok(_))) => {
            tracing::info!("stopped");
            Ok(())
        }
        (None, Ok(Err(error))) => Err(Exit::failed(error)),
        (None, Err(_)) => Err(Exit::failed("the drain broke off")),
    }
}
