//! The fingerprint that tells a repeat from a conflict (core.md section 3). It covers only the money of an event, so
//! that a producer may correct any other member and the copy still counts as a repeat.

use sha2::{Digest, Sha256};

use super::{ConversionEvent, Money};

impl ConversionEvent {
    /// Returns 40 bits for order and money: the first five bytes, big-endian, of SHA-256 over five parts in this order:
    /// `order.order_id`, `order.amount.minor`, `order.amount.currency`, `order.refund.minor`, `order.refund.currency`.
    /// An absent part is the byte 0. A part that is there is the byte 1, its length in bytes as 32 bits big-endian, and
    /// its UTF-8 text (minor units in decimal). Claims outlive a release, so this must never change.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Sha256::new();
        part(&mut hash, self.order.order_id.as_deref());
        money(&mut hash, self.order.amount.as_ref());
        money(&mut hash, self.order.refund.as_ref());
        hash.finalize().iter().take(5).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
    }
}

fn money(hash: &mut Sha256, value: Option<&Money>) {
    part(hash, value.map(|m| m.minor.to_string()).as_deref());
    part(hash, value.map(|m| m.currency.as_str()));
}

fn part(hash: &mut Sha256, text: Option<&str>) {
    match text {
        None => hash.update([0]),
        Some(text) => {
            hash.update([1]);
            // The length fits, because a record has at most 256 KiB.
            hash.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            hash.update(text);
        }
    }
}
