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

/// Which texts the native events of a form can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Integers,
    /// Texts that are no number: other forms of the platform have numbers.
    Names,
    Texts,
}

/// Of one form.
struct Names {
    /// Canonical event to native one.
    by_event: BTreeMap<String, Cow<'static, str>>,
    kind: Kind,
}

pub(super) struct Natives {
    /// Of `[events]`.
    common: Names,
    forms: Vec<Names>,
    /// The platform has no events of its own: each is sent by its canonical name.
    open: bool,
}

fn are_integers(events: &[(String, Native)]) -> bool {
    !events.is_empty() && events.iter().all(|(_, native)| matches!(native, Native::Integer(_)))
}

impl Kind {
    /// `has_numbers`: some form of the platform has numbers.
    fn of(events: &[(String, Native)], has_numbers: bool) -> Self {
        match are_integers(events) {
            true => Self::Integers,
            false if has_numbers && !events.is_empty() => Self::Names,
            false => Self::Texts,
        }
    }

    /// Whether a native event can have this text.
    fn takes(self, native: &str) -> bool {
        let number = native.parse::<i64>();
        !native.is_empty()
            && match self {
                Self::Integers => number.is_ok_and(|number| number.to_string() == native),
                Self::Names => number.is_err(),
                Self::Texts => true,
            }
    }
}

impl Names {
    /// The platform's own, and over them those of `map` that have this kind.
    fn new(events: &[(String, Native)], kind: Kind, map: &BTreeMap<String, String>) -> Self {
        let own = events.iter().map(|(event, native)| (event.clone(), intern(&native.to_string()).into()));
        let mapped = map.iter().filter(|(_, native)| kind.takes(native));
        let mapped = mapped.map(|(event, native)| (event.clone(), native.clone().into()));
        Self { by_event: own.chain(mapped).collect(), kind }
    }
}

impl Natives {
    /// # Errors
    /// Members of `map` that no form takes.
    pub fn new(program: &Program, map: BTreeMap<String, String>) -> Result<Self, Vec<Problem>> {
        let events = &program.definition.events.0;
        let has_numbers = are_integers(events) || program.forms.iter().any(|form| are_integers(&form.events));
        let names = |events: &[(String, Native)]| Names::new(events, Kind::of(events, has_numbers), &map);
        let of_form = |own: &[(String, Native)]| names(if own.is_empty() { events } else { own });
        let natives = Self {
            common: names(events),
            forms: program.forms.iter().map(|form| of_form(&form.events)).collect(),
            open: events.is_empty() && program.forms.iter().all(|form| form.events.is_empty()),
        };
        let refused = map.iter().filter(|(_, native)| !natives.forms.iter().any(|names| names.kind.takes(native)));
        let all_numbers = natives.forms.iter().all(|names| names.kind == Kind::Integers);
        let problem = |(event, native): (&String, &String)| {
            let reason = match native.is_empty() {
                true if !all_numbers => "is empty",
                _ if all_numbers => "has to be a whole number, as all native events",
                _ => "has to be a whole number as the platform writes it, or a name that is no number",
            };
            (format!("map.{event}"), reason.to_owned())
        };
        let problems: Vec<Problem> = refused.map(problem).collect();
        if problems.is_empty() { Ok(natives) } else { Err(problems) }
    }

    fn find(&self, names: &Names, event_type: &str, platform_event: Option<&str>) -> Option<Cow<'static, str>> {
        match platform_event {
            Some(native) => names.kind.takes(native).then(|| native.to_owned().into()),
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
            let is_name = self.forms.get(form).is_some_and(|names| names.kind == Kind::Names);
            let detail = match native.is_empty() {
                true => "empty",
                false if is_name => "a number, and the native events of this request are names",
                false => "no whole number, as all native events of this request are",
            };
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
