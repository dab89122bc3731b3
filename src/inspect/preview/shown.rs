//! A request as people see it: with its secrets masked, unless they are asked for.

use std::borrow::Cow;

use crate::platforms::{Part, Request};
use crate::redact::{SECRET, mask_text};
use crate::secret::SecretString;

/// A request that the worker would send, with exactly these bytes. Each part can be shown as it is, or with `***` where
/// the sender names a secret.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The request as the sender makes it.
    pub request: Request,
    /// The whole URL.
    pub url: String,
    pub(super) masked_url: String,
    /// The secret of the credential in force.
    pub(super) secret: Option<SecretString>,
}

impl Shown {
    /// The URL. It may contain a token in the query of the account's own `path`.
    pub fn url(&self, show_secrets: bool) -> String {
        if show_secrets {
            return self.url.clone();
        }
        match self.masked_url.split_once('?') {
            Some((place, query)) => format!("{place}?{}", mask_text(query)),
            None => self.masked_url.clone(),
        }
    }

    /// The sender's headers, in order.
    pub fn headers(&self, show_secrets: bool) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        self.request.headers.iter().map(move |(name, value)| {
            let masked = || self.request.masked_text(Part::Header(name), value, SECRET);
            (*name, if show_secrets { Cow::Borrowed(value.as_str()) } else { masked() })
        })
    }

    pub fn body(&self, show_secrets: bool) -> Cow<'_, [u8]> {
        let body = &self.request.body[..];
        if show_secrets { Cow::Borrowed(body) } else { self.request.masked(Part::Body, body, SECRET) }
    }

    /// The body as text; `None`: there is no body, or it is not text.
    pub fn text(&self, show_secrets: bool) -> Option<String> {
        String::from_utf8(self.body(show_secrets).into_owned()).ok().filter(|text| !text.is_empty())
    }

    /// The exact text that is hashed, with its secret masked unless asked for; `None`: nothing is signed.
    pub fn signature_input(&self, show_secrets: bool) -> Option<String> {
        let input = self.request.signature_input.as_ref()?.expose();
        if !show_secrets && self.request.has_secret(Part::SignatureInput) {
            return Some(self.request.masked_text(Part::SignatureInput, input, SECRET).into_owned());
        }
        let secret = self.secret.as_ref().map(SecretString::expose).filter(|secret| !secret.is_empty());
        match secret {
            Some(secret) if !show_secrets => Some(match input.strip_prefix(secret) {
                // Only the secret itself is replaced. A short secret may also occur in the body by chance.
                Some(rest) => format!("{SECRET}{rest}"),
                None => input.replace(secret, SECRET),
            }),
            _ => Some(input.to_owned()),
        }
    }
}
