//! A scripted ad platform: one listener per account, so that the account is known even where the credentials are wrong.
//! Every request is written down before it is answered, whether or not the worker gets to know the answer. What a
//! request is worth and what the platform says to it is the sandbox's fake; when and whether it is said is the test's.

use postback::sandbox::{Answer, Directory, Fake, Judgement, Request as Raw, SandboxAccount};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

/// Which wire format an account speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    Qihoo360,
    Baizhu,
}

/// The product mark the tests use for every endpoint of 百助.
pub const PRODUCT: &str = "acc-游戏";

/// How a request is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// As a platform would: by what is right or wrong with the request.
    Judge,
    /// This status, nothing taken; a `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// This status, nothing taken; a `Retry-After` as HTTP date so many seconds ahead.
    StatusUntil(u16, u64),
    /// 200 with this `errno` (360) or, for 百助, this number as `code`; nothing taken.
    Errno(i64),
    /// Taken, and never answered.
    Hang,
    /// Taken, then the connection is reset.
    ResetAfter,
    /// Not taken; the connection is reset once the request was read.
    Refuse,
    /// Taken, and answered with something that is no answer.
    Garbage,
    /// Judged only when the test calls `release`.
    Hold,
    /// 302 to the same path on this port; nothing taken.
    Redirect(u16),
    /// This status with a body that never ends: taken where it is 200. `answered` is when the other side gave up.
    Endless(u16),
    /// This status with this body; nothing taken.
    Say(u16, String),
}

/// Which requests get an action: the first rule that matches counts.
#[derive(Clone, Debug)]
pub struct Rule {
    pub action: Action,
    idents: Option<HashSet<String>>,
    first: Option<usize>,
    every: Option<usize>,
}

impl Rule {
    /// Every request.
    pub fn all(action: Action) -> Self {
        Self { action, idents: None, first: None, every: None }
    }

    /// Only requests about these.
    pub fn about<'a>(mut self, idents: impl IntoIterator<Item = &'a String>) -> Self {
        self.idents = Some(idents.into_iter().cloned().collect());
        self
    }

    /// Only the first `n` requests about each ident.
    pub fn first(mut self, n: usize) -> Self {
        self.first = Some(n);
        self
    }

    /// Only a stable share of the idents: one in `n`.
    pub fn one_in(mut self, n: usize) -> Self {
        self.every = Some(n);
        self
    }

    fn matches(&self, ident: &str, nth: usize) -> bool {
        self.idents.as_ref().is_none_or(|all| all.contains(ident))
            && self.first.is_none_or(|n| nth <= n)
            && self.every.is_none_or(|n| ident.bytes().fold(7_usize, |h, b| h * 31 % 65_521 + b as usize) % n == 0)
    }
}

/// One request in the platform's own book.
#[derive(Clone, Debug)]
pub struct Request {
    pub account: String,
    pub ident: Option<String>,
    /// The App-Key that it came with.
    pub key: Option<String>,
    pub arrived: SystemTime,
    pub answered: Option<SystemTime>,
    /// Whether the platform took the conversion.
    pub executed: bool,
    pub problem: Option<String>,
    /// The status that was answered; 0 where none was.
    pub status: u16,
    /// A `Retry-After` that was answered, as the moment before which nothing may come.
    pub not_before: Option<SystemTime>,
    pub fields: Value,
}

impl Request {
    /// A conversion that a platform of the test's own took.
    pub fn taken(account: &str, ident: &str) -> Self {
        Self {
            account: account.to_owned(),
            ident: Some(ident.to_owned()),
            key: None,
            arrived: SystemTime::now(),
            answered: None,
            executed: true,
            problem: None,
            status: 200,
            not_before: None,
            fields: Value::Null,
        }
    }
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    latency: Duration,
    secret: String,
    /// Judges by the present secret.
    fakes: Option<Arc<Directory>>,
    requests: Vec<Request>,
    seen: HashMap<String, usize>,
    held: usize,
    releases: usize,
    released_as: Option<Action>,
    closed: bool,
}

/// One account at the platform.
pub struct Account {
    pub name: String,
    pub platform: Platform,
    pub key: String,
    pub port: u16,
    state: Mutex<State>,
    changed: Condvar,
}

impl Account {
    pub fn open(name: &str, platform: Platform) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let account = Arc::new(Self {
            name: name.into(),
            platform,
            key: format!("key-{name}"),
            port: listener.local_addr().unwrap().port(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        account.set_secret(&format!("secret-of-{name}-4f1d9c"));
        let for_thread = Arc::downgrade(&account);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(account) = for_thread.upgrade() else { return };
                if account.lock().closed {
                    return;
                }
                std::thread::spawn(move || account.serve(stream));
            }
        });
        account
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn secret(&self) -> String {
        self.lock().secret.clone()
    }

