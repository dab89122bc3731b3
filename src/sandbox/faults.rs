//! The faults that an account's platform can be told to show.
//!
//! Faults are set for all accounts at once, as one JSON object, and stay until they are set again:
//!
//! | key | value | what happens | taken |
//! |---|---|---|---|
//! | `latency_ms` | 0 … 600000 | the answer waits that long; goes with every other key | yes |
//! | `status` | 200 … 599 | answered with this status and a plain text, or with `body` | no |
//! | `body` | a code, a text or JSON | answered with this body, status 200 unless `status` says otherwise | no |
//! | `retry_after` | seconds, or any text | the header `Retry-After`; alone it means status 429 | no |
//! | `hang` | bool | read, then silence | yes |
//! | `reset` | `before` | the connection is reset before the request is taken | no |
//! | | `during` | it is taken, and half of the answer goes out before the reset | yes |
//! | | `after` | it is taken, and the connection is reset instead of an answer | yes |
//! | `garbage` | bool | status 200 (or `status`) and a body that is no JSON and no text | yes |
//! | `endless` | bool | status 200 (or `status`) and a body without end | yes |
//! | `expired_token` | bool | the account's access tokens expire as the fault begins; new ones are good | yes |
//! | `share` | 0 … 1 | the share of events that is hit, 1 by default | |
//!
//! A `body` that is a number or a word is the platform's code, in the platform's own form; an object or array is that
//! JSON; any other text is that text. `retry_after` may be an HTTP date, or nonsense. `expired_token` has no meaning
//! for platforms that know no token. Account and id of an event decide whether it belongs to the `share`, so that it is
//! hit on each attempt or on none.
//!
//! If several are set, the first of `reset`, `hang`, `endless`, `garbage` decides the form of the answer. A request is
//! accepted only if none of the faults that are set has a `no` in the last column.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::similar::nearest;

const KEYS: [&str; 10] =
    ["latency_ms", "status", "body", "retry_after", "hang", "reset", "garbage", "endless", "expired_token", "share"];
const MAX_LATENCY_MS: u64 = 600_000;

/// When a connection is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// Before the request is taken.
    Before,
    /// In the middle of the answer.
    During,
    /// After the request was taken, instead of an answer.
    After,
}

/// The faults of one account's platform.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Fault {
    /// The delay of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// The status instead of the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The body or platform code instead of the usual answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// The text of the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hang: bool,
    /// A reset instead of an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
    /// A body that nobody can read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub garbage: bool,
    /// A body without end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub endless: bool,
    /// The tokens that there are when the fault is set count as expired; only for platforms with tokens.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub expired_token: bool,
    /// The share of events that the fault hits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
}

impl Fault {
    /// Whether a request that passes every check is accepted in spite of this fault.
    pub fn takes(&self) -> bool {
        self.status.is_none() && self.body.is_none() && self.retry_after.is_none() && self.reset != Some(Reset::Before)
    }

    /// Whether this fault hits the event with this id.
    pub fn hits(&self, account: &str, id: &[u8]) -> bool {
        match self.share {
            None => true,
            Some(share) if share >= 1.0 => true,
            Some(share) => {
                let digest = Md5::new().chain_update(account).chain_update([0]).chain_update(id).finalize();
                let point = digest.iter().take(4).fold(0_u32, |sum, &byte| (sum << 8) | u32::from(byte));
                f64::from(point) / (f64::from(u32::MAX) + 1.0) < share
            }
        }
    }

    /// The text for the ledger, e.g. `status 429, retry_after 7`.
    pub fn describe(&self) -> String {
        let Ok(Value::Object(members)) = serde_json::to_value(self) else { return String::new() };
        let said = members.into_iter().filter(|(key, _)| key != "share").map(|(key, value)| match value {
            Value::Bool(_) => key,
            Value::String(text) => format!("{key} {text}"),
            other => format!("{key} {other}"),
        });
        said.collect::<Vec<_>>().join(", ")
    }

    fn parse(members: &Map<String, Value>, problems: &mut Vec<String>, account: &str) -> Fault {
        let mut fault = Fault::default();
        for (key, value) in members {
            if value.is_null() {
                continue;
            }
            let wanted = match key.as_str() {
                "latency_ms" => {
                    fault.latency_ms = value.as_u64().filter(|&ms| ms <= MAX_LATENCY_MS);
                    fault.latency_ms.is_none().then_some("0 to 600000")
                }
                "status" => {
                    fault.status =
                        value.as_u64().and_then(|s| u16::try_from(s).ok()).filter(|s| (200..600).contains(s));
                    fault.status.is_none().then_some("200 to 599")
                }
                "body" => {
                    fault.body = Some(value.clone());
                    value.is_boolean().then_some("a code, a text or JSON")
                }
                "retry_after" => {
                    fault.retry_after = Some(value.clone());
                    // A line break in the value would begin a second header.
                    let fine = value.is_number() || value.as_str().is_some_and(|t| !t.chars().any(char::is_control));
                    (!fine).then_some("seconds, or one line of text")
                }
                "reset" => {
                    fault.reset = match value.as_str() {
                        Some("before") => Some(Reset::Before),
                        Some("during") => Some(Reset::During),
                        Some("after") => Some(Reset::After),
                        _ => None,
                    };
                    fault.reset.is_none().then_some("`before`, `during` or `after`")
                }
                "share" => {
                    fault.share = value.as_f64().filter(|share| (0.0..=1.0).contains(share));
                    fault.share.is_none().then_some("0 to 1")
                }
                "hang" | "garbage" | "endless" | "expired_token" => {
                    let on = value.as_bool();
                    let place = match key.as_str() {
                        "hang" => &mut fault.hang,
                        "garbage" => &mut fault.garbage,
                        "endless" => &mut fault.endless,
                        _ => &mut fault.expired_token,
                    };
                    *place = on.unwrap_or(false);
                    on.is_none().then_some("true or false")
                }
                _ => {
                    problems.push(format!("{account}: unknown fault `{key}`{}", did_you_mean(key, &KEYS)));
                    None
                }
            };
            if let Some(wanted) = wanted {
                problems.push(format!("{account}.{key}: {value} is not {wanted}"));
            }
        }
        fault
    }
}

