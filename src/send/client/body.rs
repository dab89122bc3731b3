//! The body of an answer: read up to a bound, and unpacked if the platform packed it without being asked to.

use std::io::Read;

use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use crate::byte_order_mark;

/// The most layers of packing. No server uses more, and each layer costs one pass.
const MAX_LAYERS: usize = 4;
/// Every gzip stream begins like this, and no JSON text does.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Every zstd stream begins like this.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BY_BR: &str = "it is compressed with br, which the request did not ask for and the worker cannot unpack";
const BY_ZSTD: &str = "it is compressed with zstd, which the request did not ask for and the worker cannot unpack";
const BY_COMPRESS: &str =
    "it is compressed with compress, which the request did not ask for and the worker cannot unpack";

/// Why an answer has a head but no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBody {
    /// It came and cannot be read; the text says why.
    Unreadable(&'static str),
    /// It is longer than the request allows, as it came or unpacked.
    TooLong(usize),
    /// It ended too early; the text says what happened.
    Cut(&'static str),
}

/// The body as its platform wrote it: unpacked, each layer to at most `most` bytes, and without byte order marks. If
/// the head says that the body is packed and it is not, the body is taken as it is.
pub fn unpacked(headers: &HeaderMap, mut body: Vec<u8>, most: usize) -> Result<Vec<u8>, NoBody> {
    let layers = layers(headers);
    if layers.len() > MAX_LAYERS {
        return Err(NoBody::Unreadable("it is packed too often"));
    }
    for layer in layers.into_iter().rev() {
        match layer {
            Layer::Deflate => body = inflate(body, most)?,
            Layer::Gzip => body = gunzip(body, most)?,
            Layer::Unknown(why) if !is_text(&body) => return Err(NoBody::Unreadable(why)),
            // It is not packed, although the head says so.
            Layer::Unknown(_) => {}
        }
    }
    // A proxy that removes the header leaves the packed bytes.
    body = gunzip(body, most)?;
    if body.starts_with(&ZSTD) {
        return Err(NoBody::Unreadable(BY_ZSTD));
    }
    if byte_order_mark::is_utf_16(&body) {
        return Err(NoBody::Unreadable("it is UTF-16, and the worker reads UTF-8"));
    }
    let marks = body.len() - without_marks(&body).len();
    body.drain(..marks);
    Ok(body)
}

/// The bytes behind all byte order marks at their beginning. A script that includes other files sends the mark of each
/// of them, and the line breaks between them.
fn without_marks(mut body: &[u8]) -> &[u8] {
    loop {
        let text = body.trim_ascii_start();
        let rest = byte_order_mark::skip(text);
        if rest.len() == text.len() {
            return body;
        }
        body = rest;
    }
}

/// Whether a body may become longer by unpacking. What is no text may be a deflate stream.
pub fn is_packed(body: &[u8]) -> bool {
    body.starts_with(&GZIP) || !is_text(body)
}

/// Why the body ended. Invalid chunks are an answer that came; an end too early is not.
pub fn failed(error: &hyper::Error) -> NoBody {
    let io = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    match io.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData) => {
            NoBody::Unreadable("its chunks are not HTTP")
        }
        _ => NoBody::Cut("the answer broke off"),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Gzip,
    Deflate,
    /// A packing that the worker cannot unpack, and the text that says so.
    Unknown(&'static str),
}

/// Whether the bytes are readable text. Then nothing has packed them, because packed bytes are not valid UTF-8 or
/// contain control characters.
fn is_text(body: &[u8]) -> bool {
    let is_plain = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    std::str::from_utf8(body).is_ok_and(|text| text.chars().all(is_plain))
}

/// In the order in which they were applied. Names that are no packing, such as `identity` or `utf-8`, are ignored.
fn layers(headers: &HeaderMap) -> Vec<Layer> {
    let names = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let layer = |name: &str| match name.trim().to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => Some(Layer::Gzip),
        "deflate" => Some(Layer::Deflate),
        "br" => Some(Layer::Unknown(BY_BR)),
        "zstd" => Some(Layer::Unknown(BY_ZSTD)),
        "compress" | "x-compress" => Some(Layer::Unknown(BY_COMPRESS)),
        _ => None,
    };
    names.flat_map(|names| names.split(',')).filter_map(layer).collect()
}

/// Unpacks a body that is gzip and returns any other one as it is. What a script or a proxy wrote before the first
/// stream (marks, blanks) or behind the last one is no part of the text.
fn gunzip(body: Vec<u8>, most: usize) -> Result<Vec<u8>, NoBody> {
    let mut rest = without_marks(&body).trim_ascii_start();
    if !rest.starts_with(&GZIP) {
        return Ok(body);
    }
    let mut out = Vec::new();
    while rest.starts_with(&GZIP) {
        let mut stream = GzDecoder::new(rest);
        out = read(&mut stream, out, most).unwrap_or(Err(NoBody::Unreadable("its gzip is damaged")))?;
        rest = stream.into_inner();
    }
    Ok(out)
}

/// The name `deflate` means zlib, but many servers send the bare stream under this name. Many a text is a valid bare
/// stream of a few bytes, so a text is not unpacked.
fn inflate(body: Vec<u8>, most: usize) -> Result<Vec<u8>, NoBody> {
    if is_text(&body) || body.starts_with(&GZIP) {
        return Ok(body);
    }
    let zlib = read(ZlibDecoder::new(&body[..]), Vec::new(), most);
    let zlib = zlib.or_else(|| read(DeflateDecoder::new(&body[..]), Vec::new(), most));
    zlib.unwrap_or(Err(NoBody::Unreadable("its deflate is damaged")))
}

/// Appends what a decoder reads, up to `most` bytes in all. `None`: it cannot read the bytes.
fn read(decoder: impl Read, mut out: Vec<u8>, most: usize) -> Option<Result<Vec<u8>, NoBody>> {
    let room = (most + 1).saturating_sub(out.len());
    let read = decoder.take(room as u64).read_to_end(&mut out);
    if out.len() > most {
        return Some(Err(NoBody::TooLong(most)));
    }
    read.ok().map(|_| Ok(out))
}

#[cfg(test)]
mod tests;
