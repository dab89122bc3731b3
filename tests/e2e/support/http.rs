//! The least of an HTTP client: one request over a fresh connection, no proxy, no redirect.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Status and body; `None` where nothing answered.
pub fn request(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<(u16, String)> {
    request_within(Duration::from_secs(5), port, method, path, headers, body)
}

/// The same for what may take longer.
pub fn request_within(
    patience: Duration,
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if method != "GET" {
        text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    text += "\r\n";
    text += body;
    stream.write_all(text.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let head_end = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..head_end]).to_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = &answer[head_end + 4..];
    let body = if head.contains("transfer-encoding: chunked") { dechunk(body) } else { body.to_vec() };
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    request(port, "GET", path, &[], "")
}

/// The body of a chunked message; stops at the first chunk that is not whole.
fn dechunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(i) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&rest[..i]).ok().and_then(|s| usize::from_str_radix(s.trim(), 16).ok());
        match size {
            Some(n) if n > 0 && rest.len() >= i + 4 + n => {
                body.extend_from_slice(&rest[i + 2..i + 2 + n]);
                rest = &rest[i + 4 + n..];
            }
            _ => break,
        }
    }
    body
}
