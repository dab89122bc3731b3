//! The keys of a 360 account (contract section 2), and what is wrong with them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::platforms::qihoo360::matrix::{Entry, Line, Matrix};
use crate::platforms::{NaturalDay, Problem};
use crate::units::parse_duration;

/// The keys that only 360 accounts have. Credentials are not among them: each request brings its own.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    /// Product line of the account's events. An event may state another one.
    pub data_industry: Option<String>,
    /// 360 assigns it to third-party consultation tools. An event may state another one.
    pub data_source: Option<String>,
    /// Display advertiser id. The display line requires it.
    pub jzqs: Option<String>,
    /// What is sent as `trans_id`.
    pub trans_id_mode: TransIdMode,
    /// The window in which repeats are allowed.
    pub natural_day: NaturalDayKeys,
    /// How strictly ids are judged.
    pub validate: Validate,
    /// What becomes of members that the matrix does not allow.
    pub event_param: EventParam,
    /// What an answer with `errno 2` does.
    pub errno2: Errno2,
}

/// Values of `trans_id_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TransIdMode {
    /// As it is if it consists of 32 lower-case hex digits, else its MD5.
    #[default]
    Auto,
    Verbatim,
    /// Its MD5.
    Md5,
    /// MD5 of native code, `:` and `trans_id`.
    Md5WithEvent,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct NaturalDayKeys {
    /// Name of the zone whose midnight ends the day.
    pub tz: String,
    /// Which event or attempt decides the day.
    pub anchor: Anchor,
    /// No repeat starts in this last part of the day, e.g. `60s`.
    pub guard: String,
}

impl Default for NaturalDayKeys {
    fn default() -> Self {
        Self { tz: "Asia/Shanghai".into(), anchor: Anchor::FirstAttempt, guard: "60s".into() }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// The day of the first attempt.
    #[default]
    FirstAttempt,
    /// The day of the event.
    EventTime,
}

/// The part of `validate` that only 360 has.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Validate {
    /// What happens to a click id whose length is not the documented one.
    pub click_len: ClickLen,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClickLen {
    Off,
    /// A warning only, because the platform's own text and sample disagree.
    #[default]
    Warn,
    /// The event is `invalid`.
    Strict,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct EventParam {
    pub disallowed: Disallowed,
    /// Native codes that take `value`. They replace the platform's own list.
    pub value_events: Option<Vec<String>>,
}

/// What happens to members that the matrix does not allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disallowed {
    /// Left out, with a warning.
    #[default]
    Strip,
    /// The event is `invalid`.
    Reject,
    /// Sent all the same.
    Send,
}

/// What an answer with `errno 2` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Errno2 {
    /// The signature is wrong, so the account halts.
    #[default]
    Halt,
    /// The event is refused.
    Permanent,
}

impl Config {
    /// Checks every key and the account's `map`, and returns all problems at once.
    pub(super) fn check(self, map: &BTreeMap<String, String>) -> Result<Settings, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, reason: String| problems.push((key.to_owned(), reason));

        let line = self.data_industry.as_deref().and_then(Line::of);
        if let (Some(text), None) = (&self.data_industry, line) {
            wrong("data_industry", format!("{text:?} is none of {}", Line::ALL.map(Line::industry).join(", ")));
        }
        let jzqs = self.jzqs.filter(|id| !id.is_empty());
        if line == Some(Line::Zs) && jzqs.is_none() {
            wrong("jzqs", format!("{} needs it", Line::Zs.industry()));
        }
        if jzqs.as_deref().is_some_and(|id| id.chars().any(char::is_control)) {
            wrong("jzqs", "control characters".into());
        }
        let tz: Option<chrono_tz::Tz> = self.natural_day.tz.parse().ok();
        if tz.is_none() {
            wrong("natural_day.tz", format!("{:?} is no known zone", self.natural_day.tz));
        }
        let guard = parse_duration(&self.natural_day.guard).filter(|guard| *guard < Duration::from_secs(86_400));
        if guard.is_none() {
            let text = &self.natural_day.guard;
            wrong("natural_day.guard", format!("{text:?} is no duration under a day, e.g. \"60s\""));
        }
        let mut native = |key: &str, code: &str| {
            let entry = Matrix::get().by_code(code);
            if entry.is_none() {
                wrong(key, format!("{code:?} is no event code of 360"));
            }
            entry
        };
        let value_events = self.event_param.value_events.map(|codes| {
            codes.iter().filter_map(|code| native("event_param.value_events", code)).map(|e| e.code).collect()
        });
        let map = map.iter().filter_map(|(name, code)| Some((name.clone(), native(&format!("map.{name}"), code)?)));
        let map = map.collect();

        let (Some(tz), Some(guard), true) = (tz, guard, problems.is_empty()) else { return Err(problems) };
        Ok(Settings {
            line,
            data_source: self.data_source.filter(|s| !s.is_empty()),
            jzqs,
            trans_id_mode: self.trans_id_mode,
            natural_day: NaturalDay { tz, anchor_event_time: self.natural_day.anchor == Anchor::EventTime, guard },
            click_len: self.validate.click_len,
            disallowed: self.event_param.disallowed,
            value_events,
            errno2: self.errno2,
            map,
        })
    }
}

/// A checked [`Config`].
pub(super) struct Settings {
    pub(super) line: Option<Line>,
    pub(super) data_source: Option<String>,
    pub(super) jzqs: Option<String>,
    pub(super) trans_id_mode: TransIdMode,
    pub(super) natural_day: NaturalDay,
    pub(super) click_len: ClickLen,
    pub(super) disallowed: Disallowed,
    pub(super) value_events: Option<Vec<&'static str>>,
    pub(super) errno2: Errno2,
    pub(super) map: HashMap<String, &'static Entry>,
}
