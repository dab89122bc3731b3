//! Reads `secrets` of an account: its credentials for its platform, each with the time in which it is valid. The
//! platform names two of the members, so this is no plain struct.

use crate::config::deserialize::Error;
use crate::config::fields::{instant, secret, words};
use crate::config::layers::Settings;
use crate::config::suggest::unknown;
use crate::config::tree::{Node, Table, Value};
use crate::platforms::{Credential, CredentialShape, Platform};

/// Reads `secrets = [{ id, …, not_before, not_after }]` with the two halves that the platform states. At least one
/// entry is required. A platform without credentials allows none.
pub(super) fn read(
    node: Option<&Node>,
    platform: Option<&dyn Platform>,
    account: &str,
    settings: &Settings<'_>,
) -> Vec<Credential> {
    let path = format!("{account}.secrets");
    let Some(platform) = platform else { return Vec::new() };
    let Some(shape) = platform.credential() else {
        if node.is_some() {
            settings.problem(&path, format!("has no use: {} signs nothing", platform.name()));
        }
        return Vec::new();
    };
    let (public, secret) = (shape.public, shape.secret);
    let Some(node) = node else {
        let places = (public.to_uppercase(), secret.to_uppercase());
        settings.problem(
            &path,
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
        settings.problem(&path, format!("has to be a list of tables {{ id, {public}, {secret} }}"));
        return Vec::new();
    };
    if members.is_empty() {
        settings.problem(&path, "is empty: nothing may be signed with an empty secret");
    }
    let mut all: Vec<Credential> = Vec::new();
    for (i, member) in members.iter().enumerate() {
        let path = format!("{path}.{i}");
        let Some(table) = settings.table(member, &path) else { continue };
        let Some(credential) = one(&Members { table, path: &path, settings }, &shape) else { continue };
        if all.iter().any(|c| c.id == credential.id) {
            settings.problem(&format!("{path}.id"), "is the id of another secret of this account");
        }
        all.push(credential);
    }
    // Each account keeps its own, and most have one.
    all.shrink_to_fit();
    all
}

/// The members of one credential.
struct Members<'a> {
    table: Table,
    path: &'a str,
    settings: &'a Settings<'a>,
}

impl Members<'_> {
    fn problem(&self, key: &str, reason: impl Into<String>) {
        self.settings.problem(&format!("{}.{key}", self.path), reason);
    }

    fn optional<T>(&self, key: &str, read: impl Fn(&Node) -> Result<T, Error>) -> Option<T> {
        let node = self.table.get(key).filter(|node| !node.is_broken())?;
        read(node).map_err(|error| self.problem(key, error.shown(node))).ok()
    }

    fn required<T>(&self, key: &str, read: impl Fn(&Node) -> Result<T, Error>) -> Option<T> {
        if !self.table.contains_key(key) {
            self.problem(key, "is missing");
        }
        self.optional(key, read)
    }
}

fn one(members: &Members<'_>, shape: &CredentialShape) -> Option<Credential> {
    let known = ["id", shape.public, shape.secret, "not_before", "not_after"];
    for key in members.table.keys().filter(|key| !known.contains(&key.as_str())) {
        members.problem(key, unknown(key, &known));
    }
    let id = members.required("id", |node| words(node));
    let key = members.required(shape.public, |node| secret(node));
    let secret = members.required(shape.secret, |node| secret(node));
    let not_before_ms = members.optional("not_before", |node| instant(node));
    let not_after_ms = members.optional("not_after", |node| instant(node));
    if let (Some(from), Some(until)) = (not_before_ms, not_after_ms)
        && from >= until
    {
        members.problem("not_after", "has to be later than not_before");
    }
    if let Some(Err(reason)) = key.as_ref().map(|key| (shape.check)(key.expose())) {
        members.problem(shape.public, reason);
        return None;
    }
    Some(Credential { id: id?, key: key?.expose().to_owned(), secret: secret?, not_before_ms, not_after_ms })
}