    /// From now on requests must be signed with this.
    pub fn set_secret(&self, secret: &str) {
        let own = match self.platform {
            Platform::Qihoo360 => SandboxAccount::new(&self.name, "qihoo360", json!({}), &[(&self.key, secret)]),
            Platform::Baizhu => {
                let product = json!({"install": PRODUCT, "register": PRODUCT, "back": PRODUCT});
                SandboxAccount::new(&self.name, "baizhu", json!({"product": product}), &[])
            }
        };
        let mut state = self.lock();
        state.fakes = Some(Arc::new(Directory::new(vec![own]).unwrap()));
        state.secret = secret.into();
    }

    /// From now on requests must be signed with one of these: key and secret.
    pub fn set_credentials(&self, all: &[(&str, &str)]) {
        let own = SandboxAccount::new(&self.name, "qihoo360", json!({}), all);
        self.lock().fakes = Some(Arc::new(Directory::new(vec![own]).unwrap()));
    }

    /// Replaces all rules.
    pub fn rules(&self, rules: Vec<Rule>) {
        self.lock().rules = rules;
    }

    /// Time between reading a request and answering it.
    pub fn latency(&self, latency: Duration) {
        self.lock().latency = latency;
    }

    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    pub fn requests_about(&self, ident: &str) -> Vec<Request> {
        self.lock().requests.iter().filter(|r| r.ident.as_deref() == Some(ident)).cloned().collect()
    }

    pub fn request_count(&self) -> usize {
        self.lock().requests.len()
    }

    /// How many conversions were taken, copies included.
    pub fn executed(&self) -> usize {
        self.lock().requests.iter().filter(|r| r.executed).count()
    }

    /// How many requests wait for `release`.
    pub fn held(&self) -> usize {
        self.lock().held
    }

    /// Ends the waiting of all held requests, and treats them as `action` says.
    pub fn release(&self, action: Action) {
        let mut state = self.lock();
        state.releases += 1;
        state.released_as = Some(action);
        self.changed.notify_all();
    }

    pub fn close(&self) {
        self.lock().closed = true;
        self.release(Action::Refuse);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }

    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(copy) = stream.try_clone() else { return };
        let mut reader = BufReader::new(copy);
        while let Some((raw, arrived)) = read_request(&mut reader) {
            if !self.handle(raw, arrived, &mut stream) {
                return;
            }
        }
    }

    /// Whether the connection stays usable.
    fn handle(&self, raw: Raw, arrived: SystemTime, stream: &mut TcpStream) -> bool {
        let fakes = self.lock().fakes.clone().unwrap();
        let (judged, fake) = fakes.judge(&raw, super::now_ms() / 1000);
        let named = ident(&judged);
        let (usual, problem) = match judged.verdict {
            Ok(answer) => (answer, None),
            Err(refusal) => (refusal.answer, Some(refusal.problem)),
        };
        let good = problem.is_none();
        let (number, mut action, latency) = {
            let mut state = self.lock();
            let ident = named.clone().unwrap_or_default();
            let nth = state.seen.entry(ident.clone()).or_insert(0);
            *nth += 1;
            let nth = *nth;
            let action =
                state.rules.iter().find(|r| r.matches(&ident, nth)).map_or(Action::Judge, |r| r.action.clone());
            state.requests.push(Request {
                account: self.name.clone(),
                ident: named,
                key: app_key(&raw.head),
                arrived,
                answered: None,
                executed: good && takes(&action),
                problem,
                status: 0,
                not_before: None,
                fields: fields(&raw.body),
            });
            (state.requests.len() - 1, action, state.latency)
        };
        if action == Action::Hold {
            action = self.wait_for_release();
            let mut state = self.lock();
            state.requests[number].executed = good && takes(&action);
        }
        if !latency.is_zero() {
            std::thread::sleep(latency);
        }
        let (answer, status, not_before) = match &action {
            Action::Hang => {
                self.wait_for_end(stream);
                return false;
            }
            Action::ResetAfter | Action::Refuse => {
                reset(stream);
                return false;
            }
            Action::Status(status, wait) => {
                let extra = wait.map_or(String::new(), |s| format!("Retry-After: {s}\r\n"));
                let until = wait.map(|s| SystemTime::now() + Duration::from_secs(s));
                (response(*status, "text/plain", &extra, "no"), *status, until)
            }
            Action::StatusUntil(status, wait) => {
                // A date has whole seconds: the moment it names is what counts.
                let until =
                    httpdate::parse_http_date(&httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(*wait)))
                        .unwrap();
                let extra = format!("Retry-After: {}\r\n", httpdate::fmt_http_date(until));
                (response(*status, "text/plain", &extra, "no"), *status, Some(until))
            }
            Action::Redirect(port) => {
                let extra = format!("Location: http://127.0.0.1:{port}/uploadWebConvert\r\n");
                (response(302, "text/plain", &extra, ""), 302, None)
            }
            Action::Endless(status) => {
                let ended = talk_without_end(stream, *status);
                let mut state = self.lock();
                (state.requests[number].status, state.requests[number].answered) = (*status, Some(ended));
                return false;
            }
            Action::Say(status, body) => (response(*status, "application/json", "", body), *status, None),
            Action::Errno(n) => (response(200, "application/json", "", &code(fake, *n)), 200, None),
            Action::Garbage => (response(200, "text/html", "", "<html>a proxy speaks</html>"), 200, None),
            Action::Judge | Action::Hold => (said(&usual), usual.status, None),
        };
        let written = stream.write_all(answer.as_bytes()).is_ok();
        let mut state = self.lock();
        let request = &mut state.requests[number];
        (request.status, request.not_before) = (status, not_before);
        request.answered = written.then(SystemTime::now);
        self.changed.notify_all();
        written
    }

    fn wait_for_release(&self) -> Action {
        let mut state = self.lock();
        state.held += 1;
        let mine = state.releases;
        while state.releases == mine && !state.closed {
            state = self.changed.wait(state).unwrap();
        }
        state.held -= 1;
        state.released_as.clone().unwrap_or(Action::Judge)
    }

    /// Says nothing until the other side gives up.
    fn wait_for_end(&self, stream: &mut TcpStream) {
        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
        let mut byte = [0];
        while !self.lock().closed {
            match stream.read(&mut byte) {
                Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                _ => return,
            }
        }
    }
}

