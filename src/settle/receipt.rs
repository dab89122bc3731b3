//! Receipts: one record per terminal state (contract section 5).

use serde::Serialize;

use crate::clock::now_ms;
use crate::delivery::Delivery;
use crate::envelope::Named;
use crate::error::{Outcome, Reason};

#[derive(Serialize)]
struct ReceiptRecord<'a> {
    schema: &'static str,
    trans_id: Option<&'a str>,
    platform: Option<&'a str>,
    account: Option<&'a str>,
    event: Option<&'a str>,
    outcome: &'static str,
    reason: Option<&'static str>,
    attempts: u32,
    resends: u32,
    platform_id: Option<String>,
    origin: ReceiptOrigin<'a>,
    first_seen_ms: i64,
    finished_at_ms: i64,
}

#[derive(Serialize)]
struct ReceiptOrigin<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
}

/// A longer text is left out of a receipt that its topic refused by size. Events that can be sent have no such text.
const LONGEST: usize = 256;

/// Key and value of a receipt (contract section 5). If `brief`, long texts are left out.
pub(crate) fn receipt(
    delivery: &Delivery,
    outcome: Outcome,
    reason: Option<Reason>,
    resends: u32,
    platform_id: Option<String>,
    brief: bool,
) -> (Option<Vec<u8>>, Vec<u8>) {
    let short = |text: Option<String>| text.filter(|t| !brief || t.len() <= LONGEST);
    let named = delivery.named();
    let named = Named {
        platform: short(named.platform),
        account: short(named.account),
        trans_id: short(named.trans_id),
        event: short(named.event),
    };
    let envelope = &delivery.envelope;
    let value = ReceiptRecord {
        schema: "postback.receipt/1",
        trans_id: named.trans_id.as_deref(),
        platform: named.platform.as_deref(),
        account: named.account.as_deref(),
        event: named.event.as_deref(),
        outcome: outcome.as_str(),
        reason: reason.map(Reason::as_str),
        attempts: envelope.attempts,
        resends,
        platform_id: short(platform_id),
        origin: ReceiptOrigin {
            topic: &envelope.origin.topic,
            partition: envelope.origin.partition,
            offset: envelope.origin.offset,
        },
        first_seen_ms: envelope.first_seen_ms,
        finished_at_ms: now_ms(),
    };
    let value = serde_json::to_vec(&value).unwrap_or_default();
    (named.trans_id.as_ref().map(|t| t.as_bytes().to_vec()), value)
}
