//! Speaks for one account of a declared platform.

mod answer;
mod call;
mod compose;
mod judge;
mod lacking;
mod natives;
mod prepare;
mod secrets;
mod seen;
mod token;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;

use super::engine::{AccountKeys, Content};
use super::keys::get;
use super::program::{Form, Program};
use crate::error::{DeliveryError, Fault};
use crate::event::ConversionEvent;
use crate::platforms::reading::{BatchLimits, HttpAnswer, Reading};
use crate::platforms::tokens::{Seed, TokenSource};
use crate::platforms::{Context, Prepared, Problem, Request, Sender};
use crate::secret::SecretString;
pub(super) use call::Calls;
use natives::Natives;

/// Of an account: its platform, and its keys as expressions see them.
#[derive(Clone)]
pub(super) struct Bound {
    program: Arc<Program>,
    account: Arc<AccountKeys>,
    /// What is masked wherever it stands.
    secrets: Arc<[String]>,
    /// What its `token` states; `None`: it sends without access tokens.
    seed: Option<Seed>,
    /// The share of a token's life after which it is refreshed; `None`: as usual.
    refresh_ratio: Option<f64>,
}

/// The sender of one account.
pub(super) struct Declared {
    bound: Bound,
    natives: Natives,
}

impl Bound {
    /// Takes the account's keys with their defaults.
    ///
    /// # Errors
    /// Every key that is missing.
    pub fn new(program: Arc<Program>, settings: &Map<String, serde_json::Value>) -> Result<Self, Vec<Problem>> {
        let account = Arc::new(AccountKeys::new(settings));
        let secret = |name: &str| get(settings, name).and_then(|value| value.as_str()).map(SecretString::new);
        let seed =
            Seed { access: secret("token.access"), refresh: secret("token.refresh"), code: secret("token.auth_code") };
        let seed = Some(seed).filter(|seed| program.token.is_some() && *seed != Seed::default());
        let secrets = program.secrets_of(settings).into();
        let mut bound = Self { program, account, secrets, seed, refresh_ratio: None };
        let mut problems = bound.lacking(settings, bound.seed.as_ref().is_some_and(Seed::rotates));
        match bound.stated_ratio() {
            Ok(ratio) => bound.refresh_ratio = ratio,
            Err(problem) => problems.push(problem),
        }
        if problems.is_empty() { Ok(bound) } else { Err(problems) }
    }

    /// How the account gets access tokens, and the values that it begins with; `None`: it sends without one.
    pub fn tokens(&self) -> Option<(Arc<dyn TokenSource>, Seed)> {
        let seed = self.seed.clone()?;
        Some((Arc::new(self.clone()), seed))
    }
}

impl Declared {
    /// Takes the account's `map`.
    ///
    /// # Errors
    /// Every problem with its key.
    pub fn new(bound: Bound, map: BTreeMap<String, String>) -> Result<Self, Vec<Problem>> {
        Ok(Self { natives: Natives::new(&bound.program, map)?, bound })
    }
}

/// A native event as expressions see it.
fn native_content<'a>(form: &Form, native: &'a str) -> Content<'a> {
    match native.parse() {
        Ok(number) if form.integers => Content::Int(number),
        _ => Content::Text(native),
    }
}

impl Sender for Declared {
    fn native(&self, event_type: &str, platform_event: Option<&str>) -> Option<Cow<'static, str>> {
        self.natives.any(event_type, platform_event)
    }

    fn natives(&self) -> Vec<Cow<'static, str>> {
        self.natives.all()
    }

    fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError> {
        self.prepared(event)
    }

    fn request(&self, items: &[&Prepared], context: &Context<'_>) -> Result<Request, Fault> {
        self.bound.request(items, context, false)
    }

    fn shown_request(&self, items: &[&Prepared], context: &Context<'_>) -> Result<Request, Fault> {
        self.bound.request(items, context, true)
    }

    fn read(&self, items: &[&Prepared], answer: &HttpAnswer<'_>) -> Reading {
        self.bound.reading(items.len(), answer)
    }

    fn code(&self, answer: &HttpAnswer<'_>) -> String {
        self.bound.code(answer)
    }

    fn pause(&self, answer: &HttpAnswer<'_>) -> Option<Duration> {
        self.bound.pause_of(answer)
    }

    fn batch(&self) -> BatchLimits {
        self.bound.program.batch.as_ref().map_or(BatchLimits { items: 1, bytes: usize::MAX }, |batch| batch.limits)
    }

    fn callback_hosts(&self) -> Vec<&str> {
        self.bound.program.callback_hosts()
    }

    fn tokens(&self) -> Option<(Arc<dyn TokenSource>, Seed)> {
        self.bound.tokens()
    }
}
