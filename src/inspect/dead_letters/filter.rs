//! The filter of `dead-letters`, `replay` and the HTTP API (contract section 6): one struct for all of them.

mod moment;
mod pairs;
mod words;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Reason;
use crate::inspect::dead_letters::dead_letter::DeadLetter;
use crate::inspect::dead_letters::state::State;
use crate::redact::mask_text;

pub use moment::moment;
pub use words::FilterError;

/// As the text of a platform, an account, a code or a field: the dead letter has none.
pub const ABSENT: &str = "-";

/// Selects dead letters; what is not set selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Of this platform; -: of none
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Of this account; -: of none
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// With this reason, e.g. invalid or rejected
    #[arg(long, value_parser = words::reason)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// With this code of the platform's last answer; -: with none
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// With this field of the event as the faulty one, e.g. click.qhclickid; -: with none
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Of this event
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trans_id: Option<String>,
    /// Ended at or after: RFC 3339, epoch ms, or a span before now, e.g. 2h
    #[arg(long, value_name = "TIME", value_parser = moment::moment)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "moment::deserialize")]
    pub since: Option<i64>,
    /// Ended before; as --since
    #[arg(long, value_name = "TIME", value_parser = moment::moment)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "moment::deserialize")]
    pub until: Option<i64>,
    /// At most so many, the newest ones
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// In this state
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Replayed exactly so many times before; 0: never
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replays: Option<u32>,
    /// Every dead letter: says that no condition is meant
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub everything: bool,
}

impl Filter {
    /// The filter as it may be kept and shown: without personal data in its texts.
    pub fn masked(&self) -> Filter {
        let masked = |text: &Option<String>| text.as_deref().map(|text| mask_text(text).into_owned());
        Filter {
            platform: masked(&self.platform),
            account: masked(&self.account),
            code: masked(&self.code),
            field: masked(&self.field),
            trans_id: masked(&self.trans_id),
            ..self.clone()
        }
    }

    /// Whether the headers of this dead letter fit. They do not tell its state.
    pub fn selects(&self, letter: &DeadLetter) -> bool {
        let text = |name| letter.text(name).unwrap_or_default();
        let same = |wanted: &Option<String>, name| match wanted.as_deref() {
            None => true,
            Some("" | ABSENT) if name != "trans-id" => text(name).is_empty(),
            Some(wanted) => text(name) == wanted,
        };
        let at = letter.failed_at_ms();
        same(&self.platform, "platform")
            && same(&self.account, "account")
            && same(&self.code, "last-code")
            && same(&self.field, "field")
            && same(&self.trans_id, "trans-id")
            && self.reason.is_none_or(|reason| letter.reason() == Some(reason))
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
            && self.replays.is_none_or(|replays| i64::from(replays) == letter.replays())
    }

    /// Whether anything but `limit` and `state` narrows the selection.
    pub fn has_condition(&self) -> bool {
        let Filter { platform, account, reason, code, field, trans_id, since, until, replays, .. } = self;
        let texts = [platform, account, code, field, trans_id].into_iter().any(Option::is_some);
        texts || reason.is_some() || since.is_some() || until.is_some() || replays.is_some()
    }

    /// The same filter for a command that changes something: open ones, unless it names a state.
    ///
    /// # Errors
    /// Fails if nothing narrows the selection and the filter does not say that everything is meant.
    pub fn acting(mut self) -> Result<Filter, FilterError> {
        if !self.everything && !self.has_condition() {
            let message = "no condition narrows the selection: add one (platform, account, reason, code, field, trans_id, \
                           since, until, replays), or say `everything` if every dead letter is meant";
            return Err(FilterError { field: "filter".to_owned(), message: message.to_owned() });
        }
        self.state = self.state.or(Some(State::Open));
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
