//! What may be asked: SPEC 4.4 to 4.6, written down a second time. A text names the broken rule.

use chrono::NaiveDate;
use serde_json::Value;

type Judged = Result<(), String>;

/// No members but these.
pub(super) fn only(asked: &Value, known: &[&str]) -> Judged {
    let members = asked.as_object().into_iter().flatten();
    match members.map(|(name, _)| name).find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("{name}: no such parameter")),
        None => Ok(()),
    }
}

fn text<'a>(asked: &'a Value, name: &str) -> Result<&'a str, String> {
    match &asked[name] {
        Value::Null => Err(format!("{name}: missing")),
        Value::String(text) if !text.is_empty() => Ok(text),
        _ => Err(format!("{name}: no text")),
    }
}

fn integer(asked: &Value, name: &str) -> Result<Option<i64>, String> {
    match &asked[name] {
        Value::Null => Ok(None),
        value => value.as_i64().map(Some).ok_or_else(|| format!("{name}: no whole number")),
    }
}

fn within(asked: &Value, name: &str, least: i64, most: i64) -> Result<Option<i64>, String> {
    match integer(asked, name)? {
        Some(n) if !(least..=most).contains(&n) => Err(format!("{name}: not from {least} to {most}")),
        n => Ok(n),
    }
}

fn word(asked: &Value, name: &str, words: &[&str]) -> Result<bool, String> {
    match &asked[name] {
        Value::Null => Ok(false),
        Value::String(word) if words.contains(&word.as_str()) => Ok(true),
        _ => Err(format!("{name}: none of its words")),
    }
}

pub(super) fn delete_flows(asked: &Value, open_id: Option<&str>) -> Judged {
    only(asked, &["openId", "parentTemplateId"])?;
    text(asked, "parentTemplateId")?;
    if Some(text(asked, "openId")?) == open_id { Ok(()) } else { Err("openId: not that of the account".into()) }
}

pub(super) fn orders(asked: &Value, now: i64) -> Judged {
    only(asked, &["orderType", "tradeType", "orderStatus", "createTimeStart", "createTimeEnd", "page", "size"])?;
    for (name, known) in [("orderType", &[0, 2, 4, 5][..]), ("tradeType", &[0, 1, 2, 3, 4, 5, 6, 7, 10])] {
        if integer(asked, name)?.is_some_and(|n| !known.contains(&n)) {
            return Err(format!("{name}: none of its values"));
        }
    }
    integer(asked, "orderStatus")?;
    let at = |name: &str| {
        let at = within(asked, name, 0, 9_999_999_999)?;
        at.ok_or_else(|| format!("{name}: missing"))
    };
    let (start, end) = (at("createTimeStart")?, at("createTimeEnd")?);
    // A request that was made within the limit may arrive a moment later.
    if start < now - 90 * 86_400 - 60 {
        return Err("createTimeStart: more than 90 days ago".into());
    }
    if end < start {
        return Err("createTimeEnd: before createTimeStart".into());
    }
    let size = within(asked, "size", 1, 100)?;
    let page = within(asked, "page", 0, i64::MAX)?.unwrap_or(0);
    match page.checked_mul(size.unwrap_or(1)) {
        Some(0..=50_000) => Ok(()),
        _ => Err("page: size x page over 50000".into()),
    }
}

pub(super) fn order(asked: &Value) -> Judged {
    only(asked, &["orderId"])?;
    text(asked, "orderId").map(drop)
}

pub(super) fn ciphers(asked: &Value) -> Judged {
    only(asked, &["cipher_infos"])?;
    let items = match &asked["cipher_infos"] {
        Value::Null => return Err("cipher_infos: missing".into()),
        Value::Array(items) => items,
        _ => return Err("cipher_infos: no list".into()),
    };
    if items.is_empty() || items.len() > 50 {
        return Err("cipher_infos: not 1 to 50 items".into());
    }
    items.iter().try_for_each(|item| {
        only(item, &["auth_id", "cipher_text"])?;
        text(item, "auth_id")?;
        text(item, "cipher_text").map(drop)
    })
}

pub(super) fn report(asked: &Value, of_ads: bool, most_days: i64) -> Judged {
    only(
        asked,
        &[
            "advertiser_id",
            "start_date",
            "end_date",
            "fields",
            "filtering",
            "order_field",
            "order_type",
            "page",
            "page_size",
        ],
    )?;
    within(asked, "advertiser_id", 1, i64::MAX)?.ok_or("advertiser_id: missing")?;
    let date = |name: &str| {
        let text = text(asked, name)?;
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
        date.ok_or_else(|| format!("{name}: no YYYY-MM-DD"))
    };
    let span = (date("end_date")? - date("start_date")?).num_days();
    if !(0..=most_days).contains(&span) {
        return Err(format!("end_date: span not 0 to {most_days} days"));
    }
    match asked["fields"].as_array() {
        Some(fields)
            if !fields.is_empty() && fields.iter().all(|field| field.as_str().is_some_and(|f| !f.is_empty())) => {}
        _ => return Err("fields: no list of metrics".into()),
    }
    if !asked["order_field"].is_null() {
        text(asked, "order_field")?;
    }
    word(asked, "order_type", &["ASC", "DESC"])?;
    within(asked, "page", 1, i64::MAX)?;
    within(asked, "page_size", 1, 500)?;
    filtering(&asked["filtering"], of_ads)
}

fn filtering(filters: &Value, of_ads: bool) -> Judged {
    if !filters.is_object() {
        return Err("filtering: missing".into());
    }
    let ids = if of_ads { "ad_ids" } else { "aweme_ids" };
    let known =
        ["marketing_goal", "order_platform", "marketing_scene", "promotion_way", "smart_bid_type", "status", ids];
    only(filters, &known)?;
    if !word(filters, "marketing_goal", &["ALL", "VIDEO_PROM_GOODS", "LIVE_PROM_GOODS"])? {
        return Err("marketing_goal: missing".into());
    }
    word(filters, "order_platform", &["ALL", "QIANCHUAN", "ECP_AWEME"])?;
    let scene = word(filters, "marketing_scene", &["ALL", "FEED", "SEARCH"])?;
    let way = word(filters, "promotion_way", &["STANDARD", "SIMPLE"])?;
    let bid = word(filters, "smart_bid_type", &["SMART_BID_CUSTOM", "SMART_BID_CONSERVATIVE"])?;
    let status = !filters["status"].is_null() && !text(filters, "status")?.is_empty();
    if filters["order_platform"] == "ECP_AWEME" && (scene || way || bid || status) {
        return Err("order_platform: ECP_AWEME takes no such filter".into());
    }
    if filters["marketing_scene"] == "SEARCH" && bid {
        return Err("smart_bid_type: not with SEARCH".into());
    }
    match &filters[ids] {
        Value::Null => Ok(()),
        Value::Array(list) if list.iter().all(Value::is_i64) && (!of_ads || list.len() <= 100) => Ok(()),
        _ => Err(format!("{ids}: no list of numbers, or more than 100")),
    }
}
