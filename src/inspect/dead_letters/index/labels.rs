//! The texts that many dead letters share, kept once: reason, platform, account, code, field and event.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Reason;
use crate::inspect::dead_letters::dead_letter::DeadLetter;
use crate::inspect::dead_letters::filter::{ABSENT, Filter};

/// A text by its number. [`NO_TEXT`] stands for a header that is absent.
pub(super) type TextId = u32;
const NO_TEXT: TextId = u32::MAX;

/// The labels of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Labels {
    pub(super) reason: Option<Reason>,
    pub(super) platform: TextId,
    pub(super) account: TextId,
    pub(super) code: TextId,
    pub(super) field: TextId,
    pub(super) event: TextId,
}

/// Every set of labels that was seen, by its number.
#[derive(Default)]
pub(super) struct LabelTable {
    text_ids: HashMap<Arc<str>, TextId>,
    texts: Vec<Arc<str>>,
    ids: HashMap<Labels, u32>,
    sets: Vec<Labels>,
}

impl LabelTable {
    /// The number of the labels of this dead letter.
    pub(super) fn id(&mut self, letter: &DeadLetter) -> u32 {
        let mut text = |name| letter.text(name).map_or(NO_TEXT, |text| self.text_id(text));
        let labels = Labels {
            platform: text("platform"),
            account: text("account"),
            code: text("last-code"),
            field: text("field"),
            event: text("event"),
            reason: letter.reason(),
        };
        if let Some(id) = self.ids.get(&labels) {
            return *id;
        }
        let id = self.sets.len() as u32;
        self.sets.push(labels);
        self.ids.insert(labels, id);
        id
    }

    fn text_id(&mut self, text: &str) -> TextId {
        if let Some(id) = self.text_ids.get(text) {
            return *id;
        }
        let (id, text): (u32, Arc<str>) = (self.texts.len() as u32, text.into());
        self.texts.push(text.clone());
        self.text_ids.insert(text, id);
        id
    }

    /// The labels with this number.
    pub(super) fn get(&self, id: u32) -> &Labels {
        &self.sets[id as usize]
    }

    /// How many sets of labels there are.
    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    /// The text with this number; `None`: the header is absent.
    pub(super) fn text(&self, id: TextId) -> Option<&str> {
        self.texts.get(id as usize).map(|text| &**text)
    }

    /// Says of each set of labels whether a filter selects it.
    pub(super) fn selected(&self, filter: &Filter) -> Vec<bool> {
        // A text that was never seen has no number, and selects nothing.
        let wanted = |text: &Option<String>| match text.as_deref()? {
            "" | ABSENT => Some(Some(NO_TEXT)),
            text => Some(self.text_ids.get(text).copied()),
        };
        let (platform, account) = (wanted(&filter.platform), wanted(&filter.account));
        let (code, field) = (wanted(&filter.code), wanted(&filter.field));
        // An empty header counts as none.
        let empty = self.text_ids.get("").copied();
        let present = |id: TextId| if Some(id) == empty { NO_TEXT } else { id };
        let same = |wanted: Option<Option<TextId>>, id| wanted.is_none_or(|wanted| wanted == Some(present(id)));
        let fits = |labels: &Labels| {
            same(platform, labels.platform)
                && same(account, labels.account)
                && same(code, labels.code)
                && same(field, labels.field)
                && filter.reason.is_none_or(|reason| labels.reason == Some(reason))
        };
        self.sets.iter().map(fits).collect()
    }

    /// The bytes that the table holds, about.
    pub(super) fn bytes(&self) -> usize {
        let texts: usize = self.texts.iter().map(|text| text.len() + 80).sum();
        texts + self.sets.len() * 2 * (size_of::<Labels>() + 8)
    }
}
