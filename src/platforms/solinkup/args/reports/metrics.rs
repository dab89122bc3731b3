//! The metrics of reports as the platform's tables list them. Its own samples ask for one that stands in no table
//! (A22), so they are judged only where `strict_fields` says so.

use crate::platforms::solinkup::catalog::Name;

/// `marketing_goal`: what the ads are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    All,
    Video,
    Live,
}

/// Of both reports.
const BOTH: [&str; 21] = [
    "stat_cost",
    "show_cnt",
    "ctr",
    "cpm_platform",
    "click_cnt",
    "pay_order_count",
    "create_order_amount",
    "create_order_count",
    "pay_order_amount",
    "create_order_roi",
    "dy_follow",
    "prepay_and_pay_order_roi",
    "prepay_order_count",
    "prepay_order_amount",
    "total_play",
    "play_duration_3s",
    "play_25_feed_break",
    "play_50_feed_break",
    "play_75_feed_break",
    "play_over",
    "play_over_rate",
];
/// Of the report on ads alone.
const ADS: [&str; 4] = ["ad_id", "convert_cnt", "convert_cost", "convert_rate"];
/// Of the report on ads, and not of live rooms.
const NOT_LIVE: [&str; 3] = ["dy_share", "dy_comment", "dy_like"];
/// Of the report on ads, and not of videos.
const NOT_VIDEO: [&str; 10] = [
    "live_pay_order_cost_per_order",
    "luban_live_enter_cnt",
    "live_watch_one_minute_count",
    "live_fans_club_join_cnt",
    "luban_live_slidecart_click_cnt",
    "luban_live_click_product_cnt",
    "luban_live_comment_cnt",
    "luban_live_share_cnt",
    "luban_live_gift_cnt",
    "luban_live_gift_amount",
];

/// Says why a report does not have a metric.
pub(super) fn check(report: Name, goal: Goal, metric: &str) -> Result<(), &'static str> {
    if BOTH.contains(&metric) {
        return Ok(());
    }
    if report != Name::AdReport {
        return Err("is no metric of this report");
    }
    match metric {
        _ if ADS.contains(&metric) => Ok(()),
        _ if NOT_LIVE.contains(&metric) && goal == Goal::Live => Err("is no metric of LIVE_PROM_GOODS"),
        _ if NOT_VIDEO.contains(&metric) && goal == Goal::Video => Err("is no metric of VIDEO_PROM_GOODS"),
        _ if NOT_LIVE.contains(&metric) || NOT_VIDEO.contains(&metric) => Ok(()),
        _ => Err("is no metric of this report"),
    }
}