/// `EVENT:trans_id` (360), `event:uid:order` (百助); nothing where it cannot be read.
fn ident(judged: &Judgement) -> Option<String> {
    let own = judged.ids.iter().map(|(_, id)| id.as_deref());
    let mut parts = vec![judged.event.as_deref()?];
    parts.extend(own.chain(judged.ids.is_empty().then_some(judged.trans_id.as_deref())).map(Option::unwrap_or_default));
    Some(parts.join(":"))
}

/// The App-Key among the headers.
fn app_key(head: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(head).into_owned();
    let header = |line: &str| {
        line.split_once(':')
            .filter(|(name, _)| name.eq_ignore_ascii_case("app-key"))
            .map(|(_, key)| key.trim().to_owned())
    };
    head.lines().find_map(header)
}

/// The fields as received: JSON, or a form of strings.
fn fields(body: &[u8]) -> Value {
    serde_json::from_slice(body).ok().or_else(|| multipart(body)).unwrap_or(Value::Null)
}

fn multipart(body: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(body).ok()?;
    let (delimiter, _) = text.split_once("\r\n")?;
    let mut form = serde_json::Map::new();
    for part in text.split(delimiter).skip(1).take_while(|part| !part.starts_with("--")) {
        let (head, value) = part.strip_prefix("\r\n")?.strip_suffix("\r\n")?.split_once("\r\n\r\n")?;
        form.insert(head.split("name=\"").nth(1)?.split('"').next()?.to_owned(), value.into());
    }
    Some(Value::Object(form))
}

/// The platform's body for a code.
fn code(fake: Option<&dyn Fake>, code: i64) -> String {
    fake.and_then(|fake| fake.body_of(&code.into())).unwrap_or_default()
}

fn said(answer: &Answer) -> String {
    response(answer.status, answer.content_type, "", &String::from_utf8_lossy(&answer.body))
}

/// Whether a good request is taken under this action.
fn takes(action: &Action) -> bool {
    match action {
        Action::Judge | Action::Hang | Action::ResetAfter | Action::Garbage | Action::Hold => true,
        Action::Endless(status) => *status == 200,
        Action::Status(..) | Action::StatusUntil(..) | Action::Errno(_) | Action::Refuse => false,
        Action::Redirect(_) | Action::Say(..) => false,
    }
}

/// Writes a body without a length until the other side has had enough, and says when that was.
fn talk_without_end(stream: &mut TcpStream, status: u16) -> SystemTime {
    let head = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n");
    let piece = [b' '; 16 << 10];
    let mut open = stream.write_all(head.as_bytes()).is_ok();
    while open {
        open = stream.write_all(&piece).is_ok();
    }
    SystemTime::now()
}

