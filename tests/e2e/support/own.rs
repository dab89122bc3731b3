//! A platform whose rules the test states. It writes down every request before it is answered, for the ledger.

use super::platform::Request;
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// A request as it arrived.
pub struct Asked {
    pub path: String,
    /// By their names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Value,
}

/// What the platform makes of a request.
pub struct Judged {
    /// What the request is about; `None`: it reports nothing.
    pub ident: Option<String>,
    /// Why it is not taken.
    pub problem: Option<String>,
    pub answer: Value,
}

type Judge = dyn Fn(&Asked) -> Judged + Send + Sync;

pub struct Own {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Own {
    /// Opens the platform of this account. `judge` may be called on several threads at once.
    pub fn open(account: &str, judge: impl Fn(&Asked) -> Judged + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (account, judge): (Arc<str>, Arc<Judge>) = (account.into(), Arc::new(judge));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let book = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (account, judge, book) = (account.clone(), judge.clone(), book.clone());
                std::thread::spawn(move || serve(&stream, &account, &*judge, &book));
            }
        });
        Self { port, requests }
    }

    /// Every request that was about something, in the order in which they were answered. `key` is its path.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// How many of them came to this path.
    pub fn count(&self, path: &str) -> usize {
        self.requests().iter().filter(|request| request.key.as_deref() == Some(path)).count()
    }
}

fn serve(mut stream: &TcpStream, account: &str, judge: &Judge, book: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(asked) = read(&mut reader) {
        let arrived = SystemTime::now();
        let Judged { ident, problem, answer } = judge(&asked);
        if ident.is_some() {
            book.lock().unwrap().push(Request {
                account: account.to_owned(),
                ident,
                key: Some(asked.path),
                arrived,
                answered: Some(arrived),
                executed: problem.is_none(),
                problem,
                status: 200,
                not_before: None,
                fields: asked.body,
            });
        }
        let answer = answer.to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
        if write!(stream, "{head}{}\r\n\r\n{answer}", answer.len()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let (mut first, mut headers) = (String::new(), HashMap::new());
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    Some(Asked { path, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}
