//! `secrets` of an account: who it is to its platform, and until when.

use chrono::DateTime;

use crate::config::secret::secret;
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::config::value::words;
use crate::platforms::{Credential, CredentialShape, Platform};
use crate::secret::SecretString;

/// Reads `secrets = [{ id, …, not_before, not_after }]`, with the two halves that the platform states; at least one is
/// needed there, and none may be given where the platform has none.
pub(super) fn read(account: &Section<'_>, platform: Option<&dyn Platform>) -> Vec<Credential> {
    let node = account.node("secrets");
    let Some(platform) = platform else { return Vec::new() };
    let Some(shape) = platform.credential() else {
        if node.is_some() {
            account.problem("secrets", format!("has no use: {} signs nothing", platform.name()));
        }
        return Vec::new();
    };
    let (public, secret) = (shape.public, shape.secret);
    let Some(node) = node else {
        let places = (public.to_uppercase(), secret.to_uppercase());
        account.problem(
            "secrets",
            format!(
                "is missing: a list such as [{{ id = \"a\", {public} = \"${{{}}}\", {secret} = \"${{{}}}\" }}]",
                places.0, places.1
            ),
        );
        return Vec::new();
    };
    if matches!(node.value, Value::Broken) {
        return Vec::new();
    }
    let Some(members) = node.list() else {
        account.problem("secrets", format!("has to be a list of tables {{ id, {public}, {secret} }}"));
        return Vec::new();
    };
    if members.is_empty() {
        account.problem("secrets", "is empty: nothing may be signed with an empty secret");
    }
    let mut all: Vec<Credential> = Vec::new();
    for (i, member) in members.iter().enumerate() {
        let path = account.key(&format!("secrets.{i}"));
        let Some(section) = Section::open(member, path, account.report) else { continue };
        let Some(credential) = one(&section, &shape) else { continue };
        if all.iter().any(|c| c.id == credential.id) {
            section.problem("id", "is the id of another secret of this account");
        }
        all.push(credential);
    }
    all
}

fn one(section: &Section<'_>, shape: &CredentialShape) -> Option<Credential> {
    let required = |key, read: fn(&Node) -> Result<String, String>| {
        if section.node(key).is_none() {
            section.problem(key, "is missing");
        }
        section.read(key, read)
    };
    let (id, key, secret) = (required("id", words), required(shape.public, secret), required(shape.secret, secret));
    let not_before_ms = section.read("not_before", instant);
    let not_after_ms = section.read("not_after", instant);
    section.finish();
    if let (Some(from), Some(until)) = (not_before_ms, not_after_ms)
        && from >= until
    {
        section.problem("not_after", "has to be later than not_before");
    }
    if let Some(Err(reason)) = key.as_deref().map(shape.check) {
        section.problem(shape.public, reason);
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
