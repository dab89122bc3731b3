//! 快递鸟: where a parcel is. It takes calls alone.
//!
//! `kdniao.track_query` asks for the traces of one waybill (`request_type`), `kdniao.subscribe` asks the platform to
//! push them to the address that is set in its console. A signature by MD5 over the request data and the API key goes
//! with each request.
//!
//! The platform promises nothing about repeats, and none does harm: a query reads, and a repeated subscription
//! subscribes the same waybill. After an answer that does not come the call is made again. How often a waybill may be
//! asked for and how many queries a day there are is kept for all replicas together ([`CallLimit`]): a request is
//! counted before it is sent, so that a crash in between makes fewer requests than are allowed, not more. Subscriptions
//! do not count.

mod args;
mod carriers;
mod config;
mod platform;
mod read;
mod sign;
mod states;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::error::{DeliveryError, Fault};
use crate::platforms::call::{CALL_ANSWER_BYTES, Call, CallEvent, CallLimit, CallReading, Parts, PreparedCall};
use crate::platforms::reading::HttpAnswer;
use crate::platforms::rules::invalid;
use crate::platforms::{Context, Item, Problem, Request};
use crate::secret::SecretString;
use crate::units::show_duration;
use args::Parcel;
use config::{Config, RequestType, Settings, ZONE};

pub use platform::PLATFORM;

const TRACK_QUERY: &str = "kdniao.track_query";
const SUBSCRIBE: &str = "kdniao.subscribe";
/// Every call.
const NAMES: &[&str] = &[TRACK_QUERY, SUBSCRIBE];

const CONTENT_TYPE: &str = "application/x-www-form-urlencoded;charset=utf-8";

/// Speaks for one 快递鸟 account.
struct Kdniao {
    settings: Settings,
}

impl Kdniao {
    /// Takes the account's keys.
    ///
    /// # Errors
    /// Every problem with its key, all at once.
    fn new(config: Config, map: &BTreeMap<String, String>) -> Result<Self, Vec<Problem>> {
        if let Some(name) = map.keys().next() {
            return Err(vec![(format!("map.{name}"), "the platform takes calls alone, and no conversions".into())]);
        }
        config.check().map(|settings| Self { settings })
    }

    fn kind_of(&self, call: &str) -> Option<(&'static str, RequestType)> {
        match call {
            TRACK_QUERY => Some((TRACK_QUERY, self.settings.request_type)),
            SUBSCRIBE => Some((SUBSCRIBE, RequestType::Subscription)),
            _ => None,
        }
    }
}

impl Call for Kdniao {
    fn names(&self) -> &'static [&'static str] {
        NAMES
    }

    fn alternates(&self, call: &str) -> &[String] {
        if call == TRACK_QUERY { &self.settings.alternates } else { &[] }
    }

    fn bounds(&self) -> Vec<(&'static str, String)> {
        let Settings { request_type, min_interval, daily_limit, .. } = &self.settings;
        if !request_type.is_limited() {
            return Vec::new();
        }
        vec![("min_interval", show_duration(*min_interval)), ("daily_limit", daily_limit.to_string())]
    }

    fn prepare(&self, call: &CallEvent<'_>, _now_ms: i64) -> Result<PreparedCall, DeliveryError> {
        let Some((name, kind)) = self.kind_of(call.name) else {
            return Err(invalid("call", format!("is none of {}", self.names().join(", "))));
        };
        let parcel = Parcel::of(call.args, &self.settings.carriers, kind == RequestType::DetectingQuery)?;
        call.knows_only(&args::NAMES)?;
        let limit = kind.is_limited().then(|| CallLimit {
            about: parcel.about(),
            interval: self.settings.min_interval,
            per_day: Some(self.settings.daily_limit),
            tz: ZONE,
        });
        let item = Item::new(parcel.request_data());
        Ok(PreparedCall { name, item, parts: Parts::One, destructive: false, warnings: parcel.warnings(), limit })
    }

    fn request(&self, call: &PreparedCall, _part: u64, context: &Context<'_>) -> Result<Request, Fault> {
        let (_, kind) = self.kind_of(call.name).ok_or_else(|| Fault::whole("no call of 快递鸟"))?;
        let request_data = call.item.text().ok_or_else(|| Fault::whole("no call of 快递鸟"))?;
        let credential = context.credential.ok_or_else(|| Fault::new("secrets", "no credential is in force"))?;
        let (business_id, api_key) = (&credential.key, credential.secret.expose());
        // An empty key would sign just as well, and every query would be refused.
        if business_id.is_empty() || api_key.is_empty() {
            return Err(Fault::new("secrets", "the EBusinessID or the API key is empty"));
        }
        let input = sign::input(request_data, api_key);
        let sign = sign::data_sign(self.settings.data_sign, &input);
        Ok(Request {
            path: kind.path().into(),
            headers: vec![("Content-Type", CONTENT_TYPE.to_owned())],
            body: sign::body(request_data, business_id, kind.number(), &sign).into(),
            signature_input: Some(SecretString::new(input)),
            answer_bytes: CALL_ANSWER_BYTES,
            ..Request::default()
        })
    }

    fn read(&self, _call: &PreparedCall, _part: u64, answer: &HttpAnswer<'_>) -> CallReading {
        read::read(answer)
    }
}
