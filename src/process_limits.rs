//! The machine that runs the worker: its name, how many files it may open, and the memory that it gets back.

use std::time::Duration;

use crate::exit::Exit;
use crate::settings::Config;

/// The files beside one per request: Kafka, Redis, logs, admin.
const OTHER_FILES: u64 = 256;
/// The time between two returns of memory. One takes some milliseconds.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(15);

/// A name of host, process and a random part, so that no two replicas have the same.
pub fn replica_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String =
        host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).take(64).collect();
    format!("{}-{}-{:04x}", if host.is_empty() { "worker" } else { &host }, std::process::id(), rand::random::<u16>())
}

/// Gives the system back what the Kafka client has freed, for as long as the worker runs. Each time that the client
/// asks for all topics, the answer takes memory for every one of them, of which glibc keeps most. What Rust code frees
/// is not glibc's.
pub async fn give_back_memory() {
    loop {
        tokio::time::sleep(GIVE_BACK_EVERY).await;
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        {
            // SAFETY: the call has no arguments to misuse, and any thread may make it at any time.
            let _ = tokio::task::spawn_blocking(|| unsafe { libc::malloc_trim(0) }).await;
        }
    }
}

/// Raises the limit of open files to what the lanes may need.
///
/// # Errors
/// The limit cannot be raised so far; the start is refused.
pub fn allow_open_files(config: &Config) -> Result<(), Exit> {
    let requests: usize = config.accounts.values().map(|a| a.limits.concurrency).sum();
    // One more per account: the timer of its rate.
    let needed = (requests + config.accounts.len()) as u64 + OTHER_FILES;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only read and write the struct they are given.
    let allowed = unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return Ok(());
        }
        // It is raised as far as possible even if that is not enough. The message below states the limit that cannot be
        // passed.
        if limit.rlim_cur < needed && limit.rlim_max > limit.rlim_cur {
            let raised = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
                limit = raised;
            }
        }
        limit.rlim_cur
    };
    if allowed >= needed {
        return Ok(());
    }
    Err(Exit::usage(format!(
        "limits.concurrency: all accounts together may have {requests} requests under way, which needs {needed} open \
         files; this process may open {allowed}: raise it (ulimit -n {needed}, LimitNOFILE=) or lower the concurrency"
    )))
}
