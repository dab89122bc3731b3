//! 百助: installs, registrations and effective users, one form per event, unsigned.
//!
//! No form carries our `trans_id`, and the platform does not promise to drop repeats. Repeating the same product and
//! uid is harmless for installs and registrations. A repeated amount without `order_number` could count money twice, so
//! such an event is never sent again after an answer that did not come.

mod config;
mod endpoint;
mod form;
mod platform;
mod prepare;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Answer, DeliveryError, Fault};
use crate::event::ConversionEvent;
use crate::platforms::code::code;
use crate::platforms::http_status::{looks_like_object, safe_code};
use crate::platforms::reading::{HttpAnswer, Reading};
use crate::platforms::{Context, Prepared, Problem, Receipt, Request, Sender};
use config::{Config, Encoding, Settings};
use endpoint::Endpoint;
use form::Form;

pub use platform::PLATFORM;

struct Baizhu {
    settings: Settings,
}

impl Baizhu {
    /// Takes the account's keys and its `map` (canonical event to `install`, `register` or `back`).
    ///
    /// # Errors
    /// Every problem with its key, all at once.
    fn new(config: Config, map: BTreeMap<String, String>) -> Result<Self, Vec<Problem>> {
        config.check(&map).map(|settings| Self { settings })
    }

    /// What `check` warns of: endpoints without a product, whose events will be refused.
    fn warnings(&self) -> Vec<Problem> {
        let without = Endpoint::ALL.into_iter().filter(|e| self.settings.products[*e as usize].is_none());
        let why = "not configured: such events will be refused";
        without.map(|e| (format!("product.{}", e.native()), why.to_owned())).collect()
    }

    /// The platform documents no refusal, so everything but a success is tried again, up to the limit.
    fn said(&self, http: &HttpAnswer<'_>) -> Reading {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            code: Option<&'a RawValue>,
        }
        // SPEC states its rules for bodies for 2xx alone.
        if !(200..=299).contains(&http.status) {
            return Reading::Nothing;
        }
        let raw = match serde_json::from_slice::<Body<'_>>(http.body) {
            Ok(parsed) if looks_like_object(http.body) => parsed.code,
            _ => return Reading::Nothing,
        };
        let Some(raw) = raw else {
            return Reading::All(Err(DeliveryError::Retry(Answer {
                detail: "an answer without a code".into(),
                ..http.answer()
            })));
        };
        let said = code(raw);
        // SPEC 1.3: the code is a string that is compared exactly; a number does not count.
        let is_text = raw.get().starts_with('"');
        if is_text && said.as_ref().is_some_and(|said| self.settings.success_values.iter().any(|v| v == said)) {
            return Reading::All(Ok(Receipt::default()));
        }
        let code = safe_code(said.as_deref().unwrap_or(raw.get()));
        let detail = "a code that is in no table".into();
        Reading::All(Err(DeliveryError::Retry(Answer { code, detail, unclassified: true, ..http.answer() })))
    }
}

impl Sender for Baizhu {
    fn native(&self, event_type: &str, platform_event: Option<&str>) -> Option<Cow<'static, str>> {
        self.settings.endpoint(event_type, platform_event).map(|e| Cow::Borrowed(e.native()))
    }

    fn natives(&self) -> Vec<Cow<'static, str>> {
        Endpoint::ALL.map(|endpoint| endpoint.native().into()).to_vec()
    }

    fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError> {
        self.settings.prepare(event)
    }

    fn request(&self, items: &[&Prepared], _context: &Context<'_>) -> Result<Request, Fault> {
        let [Prepared { item, native, .. }] = items else {
            return Err(Fault::whole("百助 takes one event per request"));
        };
        let form = Form::of(item).ok_or_else(|| Fault::whole("no form of 百助"))?;
        let endpoint = Endpoint::of(native).ok_or_else(|| Fault::whole("no event of 百助"))?;
        let (content_type, body) = match self.settings.encoding {
            Encoding::Multipart => form.multipart(),
            Encoding::Urlencoded => form.urlencoded(),
        };
        Ok(Request {
            path: endpoint.path().into(),
            headers: vec![("Content-Type", content_type)],
            body,
            ..Request::default()
        })
    }

    fn read(&self, _items: &[&Prepared], answer: &HttpAnswer<'_>) -> Reading {
        self.said(answer)
    }
}
