//! Reads arguments, and names the one at fault by its dotted path.

use serde_json::Value;

use crate::error::{DeliveryError, Fault};
use crate::event::{is_placeholder, safe_name};
use crate::platforms::call::CallEvent;

/// An object in the arguments. A member that is null counts as absent.
pub(super) struct Object<'a> {
    path: String,
    members: Vec<(&'a str, &'a Value)>,
}

impl<'a> Object<'a> {
    pub(super) fn of_call(call: &CallEvent<'a>) -> Self {
        let members = call.args.0.iter().map(|(name, value)| (name.as_str(), value));
        Self { path: "args".into(), members: members.filter(|(_, value)| !value.is_null()).collect() }
    }

    /// An object as it stands at a path.
    ///
    /// # Errors
    /// It is no object.
    pub(super) fn at(path: String, value: &'a Value) -> Result<Self, DeliveryError> {
        let Some(members) = value.as_object() else { return Err(invalid(path, "is not an object")) };
        let members = members.iter().map(|(name, value)| (name.as_str(), value));
        Ok(Self { path, members: members.filter(|(_, value)| !value.is_null()).collect() })
    }

    pub(super) fn field(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    pub(super) fn refuse(&self, name: &str, detail: impl Into<String>) -> DeliveryError {
        invalid(self.field(name), detail)
    }

    /// Refuses members of other names.
    pub(super) fn only(&self, names: &[&str]) -> Result<(), DeliveryError> {
        match self.members.iter().find(|(name, _)| !names.contains(name)) {
            None => Ok(()),
            Some((unknown, _)) => {
                let known = if names.is_empty() { "no arguments".into() } else { names.join(", ") };
                Err(self.refuse(safe_name(unknown), format!("is no argument of this call, which takes {known}")))
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.members.iter().find(|(member, _)| *member == name).map(|(_, value)| *value)
    }

    pub(super) fn required(&self, name: &str) -> Result<&'a Value, DeliveryError> {
        self.get(name).ok_or_else(|| self.refuse(name, "is missing"))
    }

    /// A text that is not empty.
    pub(super) fn optional_text(&self, name: &str) -> Result<Option<&'a str>, DeliveryError> {
        match self.get(name).map(|value| value.as_str()) {
            None => Ok(None),
            Some(None) => Err(self.refuse(name, "is not a text")),
            Some(Some("")) => Err(self.refuse(name, "is empty")),
            Some(text) => Ok(text),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<&'a str, DeliveryError> {
        self.optional_text(name)?.ok_or_else(|| self.refuse(name, "is missing"))
    }

    /// A text that names something on the platform.
    pub(super) fn optional_id(&self, name: &str) -> Result<Option<&'a str>, DeliveryError> {
        match self.optional_text(name)? {
            Some(id) if is_placeholder(id) => Err(self.refuse(name, "is a placeholder that was never filled in")),
            Some(id) if id.chars().any(char::is_control) => Err(self.refuse(name, "holds control characters")),
            id => Ok(id),
        }
    }

    pub(super) fn id(&self, name: &str) -> Result<&'a str, DeliveryError> {
        self.optional_id(name)?.ok_or_else(|| self.refuse(name, "is missing"))
    }

    /// One of a closed list of words.
    pub(super) fn word(&self, name: &str, words: &[&str]) -> Result<Option<&'a str>, DeliveryError> {
        match self.optional_text(name)? {
            Some(word) if !words.contains(&word) => Err(self.refuse(name, format!("is none of {}", words.join(", ")))),
            word => Ok(word),
        }
    }

    /// A whole number within bounds.
    pub(super) fn integer(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, DeliveryError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = whole(value).ok_or_else(|| self.refuse(name, "is not a whole number"))?;
        if (least..=most).contains(&number) {
            return Ok(Some(number));
        }
        let bounds = if most == i64::MAX { format!("at least {least}") } else { format!("{least} to {most}") };
        Err(self.refuse(name, format!("is {number}, and has to be {bounds}")))
    }

    /// A list, each of its members read by `read` with its path.
    pub(super) fn list<T>(
        &self,
        name: &str,
        read: impl Fn(String, &'a Value) -> Result<T, DeliveryError>,
    ) -> Result<Option<Vec<T>>, DeliveryError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let items = value.as_array().ok_or_else(|| self.refuse(name, "is not a list"))?;
        let path = self.field(name);
        items.iter().enumerate().map(|(n, item)| read(format!("{path}.{n}"), item)).collect::<Result<_, _>>().map(Some)
    }
}

/// A whole number by its value: `5.0` is 5.
pub(super) fn whole(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = value.as_number()?;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
    let by_value = || number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() <= EXACT).map(|f| f as i64);
    number.as_i64().or_else(by_value)
}

pub(super) fn invalid(field: String, detail: impl Into<String>) -> DeliveryError {
    DeliveryError::Invalid(Fault::new(field, detail))
}
