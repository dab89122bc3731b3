//! Makes one good event, as an advertiser's backend would write it.

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::profiles::{Click, Load, PROFILES, Profile, weighted};

const BUSINESS: [&str; 6] = ["星途教育", "安居装修", "悦动健身", "青禾医美", "领航留学", "云仓优选"];
const GAMES: [&str; 6] = ["斗地主大厅", "三国群英", "梦幻农场", "极速飞车", "全民麻将", "仙侠奇缘"];
const ITEMS: [&str; 6] = ["体验课", "年卡", "旗舰套餐", "入门礼包", "月度会员", "定制方案"];
const CARRIERS: [&str; 4] = ["YTO", "STO", "YD", "JD"];
const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789";
const MINUTE_MS: i64 = 60_000;

/// Makes a good event of the account at this index.
pub(super) fn event(random: &mut StdRng, account: usize, now_ms: i64) -> Value {
    let Some(profile) = PROFILES.get(account) else { return Value::Null };
    let picked = weighted(random, profile.events.iter().map(|(_, weight, _)| *weight));
    let Some((event_type, _, load)) = profile.events.get(picked) else { return Value::Null };

    if profile.is_of_calls() {
        return call(random, profile, event_type, now_ms);
    }
    let happened = now_ms - random.random_range(1..10 * MINUTE_MS);
    let mut event = json!({
        "schema": "postback.event/1",
        "trans_id": hex(random, 32),
        "platform": profile.platform,
        "account": profile.account,
        "event_type": event_type,
        "event_time_ms": happened,
        "produced_at_ms": now_ms,
    });
    click(random, profile, happened, &mut event);
    carried(random, *load, now_ms, &mut event);
    if matches!(profile.click, Click::Qhclickid(_) | Click::Sourceid) {
        details(random, profile, event_type, happened, &mut event);
    }
    event
}

/// Makes a call that asks about a parcel which no other call asks about.
fn call(random: &mut StdRng, profile: &Profile, name: &str, now_ms: i64) -> Value {
    json!({
        "schema": "postback.event/1",
        "kind": "call",
        "trans_id": hex(random, 32),
        "platform": profile.platform,
        "account": profile.account,
        "call": name,
        "event_time_ms": now_ms,
        "produced_at_ms": now_ms,
        "args": {
            "ShipperCode": CARRIERS[random.random_range(0..CARRIERS.len())],
            "LogisticCode": format!("7{:018}", random.random_range(0..1_000_000_000_000_000_000_u64)),
        },
    })
}

fn click(random: &mut StdRng, profile: &Profile, happened: i64, event: &mut Value) {
    let clicked = happened - random.random_range(5_000..60 * MINUTE_MS);
    match profile.click {
        Click::Qhclickid(length) => {
            event["click"] = json!({ "qhclickid": word(random, length), "click_time_ms": clicked });
        }
        Click::Sourceid => event["click"] = json!({ "sourceid": word(random, 12), "click_time_ms": clicked }),
        Click::Gdt => event["click"] = json!({ "gdt_click_id": word(random, 24), "click_time_ms": clicked }),
        Click::Impression => event["click"] = json!({ "impression_id": hex(random, 32), "click_time_ms": clicked }),
        Click::Parcel => {}
        Click::Uid => event["user"] = json!({ "user_id": hex(random, 32) }),
    }
}

fn carried(random: &mut StdRng, load: Load, now_ms: i64, event: &mut Value) {
    match load {
        Load::Plain => {}
        Load::Score => event["params"] = json!({ "score": random.random_range(1..=100) }),
        Load::Order => event["order"] = json!({ "order_id": order_id(random, now_ms) }),
        Load::Paid => {
            let fen = fen(random);
            let item = ITEMS[random.random_range(0..ITEMS.len())];
            event["order"] = json!({
                "order_id": order_id(random, now_ms),
                "amount": { "minor": fen, "currency": "CNY" },
                "items": [{ "name": item, "quantity": 1, "unit": { "minor": fen, "currency": "CNY" } }],
            });
        }
        Load::Refundable => {
            let fen = fen(random);
            let mut order = json!({
                "order_id": order_id(random, now_ms),
                "amount": { "minor": fen, "currency": "CNY" },
            });
            if random.random_bool(0.08) {
                order["refund"] = json!({ "minor": random.random_range(1..=fen), "currency": "CNY" });
            }
            event["order"] = order;
            event["params"] = json!({ "product_name": GAMES[random.random_range(0..GAMES.len())] });
        }
    }
}

/// Adds members that only some product lines and events take. For the others the worker leaves them out and says so.
fn details(random: &mut StdRng, profile: &Profile, event_type: &str, happened: i64, event: &mut Value) {
    if random.random_bool(0.7) {
        event["user"] = json!({ "user_id": format!("u{:08}", random.random_range(0..100_000_000)) });
    }
    if event_type == "order" && random.random_bool(0.5) {
        let days = random.random_range(0..400_i64);
        event["user"]["registered_at_ms"] = json!(happened - days * 24 * 60 * MINUTE_MS - 1_000);
    }
    if profile.click == Click::Sourceid {
        event["params"]["bname"] = json!(BUSINESS[random.random_range(0..BUSINESS.len())]);
    }
}

/// Draws an amount from one yuan to about two thousand. Small amounts are more frequent, and most end in .00 or .90.
fn fen(random: &mut StdRng) -> i64 {
    let yuan = (2_000_f64).powf(random.random_range(0.0..1.0)) as i64;
    yuan.max(1) * 100 + [0, 0, 90, 90, 50, 99][random.random_range(0..6)]
}

/// Makes an order number as shops write it: the day, then a number.
fn order_id(random: &mut StdRng, now_ms: i64) -> String {
    let day = chrono::DateTime::from_timestamp_millis(now_ms).unwrap_or_default().format("%Y%m%d");
    format!("{day}{:010}", random.random_range(0..10_000_000_000_u64))
}

fn word(random: &mut StdRng, length: usize) -> String {
    (0..length).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

pub(super) fn hex(random: &mut StdRng, length: usize) -> String {
    (0..length).map(|_| char::from(b"0123456789abcdef"[random.random_range(0..16)])).collect()
}
