//! What the operating system says of this process: CPU, resident memory, open files. The names have no prefix, because
//! every Prometheus client uses these.

use std::fmt::Write as _;

use super::families::{self, Family};

/// The families that this file writes.
pub(super) const FAMILIES: [&Family; 3] =
    [&families::PROCESS_CPU, &families::PROCESS_MEMORY, &families::PROCESS_OPEN_FDS];

/// Writes them. Where the system has no `/proc`, a family shows its type and no series.
pub(super) fn write(text: &mut String) {
    let values = [cpu_seconds(), resident_bytes(), open_fds()];
    for (family, value) in FAMILIES.into_iter().zip(values) {
        family.write_head(text);
        if let Some(value) = value {
            let _ = writeln!(text, "{} {value}", family.name);
        }
    }
}

/// User and system time of all threads since the start, in seconds.
#[cfg(target_os = "linux")]
fn cpu_seconds() -> Option<f64> {
    let ticks = ticks(&std::fs::read_to_string("/proc/self/stat").ok()?)?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(target_os = "linux")]
fn resident_bytes() -> Option<f64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse::<u64>().ok()?;
    Some((pages * rustix::param::page_size() as u64) as f64)
}

#[cfg(target_os = "linux")]
fn open_fds() -> Option<f64> {
    // One of them is the folder that is being read.
    Some((std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1)) as f64)
}

/// The fields `utime` and `stime`. The name before them, in parentheses, may hold spaces and parentheses itself.
#[cfg(target_os = "linux")]
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(not(target_os = "linux"))]
fn cpu_seconds() -> Option<f64> {
    None
}

#[cfg(not(target_os = "linux"))]
fn resident_bytes() -> Option<f64> {
    None
}

#[cfg(not(target_os = "linux"))]
fn open_fds() -> Option<f64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_process_does_not_shift_the_fields() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 900 0 0 0 250 31 0 0 20 0 9 0 100 1 2 3";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_memory_and_open_files_and_used_cpu() {
        let mut text = String::new();
        write(&mut text);
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|l| l.strip_prefix(&format!("{name} "))).unwrap();
            line.parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0);
        let (before, begun) = (cpu_seconds().unwrap(), std::time::Instant::now());
        while cpu_seconds().unwrap() < before + 0.02 {
            assert!(begun.elapsed().as_secs() < 60, "a busy loop shows no CPU time");
        }
    }
}
