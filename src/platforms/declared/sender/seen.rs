//! An event while it is prepared: the texts that depend on it alone.

use std::sync::Arc;

use http::uri::PathAndQuery;
use minijinja::{Error, ErrorKind, Value};

use crate::error::{DeliveryError, Fault};
use crate::platforms::callback::{CallbackHost, callback};
use crate::platforms::declared::blobs::Writer;
use crate::platforms::declared::engine::{Scope, Template, Uses, Variable};
use crate::platforms::declared::filters::Refusal;
use crate::platforms::declared::json::{JsonObject, compact};
use crate::platforms::declared::program::{Address, Body, Form, JsonText, Op, Program, Slot};
use crate::platforms::declared::write;
use crate::platforms::rules::click_id;

/// An event while it is prepared.
pub(super) struct Seen<'a> {
    pub object: &'a Arc<JsonObject>,
    pub scope: &'a Scope<'a>,
}

impl Seen<'_> {
    /// What the event contributes to a batch.
    pub fn item(&self, form: &Form, program: &Program) -> Result<Option<String>, DeliveryError> {
        let Some(batch) = program.batch.as_ref().filter(|_| form.is_batched) else { return Ok(None) };
        let mut text = JsonText::with_capacity(256);
        for op in &batch.item {
            match op {
                Op::Raw(raw) => text.push(raw),
                Op::Open(before) => text.open(before),
                Op::Close => text.close(),
                Op::Member(before, slot) => text
                    .member(before, &slot.template, self.scope)
                    .map_err(|error| self.refused("batch.item", &error, &slot.template.uses()))?,
            }
        }
        Ok(Some(text.finish()))
    }

    /// A member with its name; empty: it is left out.
    fn member(
        &self,
        before: &str,
        slot: &Slot,
        key: &dyn Fn() -> String,
        member: &mut String,
    ) -> Result<(), DeliveryError> {
        member.clear();
        match slot.template.render_json(before, self.scope, member) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.refused(&key(), &error, &slot.template.uses())),
        }
    }

    /// What the late parts need of the event: an object with nothing else in it.
    pub fn late(&self, form: &Form) -> Option<String> {
        if form.late_paths.is_empty() {
            return None;
        }
        let mut text = String::new();
        if form.late_paths.iter().any(String::is_empty) {
            compact(self.object.raw(), &mut text);
            return Some(text);
        }
        let paths: Vec<&str> = form.late_paths.iter().map(String::as_str).collect();
        subset(&Value::from_dyn_object(self.object.clone()), &paths, &mut text);
        Some(text)
    }

    /// Renders what depends on the event alone. `route`: what has to be equal in all events of one request.
    pub fn early(
        &self,
        form: &Form,
        texts: &mut Writer,
        mut route: Option<&mut String>,
    ) -> Result<Option<CallbackHost>, DeliveryError> {
        let mut push = |text: Option<&str>| {
            texts.push(text);
            if let Some(route) = &mut route {
                route.push('\n');
                route.push_str(text.unwrap_or_default());
            }
        };
        let mut text = String::with_capacity(128);
        let render = |slot: &Slot, key: &dyn Fn() -> String, is_head: bool, text: &mut String| {
            text.clear();
            slot.template
                .render(self.scope, text)
                .map_err(|error| self.refused(&key(), &error, &slot.template.uses()))?;
            if is_head && text.chars().any(char::is_control) {
                return Err(self.controls([&slot.template]));
            }
            Ok(())
        };
        let mut host = None;
        match &form.address {
            Address::Below(slot) if slot.is_early => {
                render(slot, &|| format!("{}.url", form.key), true, &mut text)?;
                self.fits(&slot.template, &text)?;
                push(Some(&text));
            }
            Address::Below(_) => {}
            Address::Callback { field, url, hosts } => {
                let (found, path) = self.callback(field, url.as_ref(), hosts, &form.key)?;
                push(Some(&found.to_string()));
                push(Some(&path));
                host = Some(found);
            }
        }
        for (name, slot) in form.query.iter().filter(|(_, slot)| slot.is_early) {
            render(slot, &|| format!("{}.query.{name}", form.key), true, &mut text)?;
            push(Some(&text));
        }
        for (name, slot) in form.headers.iter().filter(|(_, slot)| slot.is_early) {
            render(slot, &|| format!("{}.headers.{name}", form.key), true, &mut text)?;
            push(Some(&text));
        }
        match &form.body {
            Body::None => {}
            Body::Text(slot) if slot.is_early => {
                render(slot, &|| format!("{}.body", form.key), false, &mut text)?;
                push(Some(&text));
            }
            Body::Text(_) => {}
            Body::Form(pairs) => {
                for (name, slot) in pairs.iter().filter(|(_, slot)| slot.is_early) {
                    render(slot, &|| format!("{}.form.{name}", form.key), false, &mut text)?;
                    push(Some(&text));
                }
            }
            Body::Json(ops) => {
                for op in ops {
                    if let Op::Member(before, slot) = op
                        && slot.is_early
                    {
                        self.member(before, slot, &|| format!("{}.json", form.key), &mut text)?;
                        push(Some(text.as_str()).filter(|member| !member.is_empty()));
                    }
                }
            }
        }
        Ok(host)
    }

    /// The host of a callback as it is sent, and its path.
    fn callback(
        &self,
        field: &'static str,
        url: Option<&Template>,
        hosts: &[String],
        key: &str,
    ) -> Result<(CallbackHost, String), DeliveryError> {
        let value = self.object.at(field);
        let given = click_id(value.as_ref().and_then(Value::as_str), field)?;
        let mut text = String::new();
        match url {
            None => text.push_str(given),
            Some(url) => url
                .render(self.scope, &mut text)
                .map_err(|error| self.refused(&format!("{key}.url"), &error, &url.uses()))?,
        }
        let (host, path) = callback(field, &text, hosts).map_err(DeliveryError::Invalid)?;
        let is_fixed = matches!(url, Some(Template::Fixed(_)));
        Ok((CallbackHost { is_fixed, ..host }, path.into_owned()))
    }

    /// Judges a path that holds values of the event: what HTTP cannot carry would halt the account when it is sent.
    pub fn fits(&self, template: &Template, path: &str) -> Result<(), DeliveryError> {
        if is_path(path) {
            return Ok(());
        }
        let uses = template.uses();
        let names = if uses.has(Variable::Native) { &["platform_event", "event_type"][..] } else { &[] };
        let paths: Vec<&str> =
            uses.of(Variable::Event).filter(|path| !path.is_empty()).chain(names.iter().copied()).collect();
        let is_unfit = |path: &&&str| {
            self.object.at(path).is_some_and(|value| {
                let mut text = String::from("/");
                write::text(&value, &mut text).is_ok() && !is_path(&text)
            })
        };
        // A fault of the account's own keys is left to the account.
        let one = paths.iter().find(is_unfit).or_else(|| paths.first().filter(|_| !uses.has(Variable::Account)));
        match one {
            Some(path) => {
                let detail = "holds what the path of a URL cannot hold, e.g. a space or #";
                Err(DeliveryError::Invalid(Fault::new((*path).to_owned(), detail)))
            }
            None => Ok(()),
        }
    }

    /// Whether a text of the event may hold a control character: as it is, or as what an escape stands for.
    pub fn may_hold_controls(&self) -> bool {
        // White space stands between the tokens; the control characters beyond ASCII begin with 0xc2.
        self.object.raw().iter().any(|b| matches!(b, b'\\' | 0x7f | 0xc2))
    }

    /// Refuses an event for the control characters that one of these templates makes of it.
    pub fn controls<'t>(&self, templates: impl IntoIterator<Item = &'t Template>) -> DeliveryError {
        let has = |path: &str| {
            self.object.at(path).is_some_and(|value| {
                let mut text = String::new();
                write::text(&value, &mut text).is_ok() && text.chars().any(char::is_control)
            })
        };
        let of = |uses: &Uses| {
            let native: &[&str] = if uses.has(Variable::Native) { &["platform_event"] } else { &[] };
            uses.of(Variable::Event).chain(native.iter().copied()).find(|path| has(path)).map(str::to_owned)
        };
        let field = templates.into_iter().find_map(|template| of(&template.uses())).unwrap_or_default();
        DeliveryError::Invalid(Fault::new(field, "control characters"))
    }

    /// Why an expression that fails refuses the event. The text repeats no value.
    pub fn refused(&self, key: &str, error: &Error, uses: &Uses) -> DeliveryError {
        if let Some(Refusal { field, reason }) = Refusal::of(error) {
            return DeliveryError::Invalid(Fault::new(field.clone(), *reason));
        }
        let mut paths = uses.of(Variable::Event).filter(|path| !path.is_empty());
        if error.kind() == ErrorKind::UndefinedError {
            let missing = paths.find(|path| self.object.at(path).is_none()).map(str::to_owned);
            let detail = match &missing {
                Some(path) => format!("missing: {key} needs event.{path}"),
                None => format!("{key} names a value that is undefined"),
            };
            return DeliveryError::Invalid(Fault::new(missing.unwrap_or_default(), detail));
        }
        let field = paths.next().unwrap_or_default().to_owned();
        DeliveryError::Invalid(Fault::new(field, format!("{key} cannot be made of it: {}", error.kind())))
    }
}

/// Whether HTTP can carry a path, with its query, as it is written.
fn is_path(path: &str) -> bool {
    path.starts_with('/') && !path.contains('#') && PathAndQuery::try_from(path).is_ok()
}

/// Appends an object with these dotted paths of another one, as far as they are there.
fn subset(object: &Value, paths: &[&str], out: &mut String) {
    out.push('{');
    let mut done: Vec<&str> = Vec::new();
    for path in paths {
        let first = path.split('.').next().unwrap_or_default();
        let Ok(value) = object.get_attr(first) else { continue };
        if done.contains(&first) || value.is_undefined() || value.is_none() {
            continue;
        }
        done.push(first);
        let below: Vec<&str> = paths.iter().filter_map(|path| path.strip_prefix(first)?.strip_prefix('.')).collect();
        let whole = paths.contains(&first) || value.downcast_object_ref::<JsonObject>().is_none();
        let mut member = if out.ends_with('{') { String::new() } else { String::from(",") };
        write::quoted(first, &mut member);
        member.push(':');
        if whole {
            if write::json(&value, false, &mut member).is_err() {
                continue;
            }
        } else {
            subset(&value, &below, &mut member);
        }
        out.push_str(&member);
    }
    out.push('}');
}
