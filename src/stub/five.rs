//! A platform that takes five events of one route per request, and its server, which answers each event by the
//! beginning of its trans_id.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use crate::error::{Answer, DeliveryError, Fault};
use crate::event::ConversionEvent;
use crate::platforms::reading::{BatchLimits, HttpAnswer, Reading, Verdict};
use crate::platforms::{CallbackHost, Context, Prepared, Receipt, Request, Sender};
use crate::stub::prepared;
use crate::stub::server::{Server, answer};

/// The most items of one request.
pub(crate) const MOST_ITEMS: usize = 5;
pub(crate) const MOST_BYTES: usize = 100;

/// Sends the trans_ids, one per line. The text after an `@` is the route, and the text after a `^` the callback host.
pub(crate) struct Five;

impl Sender for Five {
    fn natives(&self) -> Vec<std::borrow::Cow<'static, str>> {
        vec!["install".into()]
    }

    fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError> {
        let route = event.trans_id.split_once('@').map(|(_, route)| route.into());
        let host = event.trans_id.split_once('^').map(|(_, host)| host.into());
        let callback =
            host.map(|host| CallbackHost { field: "click.callback".into(), is_https: true, host, is_fixed: false });
        Ok(Prepared { route, callback: callback.map(Box::new), ..prepared(&event.trans_id) })
    }

    fn request(&self, items: &[&Prepared], _: &Context<'_>) -> Result<Request, Fault> {
        assert!((1..=MOST_ITEMS).contains(&items.len()), "{} items", items.len());
        assert!(items.iter().all(|item| item.route == items[0].route), "more than one route");
        assert!(items.iter().all(|item| item.callback == items[0].callback), "more than one callback host");
        let bytes: usize = items.iter().map(|item| item.bytes()).sum();
        assert!(items.len() == 1 || bytes <= MOST_BYTES, "{bytes} bytes");
        let lines: Vec<_> = items.iter().map(id).collect();
        let headers = vec![("content-type", "text/plain".into())];
        Ok(Request { path: "/batch".into(), headers, body: Bytes::from(lines.join("\n")), ..Request::default() })
    }

    fn read(&self, items: &[&Prepared], http: &HttpAnswer<'_>) -> Reading {
        assert!(!http.body.starts_with(b"panic"), "a bug of a sender");
        let body = String::from_utf8_lossy(http.body);
        if body == "split" {
            return Reading::Split;
        }
        if body.is_empty() {
            return Reading::Nothing;
        }
        let said = |item: &&Prepared| {
            let (_, word) = body.lines().filter_map(|line| line.split_once(' ')).find(|(line, _)| *line == id(item))?;
            Some(verdict(word, http))
        };
        Reading::Each(items.iter().map(said).collect())
    }

    fn batch(&self) -> BatchLimits {
        BatchLimits { items: MOST_ITEMS, bytes: MOST_BYTES }
    }
}

fn id<'a>(item: &'a &Prepared) -> &'a str {
    item.item.text().unwrap()
}

fn verdict(word: &str, http: &HttpAnswer<'_>) -> Verdict {
    match word {
        "permanent" => Err(DeliveryError::Permanent(http.answer())),
        "retry" => Err(DeliveryError::Retry(http.answer())),
        "throttled" => Err(DeliveryError::Throttled(http.answer())),
        "nonce" => Err(DeliveryError::Refresh(Answer { sign_again: true, ..http.answer() })),
        _ => Ok(Receipt::default()),
    }
}

/// What the server has seen of the events.
#[derive(Default)]
pub(crate) struct Seen {
    lines: Mutex<BTreeSet<String>>,
    accepted: Mutex<Vec<String>>,
}

impl Seen {
    /// How often the platform has accepted the event.
    pub(crate) fn accepted(&self, trans_id: &str) -> usize {
        self.accepted.lock().unwrap().iter().filter(|id| *id == trans_id).count()
    }

    fn accept(&self, id: &str) {
        self.accepted.lock().unwrap().push(id.to_owned());
    }

    fn is_new(&self, id: &str) -> bool {
        self.lines.lock().unwrap().insert(id.to_owned())
    }
}

/// Answers for each event: `ok`, `bad` (refused for good), `later` (to be tried again), `once` (the first time), `busy`
/// (throttled), `nonce` (its nonce is refused the first time), `clock` (each time), `mute` (accepted, and not
/// mentioned). For the whole request: `slow` answers after [`Bench::let_go`](crate::stub::bench::Bench::let_go), and so
/// does `lonely` if it is alone; `spoils` splits the request, `refused` is a 400, `away` a 503, `panic` an answer at
/// which the sender panics.
pub(crate) fn server(seen: Arc<Seen>, let_go: Arc<AtomicBool>) -> Server {
    Server::start(move |mut connection| {
        while let Some(request) = connection.request() {
            let (_, body) = request.split_once("\r\n\r\n").unwrap();
            let kinds: Vec<_> = body.lines().map(|id| (id, id.split('-').next().unwrap())).collect();
            let any = |kind: &str| kinds.iter().any(|(_, of)| *of == kind);
            let hangs = any("slow") || (any("lonely") && kinds.len() == 1);
            while hangs && !let_go.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let (status, body) = if any("panic") {
                ("200 OK", "panic".to_owned())
            } else if any("refused") {
                ("400 Bad", String::new())
            } else if any("away") {
                ("503 Away", String::new())
            } else if any("spoils") {
                ("200 OK", "split".to_owned())
            } else {
                ("200 OK", kinds.iter().map(|(id, kind)| said(&seen, id, kind)).collect())
            };
            let _ = connection.tcp.write_all(answer(status, &body).as_bytes());
        }
    })
}

fn said(seen: &Seen, id: &str, kind: &str) -> String {
    let word = match kind {
        "bad" => "permanent",
        "later" => "retry",
        "busy" => "throttled",
        "once" if seen.is_new(id) => "retry",
        "nonce" if seen.is_new(id) => "nonce",
        "clock" => "nonce",
        _ => "ok",
    };
    if word == "ok" {
        seen.accept(id);
    }
    if kind == "mute" { String::new() } else { format!("{id} {word}\n") }
}
