//! Events that will not be delivered, each wrong in a way that happens.

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::fresh;
use super::made::{Fate, Made, key};
use super::profiles::{self, PROFILES, Profile};

const HOUR_MS: i64 = 3_600_000;

/// A good event with this fate instead.
pub(super) fn spoilt(random: &mut StdRng, now_ms: i64, fate: Fate) -> Made {
    let mut account = profiles::draw(random);
    while fate == Fate::Expired && PROFILES.get(account).is_some_and(Profile::takes_any_age) {
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

fn unknown_account(random: &mut StdRng, event: &mut Value) {
    match random.random_range(0..3) {
        0 => event["account"] = json!("demo-360-old"),
        1 => event["platform"] = json!("toutiao"),
        // Of another platform.
        _ => {
            let other = PROFILES.iter().map(|profile| profile.platform).find(|other| event["platform"] != *other);
            event["platform"] = json!(other);
        }
    }
}

/// Breaks one rule. What was valid by chance is made invalid by the last arm.
fn invalid(random: &mut StdRng, now_ms: i64, event: &mut Value) {
    let paid = event["order"]["amount"].is_object() && event["account"] != "demo-baizhu-cpa";
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

/// Without the id by which the platform knows the user or the click.
fn unidentified(random: &mut StdRng, event: &mut Value) {
    let id = match random.random_range(0..3) {
        0 => Value::Null,
        1 => json!(""),
        _ => json!("__CLICK_ID__"),
    };
    let (group, name) = if event["click"].is_null() {
        ("user", "user_id")
    } else if event["click"]["impression_id"].is_string() {
        ("click", "impression_id")
    } else if event["click"]["sourceid"].is_string() {
        ("click", "sourceid")
    } else {
        ("click", "qhclickid")
    };
    event[group][name] = id;
}

/// Bytes of which no event can be made.
pub(super) fn malformed(random: &mut StdRng, now_ms: i64) -> Made {
    let account = profiles::draw(random);
    let event = fresh::event(random, account, now_ms);
    let text = event.to_string();
    let value = match random.random_range(0..6) {
        // Cut off by a producer's buffer.
        0 => Some(text.as_bytes()[..text.len() * 2 / 3].to_vec()),
        // A float that JSON has not.
        1 => Some(text.replacen("\"event_time_ms\":", "\"event_time_ms\":NaN,\"x\":", 1).into_bytes()),
        // 订单 in GBK.
        2 => Some([&b"{\"trans_id\":\"\xb6\xa9\xb5\xa5"[..], text.as_bytes()].concat()),
        // A second member of one name.
        3 => Some(text.replacen('{', "{\"account\":\"demo\",", 1).into_bytes()),
        // A batch where one event belongs.
        4 => Some(format!("[{text}]").into_bytes()),
        // A tombstone.
        _ => None,
    };
    // Whose it was meant to be, the key still tells.
    Made { account: PROFILES.get(account).map(|_| account), key: key(&event), value, fate: Fate::Malformed }
}
