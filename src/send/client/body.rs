//! The body of an answer: read up to a bound, and unpacked if the platform packed it without being asked to.

use std::io::Read;

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
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

/// The body as its platform wrote it: unpacked, each layer to at most `most` bytes, and without a byte order mark. If
/// the head says that the body is packed and it is not, the body is taken as it is.
pub fn unpacked(headers: &HeaderMap, mut body: Vec<u8>, most: usize) -> Result<Vec<u8>, NoBody> {
    let layers = layers(headers);
    if layers.len() > MAX_LAYERS {
        return Err(NoBody::Unreadable("it is packed too often"));
    }
    for layer in layers.into_iter().rev() {
        match layer {
            Layer::Deflate => body = inflate(body, most)?,
            Layer::Gzip if body.starts_with(&GZIP) => body = gunzip(&body, most)?,
            Layer::Unknown(why) if !is_text(&body) => return Err(NoBody::Unreadable(why)),
            // It is not packed, although the head says so.
            Layer::Gzip | Layer::Unknown(_) => {}
        }
    }
    // A proxy that removes the header leaves the packed bytes.
    if body.starts_with(&GZIP) {
        body = gunzip(&body, most)?;
    }
    if body.starts_with(&ZSTD) {
        return Err(NoBody::Unreadable(BY_ZSTD));
    }
    let mark = body.len() - byte_order_mark::skip(&body).len();
    body.drain(..mark);
    Ok(body)
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

fn gunzip(body: &[u8], most: usize) -> Result<Vec<u8>, NoBody> {
    read(MultiGzDecoder::new(body), most).unwrap_or(Err(NoBody::Unreadable("its gzip is damaged")))
}

/// The name `deflate` means zlib, but many servers send the bare stream under this name.
fn inflate(body: Vec<u8>, most: usize) -> Result<Vec<u8>, NoBody> {
    let zlib = read(ZlibDecoder::new(&body[..]), most).or_else(|| read(DeflateDecoder::new(&body[..]), most));
    zlib.unwrap_or(Ok(body))
}

/// `None`: the decoder cannot read the bytes.
fn read(decoder: impl Read, most: usize) -> Option<Result<Vec<u8>, NoBody>> {
    let mut out = Vec::new();
    let read = decoder.take(most as u64 + 1).read_to_end(&mut out);
    if out.len() > most {
        return Some(Err(NoBody::TooLong(most)));
    }
    read.ok().map(|_| Ok(out))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const MOST: usize = 64 * 1024;
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
            // The head says that it is packed, and it is not.
            (&["gzip"], TEXT.to_vec()),
            (&["deflate"], TEXT.to_vec()),
            (&["identity"], TEXT.to_vec()),
            (&["utf-8"], TEXT.to_vec()),
            (&[""], marked(TEXT)),
        ];
        for (encodings, body) in rows {
            let read = unpacked(&headers(encodings), body.clone(), MOST);
            assert_eq!(read.as_deref(), Ok(TEXT), "{encodings:?} {body:?}");
        }
    }

    #[test]
    fn a_bomb_is_cut_off_at_the_bound_whatever_its_packing() {
        let fits = vec![b' '; MOST];
        let bomb = vec![b' '; 4 << 20];
        type Pack = fn(&[u8]) -> Vec<u8>;
        for (encoding, pack) in [("gzip", gzip as Pack), ("deflate", zlib), ("deflate", bare)] {
            let small = pack(&bomb);
            assert!(small.len() < 16 << 10, "the test is about few bytes that become many");
            assert_eq!(unpacked(&headers(&[encoding]), pack(&fits), MOST).as_deref(), Ok(&fits[..]), "{encoding}");
            assert_eq!(unpacked(&headers(&[encoding]), small, MOST), Err(NoBody::TooLong(MOST)), "{encoding}");
        }
        let layered = gzip(&gzip(&bomb));
        assert_eq!(unpacked(&headers(&["gzip, gzip"]), layered, MOST), Err(NoBody::TooLong(MOST)));
        assert!(matches!(unpacked(&headers(&["gzip"; 5]), TEXT.to_vec(), MOST), Err(NoBody::Unreadable(_))));
    }

    #[test]
    fn what_the_worker_cannot_unpack_is_named_and_a_text_under_that_name_is_read() {
        // The text as an uncompressed block of brotli, and as a raw block of zstd.
        let br = [&[0x8b, 0x0e, 0x80][..], TEXT, &[0x03]].concat();
        let zstd = [&ZSTD[..], &[0x20, 29, 0xe9, 0, 0], TEXT].concat();
        let compress = [&[0x1f, 0x9d, 0x90][..], &[0x7b, 0x44, 0x94]].concat();
        let rows: [(&[&str], &[u8], &str); 7] = [
            (&["br"], &br, "it is compressed with br, which"),
            (&["BR"], &br, "it is compressed with br, which"),
            (&["br, gzip"], &gzip(&br), "it is compressed with br, which"),
            (&["zstd"], &zstd, "it is compressed with zstd, which"),
            (&[], &zstd, "it is compressed with zstd, which"),
            (&["compress"], &compress, "it is compressed with compress, which"),
            (&["x-compress"], &compress, "it is compressed with compress, which"),
        ];
        for (encodings, body, said) in rows {
            let read = unpacked(&headers(encodings), body.to_vec(), MOST);
            let Err(NoBody::Unreadable(why)) = read else { panic!("{encodings:?} {read:?}") };
            assert!(why.starts_with(said), "{encodings:?} {why}");
        }
        for encoding in ["br", "zstd", "compress"] {
            assert_eq!(unpacked(&headers(&[encoding]), marked(TEXT), MOST).as_deref(), Ok(TEXT), "{encoding}");
        }
    }

    #[test]
    fn damaged_gzip_says_so() {
        let whole = gzip(TEXT);
        let mut flipped = whole.clone();
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        for damaged in [&whole[..whole.len() - 9], &whole[..2], &flipped] {
            let read = unpacked(&headers(&["gzip"]), damaged.to_vec(), MOST);
            assert_eq!(read, Err(NoBody::Unreadable("its gzip is damaged")));
        }
    }
}
