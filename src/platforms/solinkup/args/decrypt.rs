//! Encrypted texts of 抖店 orders: any number per event, up to fifty per request.

use serde::{Deserialize, Serialize};

use crate::error::DeliveryError;
use crate::platforms::call::Parts;
use crate::platforms::solinkup::args::made::Made;
use crate::platforms::solinkup::args::object::Object;

/// The most items of one request.
pub(in crate::platforms::solinkup) const CHUNK: usize = 50;

/// One text to decrypt.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::platforms::solinkup) struct Cipher {
    /// The number of the order that it belongs to.
    pub(in crate::platforms::solinkup) auth_id: String,
    pub(in crate::platforms::solinkup) cipher_text: String,
}

pub(super) fn judge(args: &Object<'_>) -> Result<(Made, Parts), DeliveryError> {
    args.only(&["cipher_infos"])?;
    let ciphers = args.list("cipher_infos", |path, value| {
        let item = Object::at(path, value)?;
        item.only(&["auth_id", "cipher_text"])?;
        let (auth_id, cipher_text) = (item.id("auth_id")?.to_owned(), item.text("cipher_text")?.to_owned());
        Ok(Cipher { auth_id, cipher_text })
    })?;
    let ciphers = ciphers.ok_or_else(|| args.refuse("cipher_infos", "is missing"))?;
    if ciphers.is_empty() {
        return Err(args.refuse("cipher_infos", "is empty"));
    }
    let parts = Parts::Chunks(ciphers.len().div_ceil(CHUNK) as u64);
    let mut made = Made::default();
    made.push("cipher_infos", &ciphers);
    Ok((made, parts))
}
