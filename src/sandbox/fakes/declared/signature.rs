//! The signature of a request.

use super::file::{Body, Form, Sign};
use super::formats::parameters;
use super::matching::Matching;
use super::value::Val;
use crate::sandbox::request::{Header, Request};

/// Computes the signature over what arrived.
pub(super) fn signature(matching: &mut Matching<'_>, form: &Form, sign: &Sign, request: &Request) {
    let body = String::from_utf8_lossy(&request.body);
    let (signed_body, field) = match body.rsplit_once(&format!("{}=", sign.form)).filter(|_| !sign.form.is_empty()) {
        // It is the last field, behind everything that it signs.
        Some((before, value)) => (before.trim_end_matches('&'), super::filters::urldecode(&value.replace('+', " "))),
        None => (&*body, None),
    };
    let (target, given) = if !sign.form.is_empty() {
        (request.target.as_str(), field)
    } else if sign.query.is_empty() {
        (
            request.target.as_str(),
            match request.header(&sign.header) {
                Header::Once(value) => Some(String::from_utf8_lossy(value).into_owned()),
                Header::Missing | Header::Repeated => None,
            },
        )
    } else {
        // It is the last parameter, behind everything that it signs.
        let parts = request.target.rsplit_once(&format!("{}=", sign.query));
        parts.map_or((request.target.as_str(), None), |(before, value)| {
            (before.trim_end_matches(['&', '?']), Some(value.to_owned()))
        })
    };
    let place = match (sign.form.as_str(), sign.query.as_str()) {
        ("", "") => format!("header {}", sign.header),
        ("", query) => format!("query {query}"),
        (field, _) => format!("form {field}"),
    };
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let bases = if form.hosts.is_empty() {
        // Of a form below `base_url` the path is signed.
        vec![String::new()]
    } else {
        form.hosts.iter().map(|host| format!("https://{host}")).collect()
    };
    let mut expected = Vec::new();
    for base in bases {
        let mut known = matching.known.clone();
        known.show_name("method", Val::text(request.method.as_str()));
        known.show_name("query", Val::text(query));
        known.show_name("body", Val::Bytes(signed_body.as_bytes().to_vec()));
        if matches!(form.body, Body::Form(_))
            && let Some(fields) = parameters(signed_body)
        {
            let fields = fields.into_iter().map(|(name, value)| (name, value.into()));
            known.show_name("form", Val::Json(serde_json::Value::Object(fields.collect())));
        }
        known.show_name("url", Val::text(format!("{base}{target}")));
        match sign.value.printed(&known) {
            Some(value) => expected.push(value),
            None => return matching.problem(&place, "cannot be checked by this sandbox"),
        }
    }
    let given = given.unwrap_or_default();
    if !expected.contains(&given) {
        let problem = match (given.is_empty(), expected.iter().all(String::is_empty)) {
            (true, _) => "missing",
            (_, true) => "must not be there: the account has no secret",
            _ => "not the signature of this request",
        };
        matching.problem(&place, problem);
    }
}
