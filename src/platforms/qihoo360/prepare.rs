//! The rules of 360 (SPEC section 9, steps 4 to 8), and the part of the body that does not depend on the time of
//! sending.
//!
//! The steps follow SPEC's order, and the fields of a step follow the order of the body, so that every implementation
//! reports the same first failure.

use std::fmt::Write;

use crate::error::DeliveryError;
use crate::event::ConversionEvent;
use crate::platforms::qihoo360::config::{ClickLen, Disallowed, Settings, TransIdMode};
use crate::platforms::qihoo360::matrix::{Entry, Line, Matrix, Params};
use crate::platforms::rules::{click_id, fen, free_of_controls, invalid, note_ignored, unmapped};
use crate::platforms::signing::md5_hex;
use crate::platforms::{Item, Prepared};

const INDUSTRY: &str = "platform_params.data_industry";
const SOURCE: &str = "platform_params.data_source";

impl Settings {
    /// The table row of the code that the event asks for.
    pub(super) fn entry(&self, event_type: &str, platform_event: Option<&str>) -> Option<&'static Entry> {
        match platform_event {
            Some(code) => Matrix::get().by_code(code),
            None => self.map.get(event_type).copied().or_else(|| Matrix::get().by_canonical(event_type)),
        }
    }

    /// The names that the line takes where this event gives one: codes, or canonical names.
    fn known<'s>(&'s self, event: &ConversionEvent, line: Line) -> Vec<&'s str> {
        let entries = Matrix::get().entries().filter(|entry| entry.on(line).is_some());
        if event.platform_event.is_some() {
            return entries.map(|entry| entry.code).collect();
        }
        let own = self.map.iter().filter(|(_, entry)| entry.on(line).is_some()).map(|(name, _)| name.as_str());
        entries.map(|entry| entry.canonical).chain(own).collect()
    }

    /// The members that the line takes with that code, by the table and the account's `value_events`.
    fn allowed(&self, entry: &Entry, line: Line) -> Option<Params> {
        let allowed = entry.on(line)?;
        Some(match &self.value_events {
            Some(codes) if line != Line::Web => allowed.with(Params::VALUE, codes.contains(&entry.code)),
            _ => allowed,
        })
    }

    pub(super) fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError> {
        let mut warnings = Vec::new();

        let line = self.line(event)?;
        let entry = self
            .entry(&event.event_type, event.platform_event.as_deref())
            .ok_or_else(|| unmapped(event, "no event code of 360", self.known(event, line)))?;
        let allowed = self
            .allowed(entry, line)
            .ok_or_else(|| unmapped(event, "the product line does not know the event code", self.known(event, line)))?;

        let (click_name, click) = self.click(event, line, &mut warnings)?;

        let source = self.source(event)?;
        let jzqs = match (line, &self.jzqs) {
            (Line::Zs, None) => return Err(invalid(INDUSTRY, "the account has no jzqs, which display needs")),
            (Line::Zs, Some(id)) => Some(id),
            _ => None,
        };
        let event_time = seconds(event.event_time_ms);
        if i32::try_from(event_time).is_err() {
            return Err(invalid("event_time_ms", "beyond 32 bits of seconds"));
        }

        let mut body = String::with_capacity(320);
        body.push_str(",\"data_industry\":");
        text(&mut body, line.industry());
        if let Some(source) = source {
            body.push_str(",\"data_source\":");
            text(&mut body, source);
        }
        let _ = write!(body, ",\"data_detail\":{{\"{click_name}\":");
        text(&mut body, click);
        if let Some(jzqs) = jzqs {
            body.push_str(",\"jzqs\":");
            text(&mut body, jzqs);
        }
        // `trans_id` goes with every event, required or not, because the platform drops repeats by it.
        body.push_str(",\"trans_id\":");
        self.trans_id(&mut body, entry, &event.trans_id);
        let _ = write!(body, ",\"event\":\"{}\",\"event_time\":{event_time}", entry.code);
        let members = Members { settings: self, event, entry, line, allowed, warnings: &mut warnings };
        members.write(&mut body)?;
        body.push_str("}}}");

        note_ignored(event, &["data_industry", "data_source"], &mut warnings);
        let (native, item) = (entry.code.into(), Item::new(body));
        Ok(Prepared { native, item, warnings, route: None, callback: None, never_repeat: false })
    }

    fn line(&self, event: &ConversionEvent) -> Result<Line, DeliveryError> {
        match event.platform_params.get("data_industry") {
            Some(value) => value.as_str().and_then(Line::of).ok_or_else(|| invalid(INDUSTRY, "no product line of 360")),
            None => self.line.ok_or_else(|| invalid(INDUSTRY, "neither the event nor the account has one")),
        }
    }

    fn source<'a>(&'a self, event: &'a ConversionEvent) -> Result<Option<&'a str>, DeliveryError> {
        let own = match event.platform_params.get("data_source") {
            Some(value) => Some(value.as_str().ok_or_else(|| invalid(SOURCE, "not a text"))?),
            None => None,
        };
        Ok(own.filter(|s| !s.is_empty()).or(self.data_source.as_deref()))
    }

    /// The name of the click id's member in the body, and the click id.
    fn click<'e>(
        &self,
        event: &'e ConversionEvent,
        line: Line,
        warnings: &mut Vec<String>,
    ) -> Result<(&'static str, &'e str), DeliveryError> {
        let click = &event.click;
        let (name, field, value) = match (line, click.get("qhclickid")) {
            (Line::Web, _) => ("impression_id", "click.impression_id", click.get("impression_id")),
            (Line::Zs, None) => match click.get("sourceid") {
                Some(id) => ("qhclickid", "click.sourceid", Some(id)),
                None => ("qhclickid", "click.qhclickid", None),
            },
            (_, id) => ("qhclickid", "click.qhclickid", id),
        };
        let id = click_id(value, field)?;
        if let (Some(stated), true) = (line.click_len(), self.click_len != ClickLen::Off) {
            let length = id.chars().count();
            if length != stated {
                let detail = format!("{length} characters instead of {stated}");
                if self.click_len == ClickLen::Strict {
                    return Err(invalid(field, detail));
                }
                warnings.push(format!("{field}: {detail}"));
            }
        }
        Ok((name, id))
    }

    fn trans_id(&self, body: &mut String, entry: &Entry, id: &str) {
        let is_md5 = || id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match self.trans_id_mode {
            TransIdMode::Verbatim => text(body, id),
            TransIdMode::Auto if is_md5() => text(body, id),
            TransIdMode::Auto | TransIdMode::Md5 => text(body, &md5_hex(id)),
            TransIdMode::Md5WithEvent => text(body, &md5_hex(format!("{}:{id}", entry.code))),
        }
    }
}

