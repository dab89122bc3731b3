//! JSON that stays text.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::platforms::declared::json::outline::outline;

/// The names and values of an object, in their order.
pub(in crate::platforms::declared) fn pairs(raw: &Bytes) -> Vec<(Bytes, Bytes)> {
    let (all, mut at, mut pairs) = (outline(raw), 0, Vec::new());
    while let Some(member) = all.get(at) {
        let name = match member.escaped_name(raw) {
            Some(name) => Bytes::from(name),
            None => raw.slice_ref(member.name(raw)),
        };
        pairs.push((name, raw.slice(member.value.clone())));
        at = member.next;
    }
    pairs
}

/// The members of a list.
pub(in crate::platforms::declared) fn split_list(raw: &Bytes) -> Vec<Bytes> {
    let members = serde_json::from_slice::<Vec<&RawValue>>(raw).unwrap_or_default();
    members.into_iter().map(|value| raw.slice_ref(value.get().as_bytes())).collect()
}

/// Appends JSON without the white space between its tokens. All else stays as it is written.
pub(in crate::platforms::declared) fn compact(raw: &[u8], out: &mut String) {
    let text = String::from_utf8_lossy(raw);
    let (mut inside, mut escaped, mut kept) = (false, false, 0);
    for (at, byte) in text.bytes().enumerate() {
        if inside {
            inside = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte == b'"' {
            inside = true;
        } else if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            out.push_str(&text[kept..at]);
            kept = at + 1;
        }
    }
    out.push_str(&text[kept..]);
}
