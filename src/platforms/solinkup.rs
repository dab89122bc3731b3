//! 数环通: orders of 抖店, reports of 巨量千川 and the platform's own templates, as calls. It takes no conversions.
//!
//! All calls but one read, so that a repeat does no harm and an answer that did not come is asked for again. Deleting
//! the flows of a template is the exception: the platform promises nothing about repeats, so it is never sent twice.
//!
//! What the platform's text leaves open is a setting of the account (SPEC section 6, A17 to A24 and A36): the
//! signature, the common parameters of each call, the words of refusals. `postback probe` finds the signature.

mod args;
mod body;
mod catalog;
mod config;
mod platform;
mod probe;
mod read;
mod sign;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::Arc;

use crate::error::{DeliveryError, Fault};
use crate::platforms::call::{Call, CallEvent, CallReading, Parts, PreparedCall};
use crate::platforms::probe::Probe;
use crate::platforms::reading::HttpAnswer;
use crate::platforms::tokens::{Seed, TokenSource};
use crate::platforms::{Context, Request};
use args::{CHUNK, kept};
use body::Own;
use catalog::Name;
use config::Settings;
use probe::Signatures;
use tokens::Tokens;

pub use platform::PLATFORM;

/// The calls that an event may ask for.
const NAMES: [&str; 8] = [
    Name::TemplateList.as_str(),
    Name::DeleteFlows.as_str(),
    Name::AuthInfo.as_str(),
    Name::OrderList.as_str(),
    Name::OrderDetail.as_str(),
    Name::Decrypt.as_str(),
    Name::AdvertiserReport.as_str(),
    Name::AdReport.as_str(),
];

/// Speaks for one 数环通 account.
struct Solinkup {
    settings: Arc<Settings>,
    probe: Signatures,
}

impl Solinkup {
    fn new(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        Self { probe: Signatures::new(settings.clone()), settings }
    }

    /// Refuses calls that this account cannot make.
    fn allow(&self, name: Name) -> Result<(), DeliveryError> {
        let refuse = |why: &str| Err(DeliveryError::Invalid(Fault::new("call", why)));
        if name.is_destructive() && !self.settings.allow_destructive {
            return refuse("cannot be taken back, and the account does not allow that: allow_destructive = true");
        }
        if name != Name::TemplateList && self.settings.open_id.is_none() {
            return refuse("asks for the data of an open_id, and the account configures none");
        }
        Ok(())
    }
}

impl Call for Solinkup {
    fn names(&self) -> &'static [&'static str] {
        &NAMES
    }

    fn prepare(&self, call: &CallEvent<'_>, now_ms: i64) -> Result<PreparedCall, DeliveryError> {
        let unknown = || {
            let known = NAMES.join(", ");
            DeliveryError::Invalid(Fault::new("call", format!("is no call that an event may ask for: {known}")))
        };
        let name = Name::callable(call.name).ok_or_else(unknown)?;
        self.allow(name)?;
        let (item, parts) = args::judge(&self.settings, name, call, now_ms)?;
        Ok(PreparedCall {
            name: name.as_str(),
            item,
            parts,
            destructive: name.is_destructive(),
            warnings: Vec::new(),
            limit: None,
        })
    }

    fn request(&self, call: &PreparedCall, part: u64, context: &Context<'_>) -> Result<Request, Fault> {
        let broken = || Fault::whole("no call of 数环通");
        let name = Name::callable(call.name).ok_or_else(broken)?;
        let kept = kept(&call.item).ok_or_else(broken)?;
        let own = kept.iter().map(|(member, json)| match (call.parts, *member) {
            (Parts::Pages { first, .. }, "page") => {
                Ok(Own { json: first.saturating_add(part).to_string().into(), ..Own::json(member, json) })
            }
            (Parts::Chunks(_), "cipher_infos") => {
                Ok(Own { json: chunk(json.get(), part).ok_or_else(broken)?.into(), ..Own::json(member, json) })
            }
            _ => Ok(Own::json(member, json)),
        });
        let own = own.collect::<Result<Vec<_>, Fault>>()?;
        self.settings.request(name, &own, context)
    }

    fn read(&self, call: &PreparedCall, part: u64, answer: &HttpAnswer<'_>) -> CallReading {
        match Name::callable(call.name) {
            Some(name) => read::read(&self.settings, name, call, part, answer),
            None => CallReading::Nothing,
        }
    }

    fn tokens(&self) -> Option<(Arc<dyn TokenSource>, Seed)> {
        Some((Arc::new(Tokens(self.settings.clone())), self.settings.seed.clone()))
    }

    fn probe(&self) -> Option<&dyn Probe> {
        Some(&self.probe)
    }
}

/// The items of one request, of a list as it stands in the item.
fn chunk(list: &str, part: u64) -> Option<String> {
    let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(list).ok()?;
    let from = usize::try_from(part).ok()?.checked_mul(CHUNK)?;
    let chunk: Vec<_> = items.iter().skip(from).take(CHUNK).collect();
    serde_json::to_string(&chunk).ok()
}
