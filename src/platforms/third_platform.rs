//! A platform that only tests have. It needs nothing but this file, its calls and its line in the list. It differs from
//! the real platforms wherever a platform may differ: the names of a credential's halves, secrets in URL, header, body
//! and signed text, items that are not text, callbacks, and answers beyond the usual bound.

pub(crate) mod calls;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::read::Rest;
use crate::error::{Answer, DeliveryError, Fault};
use crate::event::ConversionEvent;
use crate::platforms::call::Call;
use crate::platforms::callback::callback;
use crate::platforms::reading::{HttpAnswer, Reading};
use crate::platforms::rules::{required_id, unmapped};
use crate::platforms::signing::md5_hex;
use crate::platforms::third_platform::calls::Caller;
use crate::platforms::{
    Configured, Context, Credential, CredentialShape, Item, Part, Platform, Prepared, Problem, Receipt, Request,
    SecretPlace, Sender, keys,
};
use crate::secret::SecretString;

pub const PLATFORM: &dyn Platform = &Definition;

const ANSWER_BYTES: usize = 256 * 1024;
/// No UTF-8 text begins with this byte.
const MARK: u8 = 0xff;
const CALLBACK_HOST: &str = "callback.third.example";

struct Definition;

/// The keys that only its accounts have.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Config {
    site: Option<String>,
    channel: Channel,
    validate: Validate,
    /// It makes calls as well.
    calls: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Channel {
    code: u8,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Validate {
    strict: bool,
}

impl Platform for Definition {
    fn name(&self) -> &'static str {
        "third"
    }

    fn title(&self) -> &'static str {
        "Third"
    }

    fn base_url(&self) -> &'static str {
        "https://third.example"
    }

    fn credential(&self) -> Option<CredentialShape> {
        let check = |id: &str| if id.bytes().all(|b| b.is_ascii_digit()) { Ok(()) } else { Err("has to be digits") };
        let (public, secret, title) = ("app_id", "app_secret", "app id");
        Some(CredentialShape { public, secret, title, check, advised_accounts: Some(1) })
    }

    fn keys(&self) -> Vec<String> {
        keys::names::<Config>()
    }

    fn configure(&self, own: &mut Rest<'_>, map: BTreeMap<String, String>) -> Result<Configured, Vec<Problem>> {
        let config: Config = own.read();
        let settings = keys::agreed(&config);
        let Some(site) = config.site else { return Err(vec![("site".into(), "is missing".into())]) };
        let warnings = if config.channel.code == 0 { vec![("channel.code".into(), "is 0".into())] } else { Vec::new() };
        let sender = Arc::new(Third { site, strict: config.validate.strict, map });
        let call = config.calls.then(|| Arc::new(Caller) as Arc<dyn Call>);
        Ok(Configured { sender: Some(sender), call, settings, warnings, ..Configured::default() })
    }

    fn shared_as<'a>(&self, account: &'a str, credentials: &'a [Credential]) -> &'a str {
        credentials.last().map_or(account, |credential| &credential.key)
    }
}

struct Third {
    site: String,
    strict: bool,
    map: BTreeMap<String, String>,
}

impl Sender for Third {
    fn native(&self, event_type: &str, platform_event: Option<&str>) -> Option<Cow<'static, str>> {
        platform_event.or(self.map.get(event_type).map(String::as_str)).map(|native| native.to_owned().into())
    }

    fn natives(&self) -> Vec<Cow<'static, str>> {
        self.map.values().map(|native| native.clone().into()).collect()
    }

    fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError> {
        let native = self.native(&event.event_type, event.platform_event.as_deref());
        let native =
            native.ok_or_else(|| unmapped(event, "not in the account's map", self.map.keys().map(String::as_str)))?;
        if self.strict {
            required_id(event.user.user_id.as_deref(), "user.user_id")?;
        }
        let url = event.click.get("third_callback");
        let found = url.map(|url| callback("click.third_callback", url, &[CALLBACK_HOST]));
        let (callback, path) = found.transpose().map_err(DeliveryError::Invalid)?.unzip();
        let path = path.map(|path| format!(" {path}")).unwrap_or_default();
        let item = Item::new([&[MARK], event.trans_id.as_bytes(), path.as_bytes()].concat());
        Ok(Prepared {
            native,
            item,
            warnings: Vec::new(),
            route: None,
            callback: callback.map(Box::new),
            never_repeat: false,
        })
    }

    fn request(&self, items: &[&Prepared], context: &Context<'_>) -> Result<Request, Fault> {
        let id = match items {
            [Prepared { item, .. }] => item.bytes().strip_prefix(&[MARK]).and_then(|id| std::str::from_utf8(id).ok()),
            _ => None,
        };
        let id = id.ok_or_else(|| Fault::whole("one item per request"))?;
        if let Some((id, path)) = id.split_once(' ') {
            let (path, body) = (path.to_owned().into(), id.to_owned().into());
            return Ok(Request { path, body, ..Request::default() });
        }
        let credential = context.credential.ok_or_else(|| Fault::new("secrets", "no credential is in force"))?;
        let secret = credential.secret.expose();
        let after = |text: &str| -> Range<usize> { text.len()..text.len() + secret.len() };
        let (path, body) = (format!("/v1/{}?id={}&token=", self.site, credential.key), format!("{id}&key="));
        let places = [
            (Part::Path, after(&path)),
            (Part::Header("Authorization"), after("Bearer ")),
            (Part::Body, after(&body)),
            (Part::SignatureInput, after(id)),
        ];
        let input = format!("{id}{secret}{id}");
        Ok(Request {
            method: "PUT",
            path: format!("{path}{secret}").into(),
            headers: vec![("Authorization", format!("Bearer {secret}")), ("Sign", md5_hex(&input))],
            body: format!("{body}{secret}").into(),
            signature_input: Some(SecretString::new(input)),
            secrets: places.map(|(part, range)| SecretPlace { part, range }).into(),
            answer_bytes: ANSWER_BYTES,
        })
    }

    fn callback_hosts(&self) -> Vec<&str> {
        vec![CALLBACK_HOST]
    }

    fn read(&self, _: &[&Prepared], answer: &HttpAnswer<'_>) -> Reading {
        match answer.body {
            [b'o', b'k', ..] => Reading::All(Ok(Receipt { platform_id: Some(format!("{}-7", self.site)) })),
            _ if answer.status == 400 => {
                Reading::All(Err(DeliveryError::Permanent(Answer { code: "E7".into(), ..answer.answer() })))
            }
            _ => Reading::Nothing,
        }
    }
}
