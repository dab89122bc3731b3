//! 360 点睛: web conversions of its four product lines.
//!
//! One conversion per request, signed by MD5 over secret and body. Every event carries its `trans_id`. The platform
//! drops repeats of a `trans_id` and allows them within a natural day, so the worker retries after an answer that does
//! not come. `errno 0` proves acceptance, not attribution: the platform silently discards an id of the wrong kind.

mod config;
mod matrix;
mod platform;
mod prepare;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Answer, Class, DeliveryError, Fault};
use crate::event::ConversionEvent;
use crate::platforms::code::code;
use crate::platforms::http_status::{looks_like_object, safe_code};
use crate::platforms::reading::{HttpAnswer, Reading};
use crate::platforms::signing::md5_hex;
use crate::platforms::{Context, NaturalDay, Prepared, Problem, Receipt, Request, Sender};
use crate::secret::SecretString;
use config::{Config, Errno2, Settings};

pub use platform::PLATFORM;

/// The class of each `errno` that 360 documents ("落地页 API" of its console). 0 is success. Any other value is `retry`,
/// counted as unclassified.
const ERRNO: [(&str, Class, &str); 3] = [
    ("1", Class::Halt, "App-Key is not accepted"),
    // With `errno2 = "permanent"` it refuses the event, not the account.
    ("2", Class::Halt, "App-Sign is not accepted"),
    ("3", Class::Permanent, "the body is not accepted"),
];

const PATH: &str = "/uploadWebConvert";
const CONTENT_TYPE: &str = "application/json;charset=utf-8";

struct Qihoo360 {
    settings: Settings,
}

impl Qihoo360 {
    /// Takes the account's keys and its `map` (canonical event to native code).
    ///
    /// # Errors
    /// Every problem with its key, all at once.
    fn new(config: Config, map: BTreeMap<String, String>) -> Result<Self, Vec<Problem>> {
        config.check(&map).map(|settings| Self { settings })
    }

    /// What `check` warns of: settings that are no error, but will cause events to be refused.
    fn warnings(&self) -> Vec<Problem> {
        let Some(line) = self.settings.line else { return Vec::new() };
        let off_line = self.settings.map.iter().filter(|(_, entry)| entry.on(line).is_none());
        let mut warnings: Vec<Problem> = off_line
            .map(|(name, entry)| (format!("map.{name}"), format!("{} does not know {}", line.industry(), entry.code)))
            .collect();
        warnings.sort();
        warnings
    }

    fn said(&self, http: &HttpAnswer<'_>) -> Reading {
        let Some(errno) = errno(http.body) else { return Reading::Nothing };
        if errno == "0" {
            return Reading::All(Ok(Receipt::default()));
        }
        let code = safe_code(&errno);
        let Some((_, class, detail)) = ERRNO.iter().find(|(number, ..)| *number == errno) else {
            let detail = "an errno that is in no table".into();
            return Reading::All(Err(DeliveryError::Retry(Answer {
                code,
                detail,
                unclassified: true,
                ..http.answer()
            })));
        };
        let refused = Answer { code, detail: (*detail).into(), ..http.answer() };
        let spares_account = errno == "2" && self.settings.errno2 == Errno2::Permanent;
        Reading::All(Err(match class {
            Class::Halt if !spares_account => DeliveryError::Halt(refused),
            _ => DeliveryError::Permanent(refused),
        }))
    }
}

/// `errno` as text. The platform writes a number; a string is accepted too.
fn errno(body: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        errno: Option<&'a RawValue>,
    }
    let body = serde_json::from_slice::<Body<'_>>(body).ok().filter(|_| looks_like_object(body))?;
    code(body.errno?)
}

impl Sender for Qihoo360 {
    fn native(&self, event_type: &str, platform_event: Option<&str>) -> Option<Cow<'static, str>> {
        self.settings.entry(event_type, platform_event).map(|entry| Cow::Borrowed(entry.code))
    }

    fn natives(&self) -> Vec<Cow<'static, str>> {
        matrix::Matrix::get().codes().into_iter().map(Cow::Borrowed).collect()
    }

    fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError> {
        self.settings.prepare(event)
    }

    fn request(&self, items: &[&Prepared], context: &Context<'_>) -> Result<Request, Fault> {
        let [Prepared { item, .. }] = items else {
            return Err(Fault::whole("360 takes one conversion per request"));
        };
        let credential = context.credential.ok_or_else(|| Fault::new("secrets", "no credential is in force"))?;
        let (key, secret) = (&credential.key, credential.secret.expose());
        // An empty secret would sign without an error, and the platform would refuse every conversion.
        if secret.is_empty() {
            return Err(Fault::new("secrets", "the secret is empty"));
        }
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Fault::new("secrets", "the key is empty or no header value"));
        }
        let rest = item.bytes();
        let mut input = Vec::with_capacity(secret.len() + rest.len() + 48);
        input.extend_from_slice(secret.as_bytes());
        input.extend_from_slice(b"{\"data\":{\"request_time\":");
        // Writing into a vector cannot fail.
        let _ = write!(input, "{}", context.now_ms / 1000);
        input.extend_from_slice(rest);
        // Exactly the hashed bytes are sent.
        let body = Bytes::copy_from_slice(&input[secret.len()..]);
        let headers =
            vec![("App-Key", key.clone()), ("App-Sign", md5_hex(&input)), ("Content-Type", CONTENT_TYPE.to_owned())];
        let signature_input = String::from_utf8(input).ok().map(SecretString::new);
        Ok(Request { path: PATH.into(), headers, body, signature_input, ..Request::default() })
    }

    fn read(&self, _items: &[&Prepared], answer: &HttpAnswer<'_>) -> Reading {
        self.said(answer)
    }

    fn natural_day(&self) -> Option<NaturalDay> {
        Some(self.settings.natural_day)
    }
}
