//! A platform of one thread: what it does with each connection is the test's to say.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Listens until the test ends.
pub(crate) struct Server {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

/// One accepted connection.
pub(crate) struct Connection {
    /// From 0, in the order of their coming.
    pub(crate) number: usize,
    pub(crate) tcp: TcpStream,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Each connection has a thread of its own, and is closed when `serve` returns.
    pub(crate) fn start(serve: impl Fn(Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, connections) = (Arc::new(Mutex::default()), Arc::new(Mutex::new(0)));
        let server = Self { port, requests, connections };
        let (requests, connections) = (server.requests.clone(), server.connections.clone());
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                let tcp = tcp.unwrap();
                tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let number = {
                    let mut count = connections.lock().unwrap();
                    *count += 1;
                    *count - 1
                };
                let connection = Connection { number, tcp, requests: requests.clone() };
                let serve = serve.clone();
                std::thread::spawn(move || serve(connection));
            }
        });
        server
    }

    /// Answers every request with the same bytes and keeps its connections open.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |mut connection| {
            while connection.request().is_some() {
                let _ = connection.tcp.write_all(&answer);
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Whole requests as they came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

impl Connection {
    /// Reads one request; `None` where the peer closed.
    pub(crate) fn request(&mut self) -> Option<String> {
        let request = read_request(&mut self.tcp)?;
        self.requests.lock().unwrap().push(request.clone());
        Some(request)
    }

    pub(crate) fn say(&mut self, text: &str) {
        let _ = self.tcp.write_all(text.as_bytes());
    }

    /// Closes with a reset instead of an end.
    pub(crate) fn reset(self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let size = size_of::<libc::linger>() as libc::socklen_t;
        let done = unsafe {
            let value = std::ptr::from_ref(&linger).cast();
            libc::setsockopt(self.tcp.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, size)
        };
        assert_eq!(done, 0);
    }

    /// Waits until the peer has closed.
    pub(crate) fn drain(&mut self) {
        let mut rest = [0; 1024];
        while self.tcp.read(&mut rest).is_ok_and(|n| n > 0) {}
    }
}

/// Head and body, as long as `content-length` says.
pub(crate) fn read_request(from: &mut impl Read) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        if from.read(&mut byte).ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    Some(head + std::str::from_utf8(&body).unwrap())
}

/// An answer with a body.
pub(crate) fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
