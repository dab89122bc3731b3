//! The native events of an account: its `map` over those of the platform's file, form by form.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::error::{DeliveryError, Fault};
use crate::event::ConversionEvent;
use crate::platforms::Problem;
use crate::platforms::declared::definition::Native;
use crate::platforms::declared::interner::intern;
use crate::platforms::declared::program::Program;
use crate::similar::nearest;

/// Of one form.
struct Names {
    /// Canonical event to native one.
    by_event: BTreeMap<String, Cow<'static, str>>,
    integers: bool,
}

pub(super) struct Natives {
    /// Of `[events]`.
    common: Names,
    forms: Vec<Names>,
    /// The platform has no events of its own: each is sent by its canonical name.
    open: bool,
}

impl Names {
    fn new(events: &[(String, Native)], map: &BTreeMap<String, String>) -> Self {
        let own = events.iter().map(|(event, native)| (event.clone(), intern(&native.to_string()).into()));
        let mapped = map.iter().map(|(event, native)| (event.clone(), native.clone().into()));
        let integers = !events.is_empty() && events.iter().all(|(_, native)| matches!(native, Native::Integer(_)));
        Self { by_event: own.chain(mapped).collect(), integers }
    }

    /// Whether a native event can have this text.
    fn takes(&self, native: &str) -> bool {
        !native.is_empty() && (!self.integers || native.parse::<i64>().is_ok_and(|number| number.to_string() == native))
    }
}

impl Natives {
    /// # Errors
    /// Members of `map` that no form takes.
    pub fn new(program: &Program, map: BTreeMap<String, String>) -> Result<Self, Vec<Problem>> {
        let events = &program.definition.events.0;
        let of_form = |own: &Vec<(String, Native)>| Names::new(if own.is_empty() { events } else { own }, &map);
        let natives = Self {
            common: Names::new(events, &map),
            forms: program.forms.iter().map(|form| of_form(&form.events)).collect(),
            open: events.is_empty() && program.forms.iter().all(|form| form.events.is_empty()),
        };
        let refused = map.iter().filter(|(_, native)| !natives.forms.iter().any(|names| names.takes(native)));
        let problem = |(event, _): (&String, &String)| {
            (format!("map.{event}"), "has to be a whole number, as all native events".to_owned())
        };
        let problems: Vec<Problem> = refused.map(problem).collect();
        if problems.is_empty() { Ok(natives) } else { Err(problems) }
    }

    fn find(&self, names: &Names, event_type: &str, platform_event: Option<&str>) -> Option<Cow<'static, str>> {
        match platform_event {
            Some(native) => names.takes(native).then(|| native.to_owned().into()),
            None => names.by_event.get(event_type).cloned().or_else(|| {
                self.open.then(|| event_type.to_owned().into()).filter(|name: &Cow<'_, str>| !name.is_empty())
            }),
        }
    }

    /// That of an event in this form.
    pub fn of(&self, form: usize, event: &ConversionEvent) -> Option<Cow<'static, str>> {
        self.find(self.forms.get(form)?, &event.event_type, event.platform_event.as_deref())
    }

    /// That of `[events]`, by which a form is chosen.
    pub fn common(&self, event: &ConversionEvent) -> Option<Cow<'static, str>> {
        self.find(&self.common, &event.event_type, event.platform_event.as_deref())
    }

    /// That of whichever form has one.
    pub fn any(&self, event_type: &str, platform_event: Option<&str>) -> Option<Cow<'static, str>> {
        let mut names = std::iter::once(&self.common).chain(&self.forms);
        names.find_map(|names| self.find(names, event_type, platform_event))
    }

    pub fn all(&self) -> Vec<Cow<'static, str>> {
        let names = std::iter::once(&self.common).chain(&self.forms);
        let mut all: Vec<_> = names.flat_map(|names| names.by_event.values().cloned()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Why an event has none: the nearest names that it could have.
    pub fn unmapped(&self, form: usize, event: &ConversionEvent) -> DeliveryError {
        if let Some(native) = &event.platform_event {
            let detail = if native.is_empty() { "empty" } else { "no whole number, as all native events are" };
            return DeliveryError::UnmappedEvent(Fault::new("platform_event", detail));
        }
        let known: Vec<&str> =
            self.forms.get(form).into_iter().flat_map(|names| names.by_event.keys().map(String::as_str)).collect();
        let detail = match nearest(&event.event_type, known.iter().copied()) {
            Some(near) => format!("the platform has no native event for it; the nearest known name is {near}"),
            None => format!("the platform has no native event for it; it has {}", known.join(", ")),
        };
        DeliveryError::UnmappedEvent(Fault::new("event_type", detail))
    }
}
