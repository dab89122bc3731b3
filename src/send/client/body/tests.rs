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
    let rows: [(&[&str], Vec<u8>); 25] = [
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
        // Each file that a script includes may have a mark of its own.
        (&[], marked(&marked(TEXT))),
        (&[], marked(&[b"\r\n", &*marked(TEXT)].concat())),
        (&["gzip"], gzip(&marked(&marked(TEXT)))),
        (&["gzip"], marked(&gzip(TEXT))),
        (&["gzip"], [b"\r\n", &*gzip(TEXT)].concat()),
        (&["gzip"], [&*gzip(TEXT), &[0; 16]].concat()),
        (&["gzip"], [&*gzip(TEXT), b"\r\n<!-- cached -->"].concat()),
        (&["deflate"], [&*zlib(TEXT), b"\r\n"].concat()),
        // The head names the wrong one.
        (&["deflate"], gzip(TEXT)),
    ];
    for (encodings, body) in rows {
        let read = unpacked(&headers(encodings), body.clone(), MOST);
        assert_eq!(read.as_deref(), Ok(TEXT), "{encodings:?} {body:?}");
    }
}

#[test]
fn a_text_that_is_a_valid_stream_is_not_unpacked() {
    // As a bare stream it is one character.
    let text = b"{\n  \"code\": 0\n}";
    assert!(read(DeflateDecoder::new(&text[..]), Vec::new(), MOST).is_some(), "the test is about a valid stream");
    for encoding in ["deflate", "gzip", "deflate, gzip"] {
        assert_eq!(unpacked(&headers(&[encoding]), text.to_vec(), MOST).as_deref(), Ok(&text[..]), "{encoding}");
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
    // The bound is that of all streams together.
    let streams = |last: &[u8]| [gzip(&fits[1..]), gzip(last)].concat();
    assert_eq!(unpacked(&headers(&["gzip"]), streams(b" "), MOST).as_deref(), Ok(&fits[..]));
    assert_eq!(unpacked(&headers(&["gzip"]), streams(b"  "), MOST), Err(NoBody::TooLong(MOST)));
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
fn what_is_damaged_says_so() {
    let whole = gzip(TEXT);
    let mut flipped = whole.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    let second = [&*whole, &whole[..9]].concat();
    for damaged in [&whole[..whole.len() - 9], &whole[..whole.len() - 8], &whole[..2], &flipped, &second] {
        let read = unpacked(&headers(&["gzip"]), damaged.to_vec(), MOST);
        assert_eq!(read, Err(NoBody::Unreadable("its gzip is damaged")));
    }
    let whole = zlib(TEXT);
    for damaged in [&whole[..whole.len() - 5], &whole[..9], b"\xff\xff\xff\xff"] {
        let read = unpacked(&headers(&["deflate"]), damaged.to_vec(), MOST);
        assert_eq!(read, Err(NoBody::Unreadable("its deflate is damaged")), "{damaged:?}");
    }
    for text in [&b"\xff\xfe{\0}\0"[..], b"\xfe\xff\0{\0}"] {
        let read = unpacked(&headers(&[]), text.to_vec(), MOST);
        assert_eq!(read, Err(NoBody::Unreadable("it is UTF-16, and the worker reads UTF-8")));
    }
}
