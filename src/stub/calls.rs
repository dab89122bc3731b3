//! A platform that answers calls as a test says.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::{DeliveryError, Fault};
use crate::platforms::call::{Call, CallEvent, CallReading, PreparedCall};
use crate::platforms::reading::HttpAnswer;
pub(crate) use crate::platforms::third_platform::calls::{CHUNK, Caller, INTERVAL, MOST_PAGES};
use crate::platforms::{Context, Request};
use crate::stub::server::{Server, answer};

/// The answers of the platform, in the order of its requests: status and body. The status `silent` closes the
/// connection, `hang` (200, or the status after it) answers after [`Bench::let_go`](crate::stub::bench::Bench::let_go),
/// and `slow` after 800 ms. After the last one every answer is a page with others behind it.
#[derive(Default)]
pub(crate) struct Script(Mutex<VecDeque<(String, String)>>);

impl Script {
    pub(crate) fn new(answers: &[(&str, Value)]) -> Arc<Self> {
        let script = Self::default();
        answers.iter().for_each(|(status, body)| script.add(status, body));
        Arc::new(script)
    }

    pub(crate) fn add(&self, status: &str, body: &Value) {
        self.0.lock().unwrap().push_back((status.to_owned(), body.to_string()));
    }

    pub(crate) fn server(self: Arc<Self>, let_go: Arc<AtomicBool>) -> Server {
        Server::start(move |mut connection| {
            while connection.request().is_some() {
                let next = self.0.lock().unwrap().pop_front();
                let (status, body) = next.unwrap_or_else(|| ("200 OK".into(), json!({"more": true}).to_string()));
                while status.starts_with("hang") && !let_go.load(SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let status = match &*status {
                    "silent" => return,
                    "slow" => {
                        std::thread::sleep(Duration::from_millis(800));
                        "200 OK"
                    }
                    "hang" => "200 OK",
                    status => status.strip_prefix("hang ").unwrap_or(status),
                };
                let _ = connection.tcp.write_all(answer(status, &body).as_bytes());
            }
        })
    }
}

/// A [`Caller`] whose calls these accounts may answer.
pub(crate) struct Replaceable(pub(crate) Vec<String>);

impl Call for Replaceable {
    fn names(&self) -> &'static [&'static str] {
        Caller.names()
    }

    fn alternates(&self, _: &str) -> &[String] {
        &self.0
    }

    fn prepare(&self, call: &CallEvent<'_>, now_ms: i64) -> Result<PreparedCall, DeliveryError> {
        Caller.prepare(call, now_ms)
    }

    fn request(&self, call: &PreparedCall, part: u64, context: &Context<'_>) -> Result<Request, Fault> {
        Caller.request(call, part, context)
    }

    fn read(&self, call: &PreparedCall, part: u64, http: &HttpAnswer<'_>) -> CallReading {
        Caller.read(call, part, http)
    }
}
