//! Validation rules that platforms share (SPEC section 9).

use crate::error::{DeliveryError, Fault};
use crate::event::{ConversionEvent, Money, is_placeholder, is_unfilled};

/// What is wrong with an id that still is a macro.
pub const UNFILLED: &str = "a placeholder that was never filled in";

/// `Invalid`, for one field.
pub fn invalid(field: &'static str, detail: impl Into<String>) -> DeliveryError {
    DeliveryError::Invalid(Fault::new(field, detail))
}

/// `UnmappedEvent`: the platform does not have the event. The field is the member of the event that named it (SPEC
/// section 12, 3), and the detail names the known names that are most like it. `known` are those that this member can
/// hold.
pub fn unmapped<'k>(event: &ConversionEvent, why: &str, known: impl IntoIterator<Item = &'k str>) -> DeliveryError {
    let (field, given) = match &event.platform_event {
        Some(native) => ("platform_event", native.as_str()),
        None => ("event_type", event.event_type.as_str()),
    };
    let near = nearest(given, known);
    let detail = if near.is_empty() { why.to_owned() } else { format!("{why}; most like it: {}", near.join(", ")) };
    DeliveryError::UnmappedEvent(Fault::new(field, detail))
}

/// At most three of the known names, the most similar one first.
fn nearest<'k>(given: &str, known: impl IntoIterator<Item = &'k str>) -> Vec<&'k str> {
    // An event may give any text; a long one is like none of the names.
    let given: String = given.chars().take(64).collect();
    let like = |name: &str| strsim::normalized_damerau_levenshtein(&given, name);
    let mut names: Vec<(f64, &str)> = known.into_iter().map(|name| (like(name), name)).collect();
    names.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| x.cmp(y)));
    names.dedup();
    names.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Checks an id that the platform requires: it is present, not empty, no macro that nobody filled in, and has no
/// control characters.
///
/// # Errors
/// `Invalid`, with that field.
pub fn required_id<'e>(value: Option<&'e str>, field: &'static str) -> Result<&'e str, DeliveryError> {
    match value {
        None => Err(invalid(field, "missing or empty")),
        Some(id) if id.trim().is_empty() => Err(invalid(field, "missing or empty")),
        Some(id) if is_placeholder(id) => Err(invalid(field, UNFILLED)),
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
    if is_unfilled(id) {
        return Err(invalid(field, UNFILLED));
    }
    printable(id, field).map(|()| id)
}

/// Refuses characters outside printable ASCII.
///
/// # Errors
/// `Invalid`, with that field.
pub fn printable(text: &str, field: &'static str) -> Result<(), DeliveryError> {
    if text.bytes().all(|b| matches!(b, 0x20..=0x7e)) {
        Ok(())
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
    fn an_unmapped_event_names_the_member_and_the_three_names_most_like_it() {
        let event = |platform_event: Option<&str>| {
            let value = serde_json::json!({
                "trans_id": "t-1", "platform": "p", "account": "a", "event_type": "form_submitted",
                "platform_event": platform_event, "event_time_ms": 1_736_899_200_123_i64,
            });
            crate::event::decode(Some(value.to_string().as_bytes())).unwrap()
        };
        let known = ["register", "form_submit", "order_submit", "pay", "pay"];
        let DeliveryError::UnmappedEvent(fault) = unmapped(&event(None), "no such event", known) else { panic!() };
        assert_eq!(fault.field, "event_type");
        assert_eq!(fault.detail, "no such event; most like it: form_submit, order_submit, register");
        let DeliveryError::UnmappedEvent(fault) = unmapped(&event(Some("PAYS")), "no such code", ["PAY"]) else {
            panic!()
        };
        assert_eq!((&*fault.field, &*fault.detail), ("platform_event", "no such code; most like it: PAY"));
        let DeliveryError::UnmappedEvent(fault) = unmapped(&event(None), "none", []) else { panic!() };
        assert_eq!(fault.detail, "none");
    }

    #[test]
    fn a_click_id_is_printable_ascii() {
        assert_eq!(click_id(Some("a1 ~!"), "f"), Ok("a1 ~!"));
        for bad in [
            "a1b2c3d4e5f6071８",
            "标识",
            "a\u{a0}b",
            "\u{feff}a",
            "a\u{200b}",
            "é",
            "a\tb",
            "a\u{7f}",
            "",
            "[x]",
            "$x$",
        ] {
            let fault = click_id(Some(bad), "f").unwrap_err();
            assert!(matches!(&fault, DeliveryError::Invalid(f) if f.field == "f" && !f.detail.is_empty()), "{bad:?}");
        }
    }

    #[test]
    fn a_required_id_is_there_and_carries_no_control_characters() {
        assert_eq!(required_id(Some(" a1 "), "f"), Ok(" a1 "));
        for bad in [None, Some(""), Some(" "), Some("a\r\n"), Some("a\u{7f}"), Some("a\u{85}"), Some("{{x}}")] {
            let fault = required_id(bad, "f").unwrap_err();
            assert!(matches!(&fault, DeliveryError::Invalid(f) if f.field == "f"), "{bad:?}");
        }
    }
}
