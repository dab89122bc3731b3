//! Finds secrets wherever they stand in a request: as they are, and in each form that a filter or an encoding gave
//! them.

use super::Bound;
use crate::platforms::declared::filters::{percent, while_masking};
use crate::platforms::declared::program::Form;
use crate::platforms::declared::write::quoted;
use crate::platforms::{Part, Request, SecretPlace};

impl Bound {
    /// Builds a request, and notes the places of the account's secrets and of `token` in it.
    pub(super) fn masked<E>(
        &self,
        form: &Form,
        token: Option<&str>,
        build: impl FnOnce() -> Result<Request, E>,
    ) -> Result<Request, E> {
        if !form.shows_secrets {
            return build();
        }
        let mut secrets = self.secrets.to_vec();
        secrets.extend(token.filter(|token| !token.is_empty()).map(str::to_owned));
        let (request, forms) = while_masking(encoded(&secrets), build);
        let mut request = request?;
        request.secrets = places(&request, &forms);
        Ok(request)
    }
}

/// Texts with each form that the encodings of a request give them.
fn encoded(secrets: &[String]) -> Vec<String> {
    let mut needles: Vec<String> = Vec::new();
    for secret in secrets {
        let mut encoded = String::new();
        percent(secret, &mut encoded);
        let mut json = String::new();
        quoted(secret, &mut json);
        let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for needle in [secret.clone(), encoded, form, json[1..json.len() - 1].to_owned()] {
            if !needles.contains(&needle) {
                needles.push(needle);
            }
        }
    }
    needles
}

fn places(request: &Request, secrets: &[String]) -> Vec<SecretPlace> {
    let needles = encoded(secrets);
    let mut places = Vec::new();
    let mut look = |part: Part, text: &[u8]| {
        for needle in &needles {
            let mut from = 0;
            while let Some(at) = find(&text[from..], needle.as_bytes()) {
                let start = from + at;
                places.push(SecretPlace { part, range: start..start + needle.len() });
                from = start + needle.len();
            }
        }
    };
    look(Part::Path, request.path.as_bytes());
    for (name, value) in &request.headers {
        look(Part::Header(name), value.as_bytes());
    }
    look(Part::Body, &request.body);
    if let Some(input) = &request.signature_input {
        look(Part::SignatureInput, input.expose().as_bytes());
    }
    places
}

/// Where a text stands in another one; the text is not empty.
fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let last = text.len().checked_sub(needle.len())?;
    let mut from = 0;
    while from <= last {
        let at = from + text[from..=last].iter().position(|byte| *byte == first)?;
        if text[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}