fn response(status: u16, kind: &str, extra: &str, body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n{extra}\r\n{body}")
}

/// Ends the connection with a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    use std::os::fd::AsRawFd;
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the descriptor is open, the option has the size and layout that SO_LINGER asks for.
    unsafe {
        let at = std::ptr::from_ref(&linger).cast();
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, at, size_of::<libc::linger>() as u32);
        // Closing one of several descriptors of a socket resets nothing; connecting it to nowhere does.
        let nowhere = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };
        libc::connect(stream.as_raw_fd(), &nowhere, size_of::<libc::sockaddr>() as u32);
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(Raw, SystemTime)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let arrived = SystemTime::now();
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut head, mut length) = (line, 0);
    loop {
        let start = head.len();
        reader.read_line(&mut head).ok().filter(|n| *n > 0)?;
        let line = head[start..].trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((Raw { method, target, head: head.into(), body: body.into() }, arrived))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::event::md5_hex;
    use crate::support::{eventually, millis, secs};

    fn send(account: &Account, trans_id: &str, secret: &str) -> Option<String> {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let body = format!(
            r#"{{"data":{{"request_time":{at},"data_industry":"ocpc_ps_convert","data_detail":{{"qhclickid":"a1b2c3d4e5f60718","trans_id":"{trans_id}","event":"ORDER","event_time":{at}}}}}}}"#
        );
        let sign = md5_hex(&format!("{secret}{body}"));
        let mut stream = TcpStream::connect(("127.0.0.1", account.port)).unwrap();
        stream.set_read_timeout(Some(secs(2))).unwrap();
        let head = format!(
            "POST /uploadWebConvert HTTP/1.1\r\nHost: x\r\nApp-Key: {}\r\nApp-Sign: {sign}\r\n\
             Content-Type: application/json;charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            account.key,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut text = String::new();
        while reader.read_line(&mut text).ok()? > 0 && !text.ends_with("\r\n\r\n") {}
        let length: usize = text.split("Content-Length: ").nth(1)?.lines().next()?.parse().ok()?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(text + &String::from_utf8_lossy(&body))
    }

    const A: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn the_platform_notices_a_wrong_secret_a_wrong_key_and_a_missing_field() {
        let account = Account::open("acme-ps", Platform::Qihoo360);
        let secret = account.secret();
        assert!(send(&account, A, &secret).unwrap().contains(r#""errno":0"#));
        assert!(send(&account, A, "other").unwrap().contains(r#""errno":2"#));
        assert!(send(&account, "", &secret).unwrap().contains(r#""errno":3"#));
        account.set_secret("other");
        assert!(send(&account, A, "other").unwrap().contains(r#""errno":0"#));
        let taken: Vec<bool> = account.requests().iter().map(|r| r.executed).collect();
        assert_eq!(taken, [true, false, false, true]);
        assert_eq!(account.requests()[0].ident.as_deref(), Some("ORDER:0123456789abcdef0123456789abcdef"));
        account.close();
    }

    #[test]
    fn rules_apply_to_the_first_requests_of_what_they_name() {
        let account = Account::open("acme-ps", Platform::Qihoo360);
        let secret = account.secret();
        let ident = format!("ORDER:{A}");
        account.rules(vec![
            Rule::all(Action::Status(429, Some(7))).about([&ident]).first(1),
            Rule::all(Action::ResetAfter).about([&ident]).first(2),
            Rule::all(Action::Errno(3)).about([&"ORDER:other".to_owned()]),
        ]);
        assert!(send(&account, A, &secret).unwrap().contains("Retry-After: 7"));
        assert_eq!(send(&account, A, &secret), None);
        assert!(send(&account, A, &secret).unwrap().contains(r#""errno":0"#));
        let taken: Vec<bool> = account.requests_about(&ident).iter().map(|r| r.executed).collect();
        assert_eq!(taken, [false, true, true]);
        account.close();
    }

    #[test]
    fn a_held_request_is_answered_as_the_test_says_when_it_says_so() {
        let account = Account::open("acme-ps", Platform::Qihoo360);
        account.rules(vec![Rule::all(Action::Hold).first(1)]);
        let (other, secret) = (Arc::clone(&account), account.secret());
        let sender = std::thread::spawn(move || send(&other, A, &secret));
        eventually(secs(5), "the request is held", || account.held() == 1);
        std::thread::sleep(millis(50));
        assert!(!sender.is_finished());
        account.release(Action::Status(500, None));
        assert!(sender.join().unwrap().unwrap().starts_with("HTTP/1.1 500"));
        assert!(!account.requests()[0].executed);
        account.close();
    }
}