/// The faults of all accounts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Faults(BTreeMap<String, Fault>);

impl Faults {
    /// Reads `{"account": {"status": 429}}`. `names` are the accounts that exist. A failure names every problem.
    pub fn parse(json: &Value, names: &[&str]) -> Result<Faults, Vec<String>> {
        let Value::Object(accounts) = json else {
            return Err(vec!["faults are an object of accounts: {\"acme-ps\": {\"status\": 429}}".to_owned()]);
        };
        let mut problems = Vec::new();
        let mut faults = BTreeMap::new();
        for (name, value) in accounts {
            if !names.contains(&name.as_str()) {
                problems.push(format!("unknown account `{name}`{}", did_you_mean(name, names)));
            }
            match value {
                Value::Object(members) => {
                    faults.insert(name.clone(), Fault::parse(members, &mut problems, name));
                }
                Value::Null => {}
                _ => problems.push(format!("{name}: a fault is an object: {{\"status\": 429}}")),
            }
        }
        if problems.is_empty() { Ok(Faults(faults)) } else { Err(problems) }
    }

    pub fn of(&self, account: &str) -> Option<&Fault> {
        self.0.get(account)
    }
}

/// Returns `, did you mean ...` if a known word is similar.
fn did_you_mean(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(name) => format!(", did you mean `{name}`?"),
        None => format!("; there are: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NAMES: [&str; 3] = ["acme-ps", "acme-baizhu", "unknown"];

    #[test]
    fn every_key_is_read_and_given_back() {
        let json = json!({"acme-ps": {
            "latency_ms": 5, "status": 429, "body": 2, "retry_after": 7, "hang": true, "reset": "during",
            "garbage": true, "endless": true, "expired_token": true, "share": 0.5
        }, "unknown": {}});
        let faults = Faults::parse(&json, &NAMES).unwrap();
        assert_eq!(serde_json::to_value(&faults).unwrap(), json);
        assert_eq!(json["acme-ps"].as_object().unwrap().len(), KEYS.len());
    }

    #[test]
    fn null_and_false_are_no_fault() {
        let faults =
            Faults::parse(&json!({"acme-ps": {"status": null, "hang": false}, "unknown": null}), &NAMES).unwrap();
        assert_eq!(faults.of("acme-ps"), Some(&Fault::default()));
        assert_eq!(faults.of("unknown"), None);
    }

    #[test]
    fn every_problem_is_named_at_once_with_what_may_have_been_meant() {
        let json = json!({"acme-pz": {"stauts": 1}, "acme-ps": {"status": 99, "share": 2, "reset": "never", "hang": 1},
            "acme-baizhu": 7, "unknown": {"retry_after": "a\r\nb", "body": true, "latency_ms": -1}});
        let problems = Faults::parse(&json, &NAMES).unwrap_err().join("\n");
        for part in [
            "unknown account `acme-pz`, did you mean `acme-ps`?",
            "acme-pz: unknown fault `stauts`, did you mean `status`?",
            "acme-ps.status: 99 is not 200 to 599",
            "acme-ps.share: 2 is not 0 to 1",
            "acme-ps.reset: \"never\" is not `before`",
            "acme-ps.hang: 1 is not true or false",
            "acme-baizhu: a fault is an object",
            "unknown.retry_after",
            "unknown.body",
            "unknown.latency_ms",
        ] {
            assert!(problems.contains(part), "{part} is not in\n{problems}");
        }
        assert!(Faults::parse(&json!([]), &NAMES).is_err());
        let far = Faults::parse(&json!({"acme-ps": {"entirely_else": 1}}), &NAMES).unwrap_err();
        assert!(far[0].contains("there are: latency_ms"), "{far:?}");
    }

    #[test]
    fn an_event_is_hit_on_each_attempt_or_on_none_and_the_share_holds() {
        let fault = Fault { share: Some(0.3), ..Fault::default() };
        let hit = (0..10_000).filter(|n| fault.hits("acme-ps", format!("t-{n}").as_bytes())).count();
        assert!((2_800..3_200).contains(&hit), "{hit}");
        for n in 0..100 {
            let id = format!("t-{n}");
            assert_eq!(fault.hits("acme-ps", id.as_bytes()), fault.hits("acme-ps", id.as_bytes()));
        }
        assert!(!Fault { share: Some(0.0), ..Fault::default() }.hits("a", b"x"));
        assert!(Fault { share: Some(1.0), ..Fault::default() }.hits("a", b"x"));
    }

    #[test]
    fn status_body_retry_after_and_reset_before_do_not_take_it_and_the_rest_does() {
        let takes =
            |json: Value| Faults::parse(&json!({"acme-ps": json}), &NAMES).unwrap().of("acme-ps").unwrap().takes();
        for not in [json!({"status": 500}), json!({"body": 2}), json!({"retry_after": 1}), json!({"reset": "before"})] {
            assert!(!takes(not.clone()), "{not}");
        }
        for does in [
            json!({"hang": true}),
            json!({"reset": "during"}),
            json!({"reset": "after"}),
            json!({"garbage": true}),
            json!({"endless": true}),
            json!({"latency_ms": 9}),
            json!({"expired_token": true}),
        ] {
            assert!(takes(does.clone()), "{does}");
        }
    }
}
