//! The bytes of an answer's body: read to a bound, unpacked where the platform packed them without being asked.

use std::io::Read;

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::MAX_BODY;
use crate::byte_order_mark;

/// Nobody packs an answer more often than this; each layer costs one pass.
const MAX_LAYERS: usize = 4;
/// How every gzip stream begins, and no JSON text does.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why an answer has a head and no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBody {
    /// It came and cannot be read; the text says why.
    Unreadable(&'static str),
    /// It did not come to its end; the text says what happened.
    Cut(&'static str),
}

/// More than [`MAX_BODY`] bytes, as they came or unpacked.
pub const TOO_LONG: NoBody = NoBody::Unreadable("it is longer than 64 KiB");

/// The body as its platform wrote it: unpacked, each layer to at most [`MAX_BODY`] bytes, and without a byte order
/// mark. A body that is not packed although its head says so is taken as it is.
pub fn unpacked(headers: &HeaderMap, mut body: Vec<u8>) -> Result<Vec<u8>, NoBody> {
    let layers = layers(headers);
    if layers.len() > MAX_LAYERS {
        return Err(NoBody::Unreadable("it is packed too often"));
    }
    for layer in layers.into_iter().rev() {
        if layer == Layer::Deflate {
            body = inflate(body)?;
        } else if body.starts_with(&GZIP) {
            body = gunzip(&body)?;
        }
    }
    // A proxy that drops the header leaves the packed bytes.
    if body.starts_with(&GZIP) {
        body = gunzip(&body)?;
    }
    let mark = body.len() - byte_order_mark::skip(&body).len();
    body.drain(..mark);
    Ok(body)
}

/// Why the body's bytes stopped: chunks that are none are an answer that came, an end too early is not.
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
}

/// In the order in which they were put on. Names that no packing has, such as `identity` or `utf-8`, change nothing.
fn layers(headers: &HeaderMap) -> Vec<Layer> {
    let names = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let layer = |name: &str| match name.trim().to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => Some(Layer::Gzip),
        "deflate" => Some(Layer::Deflate),
        _ => None,
    };
    names.flat_map(|names| names.split(',')).filter_map(layer).collect()
}

fn gunzip(body: &[u8]) -> Result<Vec<u8>, NoBody> {
    read(MultiGzDecoder::new(body)).unwrap_or(Err(NoBody::Unreadable("its gzip is damaged")))
}

/// The name stands for zlib, and many servers send the bare stream under it.
fn inflate(body: Vec<u8>) -> Result<Vec<u8>, NoBody> {
    let zlib = read(ZlibDecoder::new(&body[..])).or_else(|| read(DeflateDecoder::new(&body[..])));
    zlib.unwrap_or(Ok(body))
}

/// `None`: not what the decoder reads.
fn read(decoder: impl Read) -> Option<Result<Vec<u8>, NoBody>> {
    let mut out = Vec::new();
    let read = decoder.take(MAX_BODY as u64 + 1).read_to_end(&mut out);
    if out.len() > MAX_BODY {
        return Some(Err(TOO_LONG));
    }
    read.ok().map(|_| Ok(out))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const TEXT: &[u8] = br#"{"errno":0,"error":"Success"}"#;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn bare(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn headers(encodings: &[&str]) -> HeaderMap {
        encodings.iter().map(|e| (CONTENT_ENCODING, e.parse().unwrap())).collect()
    }

    fn marked(bytes: &[u8]) -> Vec<u8> {
        [&[0xef, 0xbb, 0xbf], bytes].concat()
    }

    #[test]
    fn what_was_packed_without_being_asked_for_is_read() {
        let rows: [(&[&str], Vec<u8>); 16] = [
            (&[], TEXT.to_vec()),
            (&[], marked(TEXT)),
            (&["gzip"], gzip(TEXT)),
            (&["GZip"], gzip(&marked(TEXT))),
            (&["x-gzip"], gzip(TEXT)),
            (&[], gzip(TEXT)),
            (&["deflate"], zlib(TEXT)),
            (&["deflate"], bare(TEXT)),
            (&["deflate, gzip"], gzip(&zlib(TEXT))),
            (&["gzip", "deflate"], zlib(&gzip(TEXT))),
            (&["gzip"], [gzip(&TEXT[..9]), gzip(&TEXT[9..])].concat()),
            // What says that it is packed, and is not.
            (&["gzip"], TEXT.to_vec()),
            (&["deflate"], TEXT.to_vec()),
            (&["identity"], TEXT.to_vec()),
            (&["utf-8"], TEXT.to_vec()),
            (&[""], marked(TEXT)),
        ];
        for (encodings, body) in rows {
            let read = unpacked(&headers(encodings), body.clone());
            assert_eq!(read.as_deref(), Ok(TEXT), "{encodings:?} {body:?}");
        }
    }

    #[test]
    fn a_bomb_is_cut_off_at_the_bound_whatever_its_packing() {
        let fits = vec![b' '; MAX_BODY];
        let bomb = vec![b' '; 4 << 20];
        type Pack = fn(&[u8]) -> Vec<u8>;
        for (encoding, pack) in [("gzip", gzip as Pack), ("deflate", zlib), ("deflate", bare)] {
            let small = pack(&bomb);
            assert!(small.len() < 16 << 10, "the test is about few bytes that become many");
            assert_eq!(unpacked(&headers(&[encoding]), pack(&fits)).as_deref(), Ok(&fits[..]), "{encoding}");
            assert_eq!(unpacked(&headers(&[encoding]), small), Err(TOO_LONG), "{encoding}");
        }
        let layered = gzip(&gzip(&bomb));
        assert_eq!(unpacked(&headers(&["gzip, gzip"]), layered), Err(TOO_LONG));
        assert!(matches!(unpacked(&headers(&["gzip"; 5]), TEXT.to_vec()), Err(NoBody::Unreadable(_))));
    }

    #[test]
    fn damaged_gzip_says_so() {
        let whole = gzip(TEXT);
        let mut flipped = whole.clone();
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        for damaged in [&whole[..whole.len() - 9], &whole[..2], &flipped] {
            let read = unpacked(&headers(&["gzip"]), damaged.to_vec());
            assert_eq!(read, Err(NoBody::Unreadable("its gzip is damaged")));
        }
    }
}
