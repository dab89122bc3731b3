//! Makes events that must not be delivered. Each is wrong in a way that happens in practice.

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::fresh;
use super::made::{Fate, Made, key};
use super::profiles::{self, PROFILES, Profile};
use crate::demo::accounts;

const HOUR_MS: i64 = 3_600_000;

/// Makes a good event and changes it so that it has this fate.
pub(super) fn spoilt(random: &mut StdRng, now_ms: i64, fate: Fate) -> Made {
    let mut account = profiles::draw(random);
    while PROFILES.get(account).is_some_and(|profile| !suits(profile, fate)) {
        account = profiles::draw(random);
    }
    let mut event = fresh::event(random, account, now_ms);
    match fate {
        Fate::OptOut => event["consent"] = json!({ "opt_out": true }),
        Fate::Invalid => invalid(random, now_ms, &mut event),
        Fate::Expired => event["event_time_ms"] = json!(now_ms - random.random_range(8..30) * 24 * HOUR_MS),
        Fate::Unmapped => {
            let unknown = ["video_play", "coupon_used", "share_moments", "live_enter"];
            event["event_type"] = json!(unknown[random.random_range(0..unknown.len())]);
        }
        Fate::UnknownAccount => unknown_account(random, &mut event),
        Fate::Fresh | Fate::Duplicate | Fate::Conflict | Fate::Malformed => {}
    }
    Made::of(account, &event, fate)
}

/// Whether events of this account can have this fate. A call has no user who opts out and no event type.
fn suits(profile: &Profile, fate: Fate) -> bool {
    match fate {
        Fate::Expired => !profile.takes_any_age() && !profile.is_of_calls(),
        Fate::OptOut | Fate::Unmapped => !profile.is_of_calls(),
        _ => true,
    }
}

fn unknown_account(random: &mut StdRng, event: &mut Value) {
    match random.random_range(0..3) {
        0 => event["account"] = json!(accounts::GONE),
        1 => event["platform"] = json!("toutiao"),
        // The account belongs to another platform.
        _ => {
            let other = PROFILES.iter().map(|profile| profile.platform).find(|other| event["platform"] != *other);
            event["platform"] = json!(other);
        }
    }
}

/// Breaks one rule. If a change leaves the event valid by chance, the last arm makes it invalid.
fn invalid(random: &mut StdRng, now_ms: i64, event: &mut Value) {
    let paid = event["order"]["amount"].is_object();
    match random.random_range(0..7) {
        0 if paid => event["order"]["amount"]["minor"] = json!(-100),
        1 if paid => event["order"]["amount"]["currency"] = json!("USD"),
        2 if paid => event["order"]["amount"]["minor"] = json!("19.90"),
        3 => event["trans_id"] = json!("order 1001"),
        4 => event["event_time_ms"] = json!(now_ms + 5 * HOUR_MS),
        5 => event["event_time_ms"] = json!("2026-01-15 12:00:00"),
        _ => unidentified(random, event),
    }
}

/// Removes the id by which the platform knows the user, the click or the parcel.
fn unidentified(random: &mut StdRng, event: &mut Value) {
    let id = match random.random_range(0..3) {
        0 => Value::Null,
        1 => json!(""),
        _ => json!("__CLICK_ID__"),
    };
    let (group, name) = if event["args"].is_object() {
        ("args", "LogisticCode")
    } else if event["click"].is_null() {
        ("user", "user_id")
    } else if event["click"]["impression_id"].is_string() {
        ("click", "impression_id")
    } else if event["click"]["sourceid"].is_string() {
        ("click", "sourceid")
    } else if event["click"]["gdt_click_id"].is_string() {
        ("click", "gdt_click_id")
    } else {
        ("click", "qhclickid")
    };
    event[group][name] = id;
}

/// Makes bytes that are no event.
pub(super) fn malformed(random: &mut StdRng, now_ms: i64) -> Made {
    let account = profiles::draw(random);
    let event = fresh::event(random, account, now_ms);
    let text = event.to_string();
    let value = match random.random_range(0..6) {
        // The buffer of the producer cut the text off.
        0 => Some(text.as_bytes()[..text.len() * 2 / 3].to_vec()),
        // NaN is no number in JSON.
        1 => Some(text.replacen("\"event_time_ms\":", "\"event_time_ms\":NaN,\"x\":", 1).into_bytes()),
        // The text holds 订单 in GBK.
        2 => Some([&b"{\"trans_id\":\"\xb6\xa9\xb5\xa5"[..], text.as_bytes()].concat()),
        // Two members have the same name.
        3 => Some(text.replacen('{', "{\"account\":\"demo\",", 1).into_bytes()),
        // The record holds a list where one event belongs.
        4 => Some(format!("[{text}]").into_bytes()),
        // The record is a tombstone.
        _ => None,
    };
    // The key still tells the account that the event was meant for.
    Made { account: PROFILES.get(account).map(|_| account), key: key(&event), value, fate: Fate::Malformed }
}
