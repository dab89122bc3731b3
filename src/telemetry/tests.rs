use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// Call this before a test sets a subscriber for one thread. While that subscriber is the only one of the process, a
/// line that another thread logs for the first time is switched off for all threads. A second subscriber, which stays,
/// prevents this.
pub(crate) fn hear_every_thread() {
    static STAYS: LazyLock<tracing::Dispatch> =
        LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));
    LazyLock::force(&STAYS);
}

/// Collects the log.
#[derive(Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    /// Collects what this thread logs from now on as lines of JSON, until the guard is dropped.
    pub(crate) fn listen(&self) -> tracing::subscriber::DefaultGuard {
        hear_every_thread();
        let subscriber = tracing_subscriber::registry().with(lines(self.clone(), true, false));
        tracing::subscriber::set_default(subscriber)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Sink;
    fn make_writer(&'a self) -> Sink {
        self.clone()
    }
}

fn logged(json: bool, act: impl FnOnce()) -> String {
    let sink = Sink::default();
    let subscriber = tracing_subscriber::registry().with(lines(sink.clone(), json, false));
    tracing::subscriber::with_default(subscriber, act);
    sink.text()
}

const HOSTILE: &str = "x\n2026-01-01T00:00:00Z ERROR forged\u{1b}[2J\r\u{9b}31m\u{202e}\"},{\u{0}\u{7f}\u{2028}";

#[test]
fn a_line_of_json_has_fixed_names_and_flat_fields() {
    let text = logged(true, || {
        tracing::warn!(account = "acme-ps", offset = 17_i64, ok = true, share = 0.5, took = ?std::time::Duration::from_secs(2), "held back");
    });
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["level"], "warn");
    assert_eq!(value["message"], "held back");
    assert_eq!(value["target"], "postback::telemetry::tests");
    assert_eq!(
        (value["account"].as_str(), value["offset"].as_i64(), value["ok"].as_bool(), value["share"].as_f64()),
        (Some("acme-ps"), Some(17), Some(true), Some(0.5))
    );
    assert_eq!(value["took"], "2s");
    assert!(chrono::DateTime::parse_from_rfc3339(value["time"].as_str().unwrap()).is_ok());
}

#[test]
fn a_hostile_id_stays_one_line_and_valid_json() {
    let text = logged(true, || tracing::info!(trans_id = HOSTILE, "{HOSTILE}"));
    assert_eq!(text.matches('\n').count(), 1);
    assert!(text.trim_end().chars().all(|c| !c.is_control() && c != '\u{202e}' && c != '\u{2028}'), "{text}");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["trans_id"], HOSTILE);
}

#[test]
fn a_hostile_id_stays_one_line_of_text_without_escape_sequences() {
    let text = logged(false, || tracing::info!(trans_id = HOSTILE, "{HOSTILE}"));
    assert_eq!(text.matches('\n').count(), 1);
    assert!(text.trim_end().chars().all(|c| !c.is_control() && c != '\u{202e}'), "{text}");
    assert!(text.contains("\\u001b[2J"));
}

#[test]
fn a_line_of_text_reads_as_level_target_message_and_fields() {
    let text = logged(false, || tracing::error!(account = "acme-ps", why = "bad key", n = 3, "halted"));
    assert!(text.contains(" ERROR postback::telemetry::tests: halted account=acme-ps why=\"bad key\" n=3\n"), "{text}");
}

#[test]
fn each_field_is_cut_at_256_characters() {
    let long = "长".repeat(1_000);
    let value: serde_json::Value = serde_json::from_str(&logged(true, || tracing::info!(x = long, "{long}"))).unwrap();
    for name in ["x", "message"] {
        let text = value[name].as_str().unwrap();
        assert_eq!(text.chars().count(), 257);
        assert!(text.ends_with('…'));
    }
}

#[test]
fn phones_and_secrets_are_masked_wherever_they_stand() {
    for json in [true, false] {
        let text = logged(json, || {
            let span = tracing::info_span!("event", note = "user 13812345678");
            let _inside = span.enter();
            tracing::info!(answer = "+86-138-1234-5678", error = ?"secret=hunter2", "echo 13812345678");
        });
        assert!(!text.contains("1234") && !text.contains("hunter2"), "{text}");
        assert_eq!(text.matches("138****5678").count(), 3);
    }
}

#[test]
fn fields_of_spans_are_flattened_and_the_innermost_wins() {
    let text = logged(true, || {
        let outer = tracing::info_span!("lane", account = "a", state = "flowing", late = tracing::field::Empty);
        let _outer = outer.enter();
        let inner = tracing::info_span!("event", state = "halted");
        let _inner = inner.enter();
        outer.record("late", 7);
        tracing::info!(message_ = "kept", level = "fake", account = "b", "x");
    });
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((value["account"].as_str(), value["state"].as_str()), (Some("b"), Some("halted")));
    assert_eq!((value["level"].as_str(), value["level_"].as_str()), (Some("info"), Some("fake")));
    assert_eq!(value["late"], 7);
    for name in ["account", "state", "level"] {
        assert_eq!(text.matches(&format!("\"{name}\":")).count(), 1);
    }
}

#[test]
fn a_record_of_the_log_crate_shows_its_own_target() {
    let text = logged(true, || {
        tracing::warn!(target: "log", { "log.target" = "librdkafka", "log.file" = "client.rs", "log.line" = 7 }, "FAIL: refused");
    });
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((value["target"].as_str(), value["message"].as_str()), (Some("librdkafka"), Some("FAIL: refused")));
    assert_eq!(value.as_object().unwrap().len(), 4);
}

#[test]
fn a_bare_level_is_for_the_worker_and_keeps_libraries_at_warn() {
    let show = |filter: &str| parse_filter(filter).unwrap().to_string();
    let same = |filter: &str, parts: &[&str]| {
        let text = show(filter);
        let mut have: Vec<_> = text.split(',').collect();
        have.sort_unstable();
        assert_eq!(have, parts, "{filter}");
    };
    same("info", &["postback=info", "warn"]);
    same("debug", &["postback=debug", "warn"]);
    same("error", &["error", "postback=error"]);
    same("", &["postback=info", "warn"]);
    same("info,librdkafka=debug", &["librdkafka=debug", "postback=info", "warn"]);
}

#[test]
fn a_filter_that_cannot_be_read_is_named() {
    let error = parse_filter("postback=loud").unwrap_err();
    assert!(error.contains("postback=loud"), "{error}");
}
