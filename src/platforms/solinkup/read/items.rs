//! What became of each text that was to be decrypted. The platform need not answer in the order of the request, may
//! leave one out, and answers the same text once.

use serde_json::{Map, Value};

use crate::platforms::Item;
use crate::platforms::call::{ItemResult, ItemStatus, Personal, PersonalKind};
use crate::platforms::solinkup::args::{CHUNK, Cipher, kept};
use crate::platforms::solinkup::read::codes::number;

/// The results of the chunk `part`, in the order of the event.
pub(super) fn of(item: &Item, part: u64, data: &Value) -> Vec<ItemResult> {
    let kept = kept(item).unwrap_or_default();
    let ciphers = kept.iter().find(|(name, _)| *name == "cipher_infos");
    let ciphers: Vec<Cipher> = ciphers.and_then(|(_, json)| serde_json::from_str(json.get()).ok()).unwrap_or_default();
    let from = usize::try_from(part).unwrap_or(usize::MAX).saturating_mul(CHUNK);
    let chunk: Vec<&Cipher> = ciphers.iter().skip(from).take(CHUNK).collect();
    let none = Vec::new();
    let infos = data["decrypt_infos"].as_array().unwrap_or(&none);
    let found = matched(&chunk, infos);
    let results = chunk.iter().zip(found).enumerate();
    results.map(|(at, (cipher, info))| result((from + at) as u64, cipher, info)).collect()
}

/// For each text of the request its answer.
fn matched<'v>(chunk: &[&Cipher], infos: &'v [Value]) -> Vec<Option<&'v Value>> {
    let mut found: Vec<Option<&Value>> = vec![None; chunk.len()];
    let is_for = |cipher: &Cipher, info: &Value| {
        info["auth_id"].as_str() == Some(&cipher.auth_id)
            && info["cipher_text"].as_str().is_none_or(|text| text == cipher.cipher_text)
    };
    for info in infos {
        // Without its text an answer is for the first of its order that has none yet.
        let place = chunk.iter().zip(&found).position(|(cipher, found)| found.is_none() && is_for(cipher, info));
        if let Some(found) = place.and_then(|place| found.get_mut(place)) {
            *found = Some(info);
        }
    }
    let same = |n: usize| {
        let twin = (0..n).chain(n + 1..chunk.len()).find(|twin| {
            found[*twin].is_some()
                && chunk[*twin].auth_id == chunk[n].auth_id
                && chunk[*twin].cipher_text == chunk[n].cipher_text
        });
        twin.and_then(|twin| found[twin])
    };
    (0..chunk.len()).map(|n| found[n].or_else(|| same(n))).collect()
}

fn result(index: u64, cipher: &Cipher, info: Option<&Value>) -> ItemResult {
    let auth_id = Some(cipher.auth_id.clone());
    let Some(info) = info else {
        let message = "the answer does not mention it".to_owned();
        return ItemResult {
            index,
            auth_id,
            status: ItemStatus::Error,
            code: String::new(),
            message,
            data: Value::Null,
        };
    };
    let err_no = number(&info["err_no"]);
    let status = if err_no == Some(0) { ItemStatus::Ok } else { ItemStatus::Error };
    let kept = ["decrypt_text", "is_virtual_tel", "cipher_text"];
    let data: Map<String, Value> =
        kept.into_iter().filter_map(|name| Some((name.to_owned(), info.get(name)?.clone()))).collect();
    let code = err_no.map(|code| code.to_string()).unwrap_or_default();
    let message = info["err_msg"].as_str().unwrap_or_default().to_owned();
    ItemResult { index, auth_id, status, code, message, data: data.into() }
}

/// What is personal in the data of an item.
pub(super) fn personal() -> Vec<Personal> {
    vec![Personal { at: "decrypt_text".into(), kind: PersonalKind::Value }]
}