/// `event_param` while it is built.
struct Members<'a> {
    settings: &'a Settings,
    event: &'a ConversionEvent,
    entry: &'static Entry,
    line: Line,
    allowed: Params,
    warnings: &'a mut Vec<String>,
}

impl Members<'_> {
    /// Appends the object, unless it has no members.
    fn write(mut self, body: &mut String) -> Result<(), DeliveryError> {
        let event = self.event;
        let start = body.len();
        if let Some(amount) = &event.order.amount
            && self.wanted(Params::VALUE, "value", "order.amount")?
        {
            let value = fen(amount, "order.amount.minor", "order.amount.currency")?;
            let _ = write!(body, ",\"value\":{value}");
        }
        if let Some(score) = event.params.get("score")
            && self.wanted(Params::SCORE, "score", "params.score")?
        {
            let score = score.as_i64().filter(|n| *n > 0);
            let score = score.ok_or_else(|| invalid("params.score", "not a whole number above 0"))?;
            let _ = write!(body, ",\"score\":{score}");
        }
        if let Some(id) = &event.user.user_id
            && self.wanted(Params::OUTERUSERID, "outeruserid", "user.user_id")?
            && self.filled(id, "user.user_id")
        {
            free_of_controls(id, "user.user_id")?;
            body.push_str(",\"outeruserid\":");
            text(body, id);
        }
        if let Some(name) = event.params.get("bname")
            && self.wanted(Params::BNAME, "bname", "params.bname")?
        {
            let name = name.as_str().ok_or_else(|| invalid("params.bname", "not a text"))?;
            if self.filled(name, "params.bname") {
                body.push_str(",\"bname\":");
                text(body, name);
            }
        }
        if let Some(at) = event.user.registered_at_ms
            && self.wanted(Params::URTIME, "urtime", "user.registered_at_ms")?
        {
            let at = seconds(at);
            if !(1_000_000_000..=9_999_999_999).contains(&at) {
                return Err(invalid("user.registered_at_ms", "not ten digits of seconds"));
            }
            if at > seconds(event.event_time_ms) {
                return Err(invalid("user.registered_at_ms", "later than the event"));
            }
            let _ = write!(body, ",\"urtime\":{at}");
        }
        if body.len() > start {
            // The comma in front of the first member becomes the comma in front of the object.
            body.replace_range(start..=start, ",\"event_param\":{");
            body.push('}');
        }
        Ok(())
    }

    /// Whether to send a member that the event has.
    fn wanted(&mut self, member: Params, name: &str, field: &'static str) -> Result<bool, DeliveryError> {
        if self.allowed.has(member) {
            return Ok(true);
        }
        let why = || format!("{} on {} takes no {name}", self.entry.code, self.line.industry());
        match self.settings.disallowed {
            Disallowed::Strip => {
                let warning = format!("{field} is left out: {}", why());
                self.warnings.push(warning);
                Ok(false)
            }
            Disallowed::Reject => Err(invalid(field, why())),
            Disallowed::Send => {
                let warning = format!("{field} is sent although {}", why());
                self.warnings.push(warning);
                Ok(true)
            }
        }
    }

    /// Whether the text is not empty. An empty one is left out with a warning, because the platform would refuse it.
    fn filled(&mut self, value: &str, field: &str) -> bool {
        if value.is_empty() {
            self.warnings.push(format!("{field} is left out: empty"));
        }
        !value.is_empty()
    }
}

/// Milliseconds as whole seconds.
fn seconds(ms: i64) -> i64 {
    ms / 1000
}

/// Appends a JSON string: raw UTF-8, escaped only where JSON demands it.
fn text(body: &mut String, value: &str) {
    let plain = value.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\');
    if plain {
        body.push('"');
        body.push_str(value);
        body.push('"');
    } else {
        // Serialising a string cannot fail. If it did, the platform would see an empty string and refuse it.
        body.push_str(&serde_json::to_string(value).unwrap_or_else(|_| "\"\"".into()));
    }
}
