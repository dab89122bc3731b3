//! Finds out why no broker answers. The client library reports this only in its log. It keeps the log in a queue until
//! somebody reads it; without a reader the queue would grow for as long as Kafka is away.

use std::ffi::CStr;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use rdkafka::bindings as sys;
use rdkafka::client::Client;

use super::context::Context;

/// The reason that one client's log gives.
#[derive(Debug, Default)]
pub(super) struct Reason(Mutex<Option<String>>);

impl Reason {
    /// Reads what the client has logged since the last call. `answered` says whether a broker has answered the client.
    pub fn listen(&self, client: &Client<Context>, answered: bool) {
        let lines = drain(client);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            *known = None;
            return;
        }
        for why in lines.iter().map(|line| shortened(line)) {
            // The first reason of a rank stays. Several brokers fail in turns, and each change of the reason would
            // write another log line.
            if known.as_deref().is_none_or(|old| rank(&why) > rank(old)) {
                *known = Some(why);
            }
        }
    }

    /// The reason in words. `None`: the log gives none.
    pub fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How much a reason tells: a wrong password or certificate does not disappear by waiting, while a broker that is down
/// may be one of many.
fn rank(why: &str) -> u8 {
    let has = |texts: &[&str]| texts.iter().any(|text| why.contains(text));
    if has(&["SASL", "SSL", "uthenticat"]) {
        3
    } else if has(&["resolve"]) {
        2
    } else if has(&["brokers are down"]) {
        0
    } else {
        1
    }
}

/// Removes the thread's name before the text and the times after it.
fn shortened(line: &str) -> String {
    let line = line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")).map_or(line, |(_, text)| text);
    let line = line.split_once(" (after ").map_or(line, |(text, _)| text);
    line.trim().trim_end_matches(':').to_owned()
}

/// The lines that the client has logged about trouble since the last call.
fn drain(client: &Client<Context>) -> Vec<String> {
    let mut lines = Vec::new();
    // SAFETY: the client lives through the calls. The queue and each event are destroyed here, the event after its
    // content was copied.
    unsafe {
        let queue = sys::rd_kafka_queue_get_main(client.native_ptr());
        loop {
            let event = sys::rd_kafka_queue_poll(queue, 0);
            if event.is_null() {
                break;
            }
            let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
            if sys::rd_kafka_event_log(event, &mut facility, &mut text, &mut level) == 0 {
                let facility = CStr::from_ptr(facility).to_string_lossy();
                let text = CStr::from_ptr(text).to_string_lossy();
                tracing::debug!(target: "librdkafka", client = "admin", fac = &*facility, "{text}");
                if ["FAIL", "ERROR"].contains(&facility.trim()) {
                    lines.push(text.into_owned());
                }
            }
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_queue_destroy(queue);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::Config;
    use crate::kafka::topics::{AdminError, Cluster};

    #[test]
    fn a_line_of_the_log_is_shortened_to_what_happened() {
        let line = "[thrd:ssl://h:9093/bootstrap]: ssl://h:9093/bootstrap: Disconnected: connecting to a PLAINTEXT broker \
                    listener? (after 2ms in state SSL_HANDSHAKE, 3 identical error(s) suppressed)";
        assert_eq!(shortened(line), "ssl://h:9093/bootstrap: Disconnected: connecting to a PLAINTEXT broker listener?");
        let rising = [
            "1/1 brokers are down",
            "h:1/bootstrap: Connect to ipv4#10.0.0.1:1 failed: Connection refused",
            "h:1/bootstrap: Failed to resolve 'h:1': Name or service not known",
            "sasl_plaintext://h:1/bootstrap: SASL authentication error: Authentication failed",
        ];
        assert!(rising.windows(2).all(|pair| rank(pair[0]) < rank(pair[1])));
    }

    #[test]
    fn who_waits_for_kafka_is_told_why_it_does_not_answer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let plain = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || listener.incoming().flatten().for_each(drop));
        let tls: &[(&str, &str)] = &[("security.protocol", "ssl")];
        let rows = [
            ("127.0.0.1:1", &[][..], "Connection refused"),
            ("no-such-host.invalid:9092", &[], "Failed to resolve"),
            (&*plain, tls, "ssl://"),
        ];
        std::thread::scope(|scope| {
            for (brokers, properties, part) in rows {
                scope.spawn(move || {
                    let cluster = Cluster::new(&Config::stub(brokers, properties)).unwrap();
                    let Err(AdminError::NoAnswer(why)) = cluster.broker_count() else { panic!("{brokers} answers") };
                    assert!(why.contains(brokers) && why.contains(part), "{why}");
                });
            }
        });
    }
}
