//! `secrets` of an account: who it is to its platform, and until when.

use chrono::DateTime;

use crate::config::secret::secret;
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::config::value::words;
use crate::platforms::{Credential, SecretString};

/// Reads `secrets = [{ id, key, secret, not_before, not_after }]`; at least one is needed.
pub(super) fn read(account: &Section<'_>) -> Vec<Credential> {
    let Some(node) = account.node("secrets") else {
        account.problem(
            "secrets",
            "is missing: a list such as [{ id = \"a\", key = \"${KEY}\", secret = \"${SECRET}\" }]",
        );
        return Vec::new();
    };
    if matches!(node.value, Value::Broken) {
        return Vec::new();
    }
    let Some(members) = node.list() else {
        account.problem("secrets", "has to be a list of tables { id, key, secret }");
        return Vec::new();
    };
    if members.is_empty() {
        account.problem("secrets", "is empty: nothing may be signed with an empty secret");
    }
    let mut all: Vec<Credential> = Vec::new();
    for (i, member) in members.iter().enumerate() {
        let path = account.key(&format!("secrets.{i}"));
        let Some(section) = Section::open(member, path, None, account.report) else { continue };
        let Some(credential) = one(&section) else { continue };
        if all.iter().any(|c| c.id == credential.id) {
            section.problem("id", "is the id of another secret of this account");
        }
        all.push(credential);
    }
    all
}

fn one(section: &Section<'_>) -> Option<Credential> {
    let required = |key, read: fn(&Node) -> Result<String, String>| {
        if section.node(key).is_none() {
            section.problem(key, "is missing");
        }
        section.read(key, read)
    };
    let (id, key, secret) = (required("id", words), required("key", secret), required("secret", secret));
    let not_before_ms = section.read("not_before", instant);
    let not_after_ms = section.read("not_after", instant);
    section.finish();
    if let (Some(from), Some(until)) = (not_before_ms, not_after_ms)
        && from >= until
    {
        section.problem("not_after", "has to be later than not_before");
    }
    if key.as_ref().is_some_and(|k| !k.chars().all(|c| c.is_ascii_graphic())) {
        section.problem("key", "may hold visible ASCII characters only, because it travels in a header");
        return None;
    }
    Some(Credential { id: id?, key: key?, secret: SecretString::new(secret?), not_before_ms, not_after_ms })
}

/// An instant, epoch ms.
fn instant(node: &Node) -> Result<i64, String> {
    let text = match &node.value {
        Value::Text(text) => text.clone(),
        Value::Datetime(time) => time.to_string(),
        _ => String::new(),
    };
    DateTime::parse_from_rfc3339(&text)
        .map(|t| t.timestamp_millis())
        .map_err(|_| "has to be a time with its zone (RFC 3339), e.g. \"2026-10-01T00:00:00+08:00\"".to_owned())
}
