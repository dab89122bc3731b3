//! Digests, in lower-case hex. A signature remembers the text that was hashed last, for `preview`.

use std::cell::RefCell;

use minijinja::{Error, Value};
use ring::{digest, hmac};

use crate::platforms::declared::write::bytes;
use crate::platforms::signing::{hex, md5_hex};

thread_local! {
    /// What the last digest was made of, while a signature is computed.
    static HASHED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Computes a signature, and returns the exact text that it hashes; of an HMAC, the message. `None`: nothing was
/// hashed, or no text.
pub(in crate::platforms::declared) fn signature_input<T>(sign: impl FnOnce() -> T) -> (T, Option<String>) {
    HASHED.with(|hashed| *hashed.borrow_mut() = Some(Vec::new()));
    let signed = sign();
    let input = HASHED.with(|hashed| hashed.borrow_mut().take());
    (signed, input.filter(|input| !input.is_empty()).and_then(|input| String::from_utf8(input).ok()))
}

fn note(message: &[u8]) {
    HASHED.with(|hashed| {
        if let Some(hashed) = hashed.borrow_mut().as_mut() {
            hashed.clear();
            hashed.extend_from_slice(message);
        }
    });
}

pub(super) fn md5(value: &Value) -> Result<String, Error> {
    Ok(md5_of(&bytes(value)?))
}

pub(super) fn sha1(value: &Value) -> Result<String, Error> {
    Ok(sha1_of(&bytes(value)?))
}

pub(super) fn sha256(value: &Value) -> Result<String, Error> {
    Ok(sha256_of(&bytes(value)?))
}

pub(super) fn hmac_sha256(value: &Value, key: &Value) -> Result<String, Error> {
    Ok(hmac_sha256_of(&bytes(value)?, &bytes(key)?))
}

pub(super) fn hmac_sha1(value: &Value, key: &Value) -> Result<String, Error> {
    Ok(hmac_sha1_of(&bytes(value)?, &bytes(key)?))
}

pub(super) fn md5_of(message: &[u8]) -> String {
    note(message);
    md5_hex(message)
}

pub(super) fn sha1_of(message: &[u8]) -> String {
    digested(&digest::SHA1_FOR_LEGACY_USE_ONLY, message)
}

pub(super) fn sha256_of(message: &[u8]) -> String {
    digested(&digest::SHA256, message)
}

pub(super) fn hmac_sha256_of(message: &[u8], key: &[u8]) -> String {
    signed(hmac::HMAC_SHA256, message, key)
}

pub(super) fn hmac_sha1_of(message: &[u8], key: &[u8]) -> String {
    signed(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, message, key)
}

fn digested(algorithm: &'static digest::Algorithm, message: &[u8]) -> String {
    note(message);
    hex(digest::digest(algorithm, message).as_ref())
}

fn signed(algorithm: hmac::Algorithm, message: &[u8], key: &[u8]) -> String {
    note(message);
    hex(hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref())
}
