//! Changes that both commands and scripts make.

use super::keys::Keys;
use super::wire::{Reply, error};

/// Sets one bit of a text, which grows as needed. Returns the bit's old value.
pub(super) fn set_bit(keys: &mut Keys, key: &[u8], bit: i64, to: bool) -> Result<bool, Reply> {
    /// As in Redis, a text has at most 512 MiB.
    const MOST: i64 = 1 << 32;
    let out_of_range = || error("ERR bit offset is not an integer or out of range");
    let place = usize::try_from(bit).ok().filter(|_| bit < MOST).ok_or_else(out_of_range)?;
    let (byte, mask) = (place / 8, 0x80_u8 >> (place % 8));
    keys.change_text(key, |text| {
        if text.len() <= byte {
            text.resize(byte + 1, 0);
        }
        let old = text[byte] & mask != 0;
        text[byte] = if to { text[byte] | mask } else { text[byte] & !mask };
        old
    })
}

/// Adds to the number in a field of a hash. A missing field counts as 0.
pub(super) fn add_to_field(keys: &mut Keys, key: &[u8], field: &[u8], by: i64) -> Result<Reply, Reply> {
    let old = keys.hash(key)?.and_then(|hash| hash.get(field));
    let old = old.map_or(Ok(0), |text| integer(text).map_err(|_| error("ERR hash value is not an integer")))?;
    let new = old.checked_add(by).ok_or_else(|| error("ERR increment or decrement would overflow"))?;
    keys.change_hash(key, |hash| hash.insert(field.to_vec(), new.to_string().into_bytes()))?;
    Ok(Reply::Integer(new))
}

pub(super) fn integer(text: &[u8]) -> Result<i64, Reply> {
    let parsed = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    parsed.ok_or_else(|| error("ERR value is not an integer or out of range"))
}
