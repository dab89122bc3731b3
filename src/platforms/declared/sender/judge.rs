//! An event of a declared platform, judged by the rules of its file (SPEC section 9, steps 5, 6 and 8).

use super::seen::Seen;
use crate::error::{DeliveryError, Fault};
use crate::event::{hash_digits, is_hash, is_placeholder, is_unfilled};
use crate::platforms::declared::engine::{Condition, Scope};
use crate::platforms::declared::filters::Refusal;
use crate::platforms::declared::program::{CheckRule, Form, Program, Requirement};
use crate::platforms::rules::{UNFILLED, click_id, free_of_controls, invalid, printable, required_id};

/// Ids beside those of the click (SPEC section 12, 17 and 35).
const IDS: [&str; 2] = ["order.order_id", "user.user_id"];
/// Of a click these are no ids, and many a page has no referrer.
const PAGES: [&str; 2] = ["click.landing_url", "click.referrer"];

impl Seen<'_> {
    /// Judges by what must be there and then by any other rule, in the order of the file, and then the other ids.
    pub(super) fn judge(
        &self,
        require: &[Requirement],
        check: &[CheckRule],
        form: &Form,
        program: &Program,
    ) -> Result<(), DeliveryError> {
        for (field, when) in require {
            if !is_due(when.as_ref(), || *field, self.scope)? {
                continue;
            }
            match self.object.there(field) {
                None => return Err(invalid(field, "missing or empty")),
                Some(value) => match value.as_str() {
                    Some(text) if field.starts_with("click.") => _ = click_id(Some(text), field)?,
                    Some(text) => _ = required_id(Some(text), field)?,
                    None => {}
                },
            }
        }
        if let Err(refused) = checked(check, self.scope) {
            // A macro that nobody filled in is what is told first (SPEC section 9, 5 and 6).
            self.placeholders(form, program)?;
            return Err(refused);
        }
        self.ids(form, program)
    }

    /// The ids that the request carries: no control characters, no macro that nobody filled in, those of a click of
    /// printable ASCII, and what is called a hash is one.
    fn ids(&self, form: &Form, program: &Program) -> Result<(), DeliveryError> {
        self.each_id(form, program, |text, field| {
            free_of_controls(text, field)?;
            filled_in(text, field)?;
            match field.starts_with("click.") && !PAGES.contains(&field) {
                true => printable(text, field),
                false => hashed(text, field),
            }
        })
    }

    /// Refuses macros that nobody filled in.
    fn placeholders(&self, form: &Form, program: &Program) -> Result<(), DeliveryError> {
        self.each_id(form, program, filled_in)
    }

    fn each_id(
        &self,
        form: &Form,
        program: &Program,
        judge: impl Fn(&str, &'static str) -> Result<(), DeliveryError>,
    ) -> Result<(), DeliveryError> {
        let of_items = program.batch.iter().filter(|_| form.is_batched).flat_map(|batch| &batch.ids);
        for field in form.ids.iter().chain(of_items) {
            if let Some(value) = self.object.there(field)
                && let Some(text) = value.as_str()
            {
                judge(text, field)?;
            }
        }
        Ok(())
    }
}

/// Judges by `[check]`.
fn checked(check: &[CheckRule], scope: &Scope<'_>) -> Result<(), DeliveryError> {
    for rule in check {
        if is_due(Some(&rule.when), || rule.field, scope)? {
            return Err(invalid(rule.field, &*rule.says));
        }
    }
    Ok(())
}

/// Whether something applies to an event; `None`: always. Where that cannot be judged, the event is refused with this
/// field, or with the one that a filter refuses.
pub(super) fn is_due<'f>(
    when: Option<&Condition>,
    field: impl FnOnce() -> &'f str,
    scope: &Scope<'_>,
) -> Result<bool, DeliveryError> {
    let Some(when) = when else { return Ok(true) };
    when.holds(scope).map_err(|error| {
        let fault = match Refusal::of(&error) {
            Some(Refusal { field, reason }) => Fault::new(field.clone(), *reason),
            None => Fault::new(field().to_owned(), when.told(&error)),
        };
        DeliveryError::Invalid(fault)
    })
}

fn filled_in(text: &str, field: &'static str) -> Result<(), DeliveryError> {
    let is_one = match field {
        _ if IDS.contains(&field) => false,
        _ if PAGES.contains(&field) => is_placeholder(text),
        _ => is_unfilled(text),
    };
    if is_one { Err(invalid(field, UNFILLED)) } else { Ok(()) }
}

/// Refuses what is called a hash and is none: a raw phone number or mail address would reach the platform, which can
/// match nothing by it.
fn hashed(text: &str, field: &'static str) -> Result<(), DeliveryError> {
    match field.strip_prefix("user.hashed.").and_then(hash_digits) {
        Some(digits) if !is_hash(text, digits) => {
            Err(invalid(field, format!("no hash: it has to be {digits} hexadecimal digits")))
        }
        _ => Ok(()),
    }
}
