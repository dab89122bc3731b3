//! An event of a declared platform, judged and made ready (SPEC section 9, steps 4 to 8).

use minijinja::Value;

use super::compose::{AttemptValues, Failure};
use super::judge::is_due;
use super::seen::Seen;
use super::{Declared, native_content};
use crate::error::DeliveryError;
use crate::event::ConversionEvent;
use crate::platforms::declared::blobs::{Reader, Writer};
use crate::platforms::declared::engine::{Content, Scope, Variable};
use crate::platforms::declared::json::{JsonObject, compact};
use crate::platforms::declared::program::{Address, Form, Program};
use crate::platforms::rules::{invalid, note_ignored};
use crate::platforms::{Item, Prepared, Problem, Request};

impl Declared {
    pub(super) fn prepared(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError> {
        let program = &*self.bound.program;
        let object = JsonObject::event(event.published.0.clone());
        let mut scope = Scope::new();
        scope.set(Variable::Event, Content::Event(&object));
        scope.set(Variable::Account, Content::Account(&self.bound.account));
        let (number, form) = self.chosen(event, &scope)?;
        let native = self
            .natives
            .of(usize::from(number), event)
            .ok_or_else(|| self.natives.unmapped(usize::from(number), event))?;
        let mut published = String::new();
        let mut scope = scope.with(Variable::Native, native_content(form, &native));
        if form.needs_published {
            compact(object.raw(), &mut published);
            scope.set(Variable::Published, Content::Text(&published));
        }
        let seen = Seen { object: &object, scope: &scope };
        seen.judge(&program.require, &program.check, form, program)?;
        let mut texts = Writer::new(number);
        let mut route = program.batch.as_ref().filter(|_| form.is_batched).map(|_| number.to_string());
        texts.push(seen.item(form, program)?.as_deref());
        texts.push(seen.late(form).as_deref());
        let callback = seen.early(form, &mut texts, route.as_mut())?;
        let route = program.batch.is_some().then(|| {
            // What is sent alone shares its route with nobody.
            route.unwrap_or_else(|| format!("{number}:{native}:{}", event.trans_id)).into()
        });
        let mut warnings = Vec::new();
        if let Some(known) = &program.params {
            note_ignored(event, known, &mut warnings);
        }
        let item = Item::new(texts.finish());
        let prepared = Prepared {
            native: native.clone(),
            item,
            warnings,
            route,
            callback: callback.map(Box::new),
            never_repeat: false,
        };
        self.try_late(form, &prepared, event, &seen)?;
        Ok(prepared)
    }

    /// The form of the request, by the native event that `[events]` has for it.
    fn chosen(&self, event: &ConversionEvent, scope: &Scope<'_>) -> Result<(u8, &Form), DeliveryError> {
        let forms = &self.bound.program.forms;
        if let [form] = &forms[..]
            && form.when.is_none()
        {
            return Ok((0, form));
        }
        let native = self.natives.common(event);
        let mut scope = scope.clone();
        if let (Some(native), Some(form)) = (&native, forms.first()) {
            scope.set(Variable::Native, native_content(form, native));
        }
        for (number, form) in (0_u8..).zip(forms) {
            let field =
                || form.when.iter().find_map(|when| when.uses().of(Variable::Event).find(|path| !path.is_empty()));
            if is_due(form.when.as_ref(), || field().unwrap_or("event_type"), &scope)? {
                return Ok((number, form));
            }
        }
        Err(invalid("event_type", "no [[request]] of the platform takes such an event"))
    }

    /// The key that keeps an event from being sent, though nothing is wrong with the event. `tried` has the forms that
    /// were tried already.
    pub(in crate::platforms::declared) fn refused_key(
        &self,
        event: &ConversionEvent,
        now_ms: i64,
        tried: &mut Vec<u8>,
    ) -> Option<Problem> {
        let prepared = self.prepared(event).ok()?;
        let (number, _) = Reader::new(prepared.item.text()?)?;
        if tried.contains(&number) {
            return None;
        }
        tried.push(number);
        let parts = AttemptValues { now_ms, token: self.any_token(), shown: false };
        let Failure { key, error, uses } = self.bound.compose(&[&prepared], &parts).err()?;
        let named = uses.of(Variable::Account).find(|path| !path.is_empty())?;
        let is_safe = |detail: &&str| !self.bound.secrets.iter().any(|secret| detail.contains(secret));
        let why = error.detail().filter(is_safe).map_or_else(|| error.kind().to_string(), str::to_owned);
        Some((named.to_owned(), format!("cannot be used: {key} is made of it, and {why}")))
    }

    fn any_token(&self) -> Value {
        match self.bound.seed {
            Some(_) => Value::from_pairs([("access", "token"), ("refresh", "token")]),
            None => Value::UNDEFINED,
        }
    }

    /// The late parts are rendered when the request is sent. Where one of them may refuse the event, that shows here.
    fn try_late(
        &self,
        form: &Form,
        prepared: &Prepared,
        event: &ConversionEvent,
        seen: &Seen<'_>,
    ) -> Result<(), DeliveryError> {
        let doubtful = form.late_refuses || form.late_paths.iter().any(|path| seen.object.there(path).is_none());
        let doubtful = doubtful && !form.late_paths.is_empty();
        if !(doubtful || form.late_headers && seen.may_hold_controls()) {
            return Ok(());
        }
        let token = Value::from_pairs([("access", "token"), ("refresh", "token")]);
        let parts = AttemptValues { now_ms: event.event_time_ms, token, shown: false };
        tried(seen, form, self.bound.compose(&[prepared], &parts))
    }
}

impl Program {
    pub(super) fn callback_hosts(&self) -> Vec<&str> {
        let hosts = self.forms.iter().filter_map(|form| match &form.address {
            Address::Callback { hosts, .. } => Some(hosts),
            Address::Below(_) => None,
        });
        hosts.flatten().map(String::as_str).collect()
    }
}

/// Judges an event by the request that was made of it for a try.
pub(super) fn tried(seen: &Seen<'_>, form: &Form, request: Result<Request, Failure>) -> Result<(), DeliveryError> {
    match request {
        Ok(request) if request.headers.iter().any(|(_, value)| value.chars().any(char::is_control)) => {
            Err(seen.controls(form.header_templates()))
        }
        Ok(request) => match &form.address {
            Address::Below(slot) => seen.fits(&slot.template, &request.path),
            Address::Callback { .. } => Ok(()),
        },
        Err(failure) => Err(seen.refused(&failure.key, &failure.error, &failure.uses)),
    }
}
