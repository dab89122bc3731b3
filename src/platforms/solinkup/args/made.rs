//! Arguments on their way into an item and out of it.

use serde_json::value::{RawValue, to_raw_value};

use crate::platforms::Item;

/// The arguments of a call that passed its rules, in the order of the platform's tables.
#[derive(Default)]
pub(super) struct Made(Vec<(&'static str, Box<RawValue>)>);

impl Made {
    pub(super) fn push(&mut self, name: &'static str, value: &impl serde::Serialize) {
        // Numbers, texts and lists of them have nothing that could fail.
        if let Ok(json) = to_raw_value(value) {
            self.0.push((name, json));
        }
    }

    pub(super) fn push_some(&mut self, name: &'static str, value: Option<impl serde::Serialize>) {
        if let Some(value) = value {
            self.push(name, &value);
        }
    }

    pub(super) fn into_item(self) -> Item {
        Item::new(serde_json::to_vec(&self.0).unwrap_or_default())
    }
}

/// The arguments as an item carries them: names and JSON.
pub(in crate::platforms::solinkup) type Kept<'a> = Vec<(&'a str, &'a RawValue)>;

/// The arguments that stand in an item.
pub(in crate::platforms::solinkup) fn kept(item: &Item) -> Option<Kept<'_>> {
    serde_json::from_slice(item.bytes()).ok()
}
