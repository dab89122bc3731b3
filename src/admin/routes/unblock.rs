//! `POST /unblock/storm`, `/unblock/offsets` and `/unblock/dedupe`: the orders that only a person may give.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::change::{by, no_redis, said};
use crate::admin::answer::{Answer, Answered};
use crate::admin::endpoint::Endpoint;
use crate::admin::parts::Parts;
use crate::admin::refusal::Refusal;
use crate::admin::request::Body;
use crate::clock::now_ms;
use crate::operate::audit::Via;
use crate::operate::unblock::{self, MOST_PASS, Refused};
use crate::operate::{By, Place, Target};

/// A topic that the storm brake stopped, or of which bad records pass.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Storm {
    topic: String,
    /// So many bad records may pass from now on before the topic is judged again; 0: none.
    #[schemars(range(min = 0, max = 100_000_000))]
    pass: Option<u64>,
    /// Why; required. It is kept in the audit.
    #[serde(default, alias = "why")]
    #[schemars(length(max = 256))]
    reason: String,
    /// Who asks for it, as claimed.
    #[serde(default)]
    #[schemars(length(max = 256))]
    who: String,
    #[serde(default)]
    via: Via,
}

/// A partition without a position.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Offsets {
    topic: String,
    #[schemars(range(min = 0))]
    partition: i32,
    /// Where it goes on: `earliest`, `latest` or an offset as text.
    #[schemars(with = "String")]
    to: Target,
    /// Why; required. It is kept in the audit.
    #[serde(default, alias = "why")]
    #[schemars(length(max = 256))]
    reason: String,
    /// Who asks for it, as claimed.
    #[serde(default)]
    #[schemars(length(max = 256))]
    who: String,
    #[serde(default)]
    via: Via,
}

/// Who lets accounts send again, and why.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Dedupe {
    /// Why; required. It is kept in the audit.
    #[serde(alias = "why")]
    #[schemars(length(max = 256))]
    reason: String,
    /// Who asks for it, as claimed.
    #[schemars(length(max = 256))]
    who: String,
    via: Via,
}

/// What came of an order.
#[derive(Serialize, JsonSchema)]
struct Unblocked {
    /// `false`: nothing waited for this order, so that nothing was changed.
    changed: bool,
    /// The same in words.
    note: String,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post::<Storm, Unblocked, _>("/unblock/storm", "Let a topic be read on that the storm brake stopped", storm)
            .says(
                "With `pass` so many bad records become dead letters first, over all replicas together. While bad records \
                 pass, another `pass` replaces what is left, and 0 ends it. Audited.",
            )
            .refuses(&[503]),
        Endpoint::post::<Offsets, Unblocked, _>("/unblock/offsets", "Say where a parked partition goes on", offsets)
            .says(
                "`earliest` may send events again (claims suppress what is still remembered); `latest` and a later offset \
                 skip events. 409: the partition is read, so that it needs no position. Audited.",
            )
            .refuses(&[409, 503]),
        Endpoint::post::<Dedupe, Unblocked, _>(
            "/unblock/dedupe",
            "Let accounts send again after Redis lost what was claimed",
            dedupe,
        )
        .says("What was delivered before the loss is not remembered any more: a copy of it would be sent again. Audited.")
        .refuses(&[409, 503]),
    ]
}

async fn storm(State(parts): State<Arc<Parts>>, Body(order): Body<Storm>) -> Answered<Unblocked> {
    if order.pass.is_some_and(|pass| pass > MOST_PASS) {
        return Err(Refusal::field("pass", format!("has to be 0 to {MOST_PASS}")));
    }
    let by = author(&parts, &order.who, order.via, &order.reason)?;
    let (mut c, keys) = (parts.redis().await?, parts.worker.keys());
    answer(unblock::storm(&mut c, &keys, &order.topic, order.pass, &by, now_ms()).await)
}

async fn offsets(State(parts): State<Arc<Parts>>, Body(order): Body<Offsets>) -> Answered<Unblocked> {
    if order.partition < 0 {
        return Err(Refusal::field("partition", "has to be 0 or more"));
    }
    let by = author(&parts, &order.who, order.via, &order.reason)?;
    let place = Place { topic: order.topic, partition: order.partition };
    let (mut c, keys) = (parts.redis().await?, parts.worker.keys());
    let kafka = parts.worker.config.load().kafka.clone();
    answer(unblock::offsets((&mut c, &keys), Some(&kafka), &place, order.to, &by, now_ms()).await)
}

async fn dedupe(State(parts): State<Arc<Parts>>, Body(order): Body<Dedupe>) -> Answered<Unblocked> {
    let by = author(&parts, &order.who, order.via, &order.reason)?;
    let (mut c, keys) = (parts.redis().await?, parts.worker.keys());
    answer(unblock::dedupe(&mut c, &keys, &by, now_ms()).await)
}

/// The author of an order. Unlike a pause, which comes first in an incident, an order has to say why.
fn author(parts: &Parts, who: &str, via: Via, reason: &str) -> Result<By, Refusal> {
    said("reason", reason)?;
    Ok(by(who, via, reason)?.at(&parts.worker.id))
}

fn answer(done: Result<String, Refused>) -> Answered<Unblocked> {
    match done {
        Ok(note) => Ok(Answer(Unblocked { changed: true, note })),
        Err(Refused::Nothing(note)) => Ok(Answer(Unblocked { changed: false, note })),
        Err(Refused::NotNow(text)) => Err(Refusal::new(StatusCode::CONFLICT, text)),
        Err(Refused::Wrong { field, text }) => Err(Refusal::field(field, text)),
        Err(Refused::Unavailable(error)) => Err(no_redis(&crate::redis::error::describe(&error))),
    }
}
