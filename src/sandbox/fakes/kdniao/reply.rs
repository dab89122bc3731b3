//! The bodies of answers.

use serde_json::{Value, json};

use super::query::Query;

/// The answer to a query that is refused.
pub(super) fn refused(business_id: &str, reason: &str) -> String {
    json!({ "EBusinessID": business_id, "Success": false, "Reason": reason }).to_string()
}

/// The answer to a subscription, at this moment (Unix seconds).
pub(super) fn subscribed(business_id: &str, now: i64) -> String {
    json!({ "EBusinessID": business_id, "UpdateTime": now.to_string(), "Success": true, "Reason": "" }).to_string()
}

/// One step of a parcel: when, where, its paid state, and the courier's words. The names and numbers are invented.
type Step = (&'static str, &'static str, &'static str, &'static str);

const STEPS: [Step; 4] = [
    ("2025-01-15 08:05:37", "深圳市", "1", "【深圳市】南山营业部的王小明（13812345678）已揽收"),
    ("2025-01-15 21:40:02", "广州市", "204", "【广州市】快件到达广州转运中心"),
    ("2025-01-16 09:12:45", "北京市", "202", "【北京市】派件员：李静，电话：13987654321，正在派件"),
    ("2025-01-16 15:30:11", "北京市", "301", "【北京市】已签收，签收人：张三，如有疑问请联系13987654321"),
];

/// What happens instead of the last step to a parcel that the recipient does not take.
const REFUSED: Step = ("2025-01-16 15:30:11", "北京市", "404", "【北京市】收件人张三拒收，快件将退回");

/// The answer to a query: what the last digit of the waybill says.
pub(super) fn traces(business_id: &str, query: &Query, is_paid: bool) -> String {
    let state = match query.waybill.bytes().last() {
        Some(digit @ b'0'..=b'4') => char::from(digit).to_string(),
        _ => "2".to_owned(),
    };
    let steps: Vec<Step> = match &*state {
        "0" => Vec::new(),
        "1" => STEPS[..1].to_vec(),
        "3" => STEPS.to_vec(),
        "4" => [&STEPS[..3], &[REFUSED]].concat(),
        _ => STEPS[..3].to_vec(),
    };
    let trace = |(time, place, action, words): &Step| {
        let mut trace = json!({ "AcceptTime": time, "AcceptStation": words, "Remark": "" });
        if is_paid {
            trace["Location"] = json!(place);
            trace["Action"] = json!(action);
        }
        trace
    };
    let mut body = json!({
        "EBusinessID": business_id,
        "OrderCode": query.order,
        "ShipperCode": query.carrier,
        "LogisticCode": query.waybill,
        "Success": true,
        "State": state,
        "Traces": steps.iter().map(trace).collect::<Vec<Value>>(),
    });
    if steps.is_empty() {
        body["Reason"] = json!("暂无轨迹信息");
    }
    if is_paid {
        body["StateEx"] = json!(steps.last().map_or("0", |step| step.2));
        body["Location"] = json!(steps.last().map_or("", |step| step.1));
    }
    body.to_string()
}
