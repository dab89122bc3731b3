//! RESP2: reads requests from a buffer and writes replies into one.

use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::encode::encode;
use redis_protocol::resp2::types::{OwnedFrame, Resp2Frame};

pub(super) type Reply = OwnedFrame;

/// A request: the command and its arguments.
pub(super) type Request = Vec<Vec<u8>>;

/// The largest request in bytes. The worker's requests have a few hundred bytes.
pub(super) const LARGEST: usize = 64 << 20;
/// The largest number of arguments of one request, for the same reason.
const MOST: usize = 1 << 20;

pub(super) fn ok() -> Reply {
    Reply::SimpleString(b"OK".to_vec())
}

pub(super) fn bulk(bytes: &[u8]) -> Reply {
    Reply::BulkString(bytes.to_vec())
}

/// A value, or nil.
pub(super) fn maybe(bytes: Option<&[u8]>) -> Reply {
    bytes.map_or(Reply::Null, bulk)
}

pub(super) fn count(n: usize) -> Reply {
    Reply::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

/// An error. Its first word is the code.
pub(super) fn error(text: &str) -> Reply {
    // A line break in the text would end the reply.
    Reply::Error(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

/// Returns the first request in the buffer and its length; `None`: the request is not complete yet.
///
/// A request is a list of byte strings and nothing else. The head is read here and not by the crate, which would follow
/// nested lists to any depth.
pub(super) fn request(buffer: &[u8]) -> Result<Option<(Request, usize)>, &'static str> {
    if buffer.first().is_some_and(|b| *b != b'*') {
        return Err("expected a list of arguments");
    }
    let Some(end) = buffer.windows(2).take(24).position(|two| two == b"\r\n") else {
        return if buffer.len() > 24 { Err("invalid multibulk length") } else { Ok(None) };
    };
    let size = std::str::from_utf8(&buffer[1..end]).ok().and_then(|n| n.parse::<usize>().ok());
    let size = size.filter(|n| *n <= MOST).ok_or("invalid multibulk length")?;
    let mut at = end + 2;
    let mut parts = Vec::with_capacity(size.min(64));
    for _ in 0..size {
        if buffer.get(at).is_some_and(|b| *b != b'$') {
            return Err("expected a byte string");
        }
        match decode(&buffer[at..]) {
            Ok(Some((OwnedFrame::BulkString(bytes), length))) => {
                parts.push(bytes);
                at += length;
            }
            Ok(None) if buffer.len() <= LARGEST => return Ok(None),
            Ok(None) => return Err("the request is too large"),
            Ok(Some(_)) | Err(_) => return Err("invalid bulk length"),
        }
    }
    Ok(Some((parts, at)))
}

/// Appends a reply.
pub(super) fn write(reply: &Reply, out: &mut Vec<u8>) {
    let from = out.len();
    // The length that the crate computes may be one digit too short for large numbers. Then it asks for more room and
    // gets it.
    let mut room = reply.encode_len(false) + 32;
    for _ in 0..4 {
        out.resize(from + room, 0);
        if let Ok(length) = encode(&mut out[from..], reply, false) {
            out.truncate(from + length);
            return;
        }
        room *= 2;
    }
    out.truncate(from);
    out.extend_from_slice(b"-ERR the reply cannot be written\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply) -> String {
        let mut out = b"before".to_vec();
        write(reply, &mut out);
        String::from_utf8(out).unwrap().split_off(6)
    }

    #[test]
    fn a_request_is_taken_once_it_is_whole_and_not_before() {
        let whole = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n";
        let two = [&whole[..], b"*1\r\n$4\r\nPING\r\n"].concat();
        for end in 0..whole.len() {
            assert_eq!(request(&two[..end]), Ok(None), "{end}");
        }
        let (parts, length) = request(&two).unwrap().unwrap();
        assert_eq!(parts, [&b"SET"[..], b"k", b"a\r\nb"]);
        assert_eq!(length, whole.len());
        assert_eq!(request(&two[length..]).unwrap().unwrap().0, [b"PING"]);
        assert_eq!(request(b"*0\r\n").unwrap().unwrap(), (Vec::new(), 4));
    }

    #[test]
    fn what_is_no_list_of_byte_strings_is_refused_at_once() {
        let deep = b"*1\r\n".repeat(100_000);
        for bad in [
            &b"PING\r\n"[..],
            b"*-1\r\n",
            b"*x\r\n",
            b"*99999999\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n$-1\r\n",
            b"*1\r\n$x\r\n",
            &deep,
        ] {
            assert!(request(bad).is_err(), "{}", String::from_utf8_lossy(&bad[..bad.len().min(40)]));
        }
    }

    #[test]
    fn replies_are_written_as_redis_writes_them() {
        assert_eq!(written(&ok()), "+OK\r\n");
        assert_eq!(written(&Reply::Null), "$-1\r\n");
        assert_eq!(written(&error("ERR no\r\nsuch")), "-ERR no  such\r\n");
        let numbers = [0, -1, 1000, 999_999_999_999_999_999, i64::MAX, i64::MIN];
        let list = Reply::Array(numbers.iter().map(|n| Reply::Integer(*n)).chain([bulk(b"x")]).collect());
        let lines: String = numbers.iter().map(|n| format!(":{n}\r\n")).collect();
        assert_eq!(written(&list), format!("*7\r\n{lines}$1\r\nx\r\n"));
    }
}
