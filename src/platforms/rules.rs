//! Validation rules that platforms share (SPEC section 9).

use crate::error::{DeliveryError, Fault};
use crate::event::{ConversionEvent, Kind, Money, is_placeholder};

/// `Invalid`, for one field.
pub fn invalid(field: &'static str, detail: impl Into<String>) -> DeliveryError {
    DeliveryError::Invalid(Fault::new(field, detail))
}

/// `UnmappedEvent`: the platform does not have the event. The field is the member of the event that named it (SPEC
/// section 12, 3).
pub fn unmapped(event: &ConversionEvent, detail: &'static str) -> DeliveryError {
    let field = if event.platform_event.is_some() { "platform_event" } else { "event_type" };
    DeliveryError::UnmappedEvent(Fault::new(field, detail))
}

/// Refuses a call. Platforms that take no calls use it.
///
/// # Errors
/// `Invalid`, field `kind`.
pub fn conversion(event: &ConversionEvent) -> Result<(), DeliveryError> {
    match event.kind {
        Kind::Conversion => Ok(()),
        Kind::Call => Err(invalid("kind", "the platform takes no calls")),
    }
}

/// Checks an id that the platform requires: it is present, not empty, no macro that nobody filled in, and has no
/// control characters.
///
/// # Errors
/// `Invalid`, with that field.
pub fn required_id<'e>(value: Option<&'e str>, field: &'static str) -> Result<&'e str, DeliveryError> {
    match value {
        None | Some("") => Err(invalid(field, "missing or empty")),
        Some(id) if is_placeholder(id) => Err(invalid(field, "a placeholder that was never filled in")),
        Some(id) => free_of_controls(id, field).map(|()| id),
    }
}

/// Checks a click id: a required id of printable ASCII. Platforms issue no others, so any other text was damaged on its
/// way.
///
/// # Errors
/// `Invalid`, with that field.
pub fn click_id<'e>(value: Option<&'e str>, field: &'static str) -> Result<&'e str, DeliveryError> {
    let id = required_id(value, field)?;
    if id.bytes().all(|b| matches!(b, 0x20..=0x7e)) {
        Ok(id)
    } else {
        Err(invalid(field, "characters outside printable ASCII"))
    }
}

/// Refuses control characters, CR and LF included.
///
/// # Errors
/// `Invalid`, with that field.
pub fn free_of_controls(text: &str, field: &'static str) -> Result<(), DeliveryError> {
    if text.chars().any(char::is_control) { Err(invalid(field, "control characters")) } else { Ok(()) }
}

/// The minor units of an amount, for platforms that take CNY alone. The worker converts no currencies.
///
/// # Errors
/// `Invalid`, with `minor` or `currency` of that member.
pub fn fen(money: &Money, minor: &'static str, currency: &'static str) -> Result<i64, DeliveryError> {
    if money.minor < 0 {
        return Err(invalid(minor, "negative"));
    }
    if money.currency != "CNY" {
        return Err(invalid(currency, "only CNY is taken"));
    }
    Ok(money.minor)
}

/// Adds a warning for each member of `platform_params` that the platform does not use. Hosts, paths and credentials
/// given there are ignored, never obeyed.
pub fn note_ignored(event: &ConversionEvent, known: &[&str], warnings: &mut Vec<String>) {
    for name in event.platform_params.names().filter(|name| !known.contains(name)) {
        let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        warnings.push(format!("platform_params.{name} is ignored"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_click_id_is_printable_ascii() {
        assert_eq!(click_id(Some("a1 ~!"), "f"), Ok("a1 ~!"));
        for bad in
            ["a1b2c3d4e5f6071８", "标识", "a\u{a0}b", "\u{feff}a", "a\u{200b}", "é", "a\tb", "a\u{7f}", "", "[x]"]
        {
            let fault = click_id(Some(bad), "f").unwrap_err();
            assert!(matches!(&fault, DeliveryError::Invalid(f) if f.field == "f" && !f.detail.is_empty()), "{bad:?}");
        }
    }

    #[test]
    fn a_required_id_is_there_and_carries_no_control_characters() {
        assert_eq!(required_id(Some(" a1 "), "f"), Ok(" a1 "));
        for bad in [None, Some(""), Some("a\r\n"), Some("a\u{7f}"), Some("a\u{85}"), Some("{{x}}")] {
            let fault = required_id(bad, "f").unwrap_err();
            assert!(matches!(&fault, DeliveryError::Invalid(f) if f.field == "f"), "{bad:?}");
        }
    }
}
