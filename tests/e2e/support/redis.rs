//! Redis: the shared one, or an own one that a test may break.

use super::process::Process;
use super::{eventually, free_port, secs, wait_for_port};
use std::path::{Path, PathBuf};

/// An own Redis server. Data survive stop, kill and start (append-only file).
pub struct RedisServer {
    pub port: u16,
    process: Process,
}

impl RedisServer {
    pub fn start_new(dir: &Path) -> Self {
        Self::start_with(dir, &[])
    }

    /// With further options.
    pub fn start_with(dir: &Path, options: &[&str]) -> Self {
        let port = free_port();
        let dir: PathBuf = dir.join(format!("redis-{port}"));
        std::fs::create_dir_all(&dir).unwrap();
        let mut args = vec!["--port".into(), port.to_string(), "--bind".into(), "127.0.0.1".into(), "--save".into()];
        args.push(String::new());
        args.extend(["--dir".to_owned(), dir.display().to_string()]);
        args.extend(["--maxmemory-policy".to_owned(), "noeviction".to_owned()]);
        args.extend(["--appendonly", "yes", "--appendfsync", "everysec"].map(String::from));
        args.extend(options.iter().map(|o| (*o).to_owned()));
        let process = Process::new("redis-server", args, &dir, &dir.join("redis.log"));
        let mut server = Self { port, process };
        server.start();
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn start(&mut self) {
        self.process.spawn();
        wait_for_port(self.port, secs(20));
        let url = self.url();
        eventually(secs(20), "redis answers", || Connection::try_open(&url).is_some_and(|mut c| c.ping()));
    }

    pub fn stop(&mut self) {
        self.process.stop(secs(10));
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn connect(&self) -> Connection {
        Connection::open(&self.url())
    }
}

/// A connection of the test itself.
pub struct Connection(redis::Connection);

impl Connection {
    pub fn open(url: &str) -> Self {
        Self::try_open(url).unwrap_or_else(|| panic!("no Redis at {url}"))
    }

    fn try_open(url: &str) -> Option<Self> {
        redis::Client::open(url).ok()?.get_connection_with_timeout(secs(2)).ok().map(Self)
    }

    pub fn ping(&mut self) -> bool {
        redis::cmd("PING").exec(&mut self.0).is_ok()
    }

    /// Runs a command that must work.
    #[track_caller]
    pub fn run(&mut self, words: &[&str]) -> redis::Value {
        self.run_bytes(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>())
    }

    /// The same with words that are no text.
    #[track_caller]
    pub fn run_bytes(&mut self, words: &[&[u8]]) -> redis::Value {
        let mut cmd = redis::Cmd::new();
        for word in words {
            cmd.arg(*word);
        }
        cmd.query(&mut self.0).unwrap_or_else(|e| panic!("{words:?}: {e}"))
    }

    /// The claims under a prefix, `(key, value)`: every string key that holds a claim, an `unknown` or a `done`.
    pub fn claims(&mut self, prefix: &str) -> Vec<(Vec<u8>, String)> {
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg(format!("{prefix}*")).query(&mut self.0).unwrap_or_default();
        let mut found = Vec::new();
        // A claim's key is the prefix and 16 bytes of a hash; the other keys under the prefix are text.
        let hash = |key: &Vec<u8>| {
            let rest = key.len() - prefix.len();
            (16..=17).contains(&rest) && !key[prefix.len()..].iter().all(|b| (b' '..=b'~').contains(b))
        };
        for key in keys.into_iter().filter(hash) {
            let value: Option<Vec<u8>> = redis::cmd("GET").arg(&key).query(&mut self.0).ok().flatten();
            let Some(value) = value else { continue };
            let value = String::from_utf8_lossy(&value).into_owned();
            if State::of(&value).is_some() {
                found.push((key, value));
            }
        }
        found
    }

    pub fn count(&mut self, prefix: &str, state: State) -> usize {
        self.claims(prefix).iter().filter(|(_, v)| State::of(v) == Some(state)).count()
    }

    /// Keys under the prefix that never expire, of the kinds that must.
    pub fn claims_without_expiry(&mut self, prefix: &str) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for (key, _) in self.claims(prefix) {
            if redis::cmd("PTTL").arg(&key).query::<i64>(&mut self.0).unwrap_or(0) == -1 {
                found.push(key);
            }
        }
        found
    }
}

/// What a claim key holds (the forms of the values are fixed: a first letter, or one integer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Claimed,
    Unknown,
    Done,
}

impl State {
    fn of(value: &str) -> Option<Self> {
        if value.starts_with("c|") {
            Some(Self::Claimed)
        } else if value.starts_with("u|") {
            Some(Self::Unknown)
        } else {
            value.parse::<i64>().ok().map(|_| Self::Done)
        }
    }
}

#[test]
fn an_own_redis_is_stopped_started_and_keeps_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = RedisServer::start_new(dir.path());
    server.connect().run(&["SET", "t:é-is-16-bytes-a", "c|token|origin|f|0", "PX", "100000"]);
    server.connect().run(&["SET", "t:é-is-16-bytes-b", "123456"]);
    server.connect().run(&["SET", "t:a-rate-of-16-byt", "123456"]);
    server.stop();
    assert!(!within_port(server.port));
    server.start();
    let mut c = server.connect();
    assert_eq!(c.count("t:", State::Claimed), 1);
    assert_eq!(c.count("t:", State::Done), 1);
    assert_eq!(c.claims_without_expiry("t:"), vec!["t:é-is-16-bytes-b".as_bytes().to_vec()]);
    server.kill();
    assert!(!within_port(server.port));
}

#[cfg(test)]
fn within_port(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}
