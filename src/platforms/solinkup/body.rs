//! A request: the common parameters, then those of the call, as one JSON object, and the signature over what it says.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Fault;
use crate::platforms::call::CALL_ANSWER_BYTES;
use crate::platforms::solinkup::catalog::{Common, Name};
use crate::platforms::solinkup::config::Settings;
use crate::platforms::solinkup::sign::{Param, Recipe, signed_value};
use crate::platforms::{Context, Credential, Part, Request, SecretPlace};
use crate::secret::SecretString;

/// The version of the platform's protocol.
const VERSION: &str = "1";

/// A member of a call's own: its name, its JSON, and whether it is a token.
pub(super) struct Own<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) json: Cow<'a, str>,
    pub(super) secret: bool,
}

impl<'a> Own<'a> {
    pub(super) fn text(name: &'a str, value: &str) -> Self {
        Self { name: name.into(), json: Value::from(value).to_string().into(), secret: false }
    }

    pub(super) fn token(name: &'a str, value: &SecretString) -> Self {
        Self { secret: true, ..Self::text(name, value.expose()) }
    }

    pub(super) fn json(name: &'a str, value: &'a RawValue) -> Self {
        Self { name: name.into(), json: value.get().into(), secret: false }
    }
}

impl Settings {
    /// The signed request for a call with these members.
    ///
    /// # Errors
    /// No credential is in force.
    pub(super) fn request(&self, call: Name, own: &[Own<'_>], context: &Context<'_>) -> Result<Request, Fault> {
        self.request_by(&self.recipe, call, own, context)
    }

    /// The same, signed in another way than the account is configured for.
    ///
    /// # Errors
    /// No credential is in force.
    pub(super) fn request_by(
        &self,
        recipe: &Recipe,
        call: Name,
        own: &[Own<'_>],
        context: &Context<'_>,
    ) -> Result<Request, Fault> {
        let Credential { key, secret, .. } =
            context.credential.ok_or_else(|| Fault::new("secrets", "no credential is in force"))?;
        if key.is_empty() || secret.expose().is_empty() {
            return Err(Fault::new("secrets", "an empty half of a credential: nothing is signed with it"));
        }
        let is_signed = !call.is_trigger() || self.signs_trigger;
        let timestamp = context.now_ms.to_string();
        let token = context.token.map_or("", SecretString::expose);
        let mut members: Vec<(Cow<'_, str>, Cow<'_, str>, bool)> = Vec::with_capacity(6 + own.len());
        for common in self.common(call, is_signed) {
            let value = match common {
                Common::Method => call.method().unwrap_or_default(),
                Common::AppKey => key,
                Common::AccessToken => token,
                Common::Timestamp => &timestamp,
                Common::Version => VERSION,
                Common::SignMethod => recipe.algorithm.as_str(),
            };
            let json = Value::from(value).to_string();
            members.push((common.as_str().into(), json.into(), common == Common::AccessToken));
        }
        members.extend(own.iter().map(|own| (own.name.clone(), Cow::Borrowed(&*own.json), own.secret)));

        let (body, mut secrets) = written(&members);
        let mut headers = vec![("Content-Type", "application/json;charset=utf-8".to_owned())];
        let mut signature_input = None;
        if is_signed {
            let values: Vec<_> = members.iter().map(|(_, json, _)| value(json)).collect();
            let params: Vec<_> = members
                .iter()
                .zip(&values)
                .map(|((name, _, secret), value)| Param { name, value, secret: *secret })
                .collect();
            let signed = recipe.text(secret.expose(), &params);
            headers.push(("sign", recipe.algorithm.digest(secret.expose(), &signed.text)));
            secrets.extend(signed.secrets.into_iter().map(|range| SecretPlace { part: Part::SignatureInput, range }));
            signature_input = Some(SecretString::new(signed.text));
        }
        Ok(Request {
            path: call.path(key, self.open_id.as_deref().unwrap_or_default()).into(),
            headers,
            body: body.into(),
            signature_input,
            secrets,
            answer_bytes: CALL_ANSWER_BYTES,
            ..Request::default()
        })
    }

    /// The common parameters of a call, in the order of the body.
    fn common(&self, call: Name, is_signed: bool) -> impl Iterator<Item = Common> {
        let stated = self.common.iter().find(|(name, _)| *name == call).map(|(_, stated)| stated.as_slice());
        Common::ALL.into_iter().filter(move |common| match stated {
            Some(stated) => stated.contains(common),
            None => {
                call.usual_common().contains(common)
                    && (*common != Common::SignMethod || (self.sends_sign_method && is_signed))
            }
        })
    }
}

/// The members as one compact object, and the places of its tokens.
fn written(members: &[(Cow<'_, str>, Cow<'_, str>, bool)]) -> (String, Vec<SecretPlace>) {
    let (mut body, mut secrets) = (String::from("{"), Vec::new());
    for (name, json, secret) in members {
        if body.len() > 1 {
            body.push(',');
        }
        body.push_str(&Value::from(&**name).to_string());
        body.push(':');
        if *secret && json.len() > 2 {
            // Between the quotes.
            secrets.push(SecretPlace { part: Part::Body, range: body.len() + 1..body.len() + json.len() - 1 });
        }
        body.push_str(json);
    }
    body.push('}');
    (body, secrets)
}

/// A member's value as it is signed; empty where it is not.
fn value(json: &str) -> String {
    serde_json::from_str(json).ok().and_then(|value| signed_value(&value)).unwrap_or_default()
}
