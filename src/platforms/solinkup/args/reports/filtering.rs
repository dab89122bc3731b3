//! `filtering` of a report: which filters there are, and which exclude each other.

use serde_json::{Map, Value};

use crate::error::DeliveryError;
use crate::platforms::solinkup::args::object::{Object, invalid, whole};
use crate::platforms::solinkup::args::reports::metrics::Goal;
use crate::platforms::solinkup::catalog::Name;

const MOST_ADS: usize = 100;

/// Names and values of the filters in the order of the platform's table.
pub(super) fn judge(report: Name, filters: &Object<'_>) -> Result<(Map<String, Value>, Goal), DeliveryError> {
    let ids = if report == Name::AdReport { "ad_ids" } else { "aweme_ids" };
    filters.only(&[
        "marketing_goal",
        "order_platform",
        "marketing_scene",
        "promotion_way",
        "smart_bid_type",
        "status",
        ids,
    ])?;
    let goal = filters.word("marketing_goal", &["ALL", "VIDEO_PROM_GOODS", "LIVE_PROM_GOODS"])?;
    let goal = goal.ok_or_else(|| filters.refuse("marketing_goal", "is missing"))?;
    let platform = filters.word("order_platform", &["ALL", "QIANCHUAN", "ECP_AWEME"])?;
    let scene = filters.word("marketing_scene", &["ALL", "FEED", "SEARCH"])?;
    let way = filters.word("promotion_way", &["STANDARD", "SIMPLE"])?;
    let bid = filters.word("smart_bid_type", &["SMART_BID_CUSTOM", "SMART_BID_CONSERVATIVE"])?;
    let status = filters.optional_id("status")?;
    let ids_given =
        filters.list(ids, |path, value| whole(value).ok_or_else(|| invalid(path, "is not a whole number")))?;
    if ids == "ad_ids" && ids_given.as_ref().is_some_and(|ids| ids.len() > MOST_ADS) {
        return Err(filters.refuse(ids, format!("holds more than {MOST_ADS} ids")));
    }
    if platform == Some("ECP_AWEME") {
        for (name, value) in
            [("marketing_scene", scene), ("promotion_way", way), ("smart_bid_type", bid), ("status", status)]
        {
            if value.is_some() {
                return Err(filters.refuse(name, "is not supported with order_platform ECP_AWEME"));
            }
        }
    }
    if scene == Some("SEARCH") && bid.is_some() {
        return Err(filters.refuse("smart_bid_type", "is not supported with marketing_scene SEARCH"));
    }

    let mut made = Map::new();
    let texts = [
        ("marketing_goal", Some(goal)),
        ("order_platform", platform),
        ("marketing_scene", scene),
        ("promotion_way", way),
        ("smart_bid_type", bid),
        ("status", status),
    ];
    for (name, value) in texts.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        made.insert(name.into(), value.into());
    }
    if let Some(given) = ids_given {
        made.insert(ids.into(), given.into());
    }
    let goal = match goal {
        "VIDEO_PROM_GOODS" => Goal::Video,
        "LIVE_PROM_GOODS" => Goal::Live,
        _ => Goal::All,
    };
    Ok((made, goal))
}
