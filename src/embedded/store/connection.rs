//! Serves one client: its requests in their order, and its transaction.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::commands;
use super::state::State;
use super::wire::{self, Reply, Request, error, ok};

/// The size of one read in bytes.
const READ: usize = 64 << 10;

/// Answers a client until it leaves.
pub(super) async fn serve(mut stream: TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut read, mut replies) = (Vec::with_capacity(READ), Vec::new());
    let mut client = Client::default();
    loop {
        read.reserve(READ);
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
        let mut done = 0;
        let mut broken = None;
        loop {
            match wire::request(&read[done..]) {
                Ok(Some((request, length))) => {
                    done += length;
                    if !request.is_empty() {
                        wire::write(&client.answer(state, request), &mut replies);
                    }
                }
                Ok(None) => break,
                Err(why) => {
                    broken = Some(why);
                    break;
                }
            }
        }
        read.drain(..done);
        if let Some(why) = broken {
            wire::write(&error(&format!("ERR Protocol error: {why}")), &mut replies);
            stream.write_all(&replies).await?;
            return Ok(());
        }
        stream.write_all(&replies).await?;
        replies.clear();
    }
}

/// The state between two requests of one client.
#[derive(Default)]
struct Client {
    /// The queued commands between MULTI and EXEC.
    queued: Option<Vec<Request>>,
    /// A command was refused when it was to be queued.
    spoiled: bool,
}

impl Client {
    fn answer(&mut self, state: &State, request: Request) -> Reply {
        let name = request[0].to_ascii_uppercase();
        match (name.as_slice(), &mut self.queued) {
            (b"MULTI", Some(_)) => error("ERR MULTI calls can not be nested"),
            (b"MULTI", None) => {
                (self.queued, self.spoiled) = (Some(Vec::new()), false);
                ok()
            }
            (b"EXEC" | b"DISCARD", None) => error(&format!("ERR {} without MULTI", String::from_utf8_lossy(&name))),
            (b"DISCARD", Some(_)) => {
                self.queued = None;
                ok()
            }
            (b"EXEC", Some(queued)) => {
                let queued = std::mem::take(queued);
                self.queued = None;
                if self.spoiled {
                    return error("EXECABORT Transaction discarded because of previous errors.");
                }
                // No other command runs in between, because this thread serves one request at a time.
                Reply::Array(queued.iter().map(|request| state.run(request)).collect())
            }
            (_, Some(queued)) => {
                if let Some(refusal) = commands::refusal(&request) {
                    self.spoiled = true;
                    return refusal;
                }
                queued.push(request);
                Reply::SimpleString(b"QUEUED".to_vec())
            }
            (_, None) => state.run(&request),
        }
    }
}
