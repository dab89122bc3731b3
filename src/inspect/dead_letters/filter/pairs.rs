//! Reads a filter from the names and texts of a query.

use super::Filter;
use super::moment::moment;
use super::words::{FilterError, reason, state};
use crate::redact::mask_text;
use crate::similar::nearest;

/// The names of a filter, as the API and JSON write them.
const NAMES: [&str; 12] = [
    "platform",
    "account",
    "reason",
    "code",
    "field",
    "trans_id",
    "since",
    "until",
    "limit",
    "state",
    "replays",
    "everything",
];

impl Filter {
    /// Reads a filter from pairs such as those of a URL's query. An empty text counts as absent, as an empty input of a
    /// form does.
    ///
    /// # Errors
    /// Names the first pair that is unknown or cannot be read.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Filter, FilterError> {
        let mut filter = Filter::default();
        for (name, text) in pairs {
            filter.set(name, text).map_err(|message| {
                let field = mask_text(name).into_owned();
                FilterError { field, message }
            })?;
        }
        Ok(filter)
    }

    fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let some = || Some(text.to_owned());
        match name {
            _ if !NAMES.contains(&name) => {
                let hint = nearest(name, NAMES).map(|close| format!("; did you mean {close}?")).unwrap_or_default();
                return Err(format!("no such filter{hint}; they are: {}", NAMES.join(", ")));
            }
            _ if text.is_empty() => {}
            "platform" => self.platform = some(),
            "account" => self.account = some(),
            "reason" => self.reason = Some(reason(text)?),
            "code" => self.code = some(),
            "field" => self.field = some(),
            "trans_id" => self.trans_id = some(),
            "since" => self.since = Some(moment(text)?),
            "until" => self.until = Some(moment(text)?),
            "limit" => self.limit = Some(text.parse().map_err(|_| "no whole number".to_owned())?),
            "state" => self.state = Some(state(text)?),
            "replays" => self.replays = Some(text.parse().map_err(|_| "no whole number".to_owned())?),
            _ => self.everything = text.parse().map_err(|_| "neither true nor false".to_owned())?,
        }
        Ok(())
    }
}
