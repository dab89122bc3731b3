//! The platform of a bench, which answers each event as the beginning of its trans_id says.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::stub::server::{Server, answer};

pub(super) fn platform(let_go: Arc<AtomicBool>) -> Server {
    let seen = Mutex::new(BTreeSet::new());
    Server::start(move |mut connection| {
        while let Some(request) = connection.request() {
            let (_, id) = request.split_once("\r\n\r\n").unwrap();
            let is_new = seen.lock().unwrap().insert(id.to_owned());
            let (status, body) = match id.split('-').next().unwrap() {
                "429once" => {
                    if is_new {
                        ("429", "")
                    } else {
                        ("200 OK", "ok")
                    }
                }
                // The first request, or each one, is refused for its nonce.
                "nonce" if !is_new => ("200 OK", "ok"),
                "nonce" | "clock" => ("200 OK", "nonce"),
                "ok" => ("200 OK", "ok"),
                "panic" => ("200 OK", "panic"),
                "silent" => return,
                "brief" => {
                    connection.say(&answer("200 OK", "ok"));
                    std::thread::sleep(Duration::from_millis(200));
                    return;
                }
                "hang" | "hang500" => {
                    while !let_go.load(SeqCst) {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    if id.starts_with("hang500") { ("500", "") } else { ("200 OK", "ok") }
                }
                "503after" => ("503 Away\r\nretry-after: 60", ""),
                "429after" => ("429 Slow\r\nretry-after: 60", ""),
                other => (other, ""),
            };
            let status = if status.len() == 3 { format!("{status} Said") } else { status.to_owned() };
            let _ = connection.tcp.write_all(answer(&status, body).as_bytes());
        }
    })
}
