//! `GET /trace/{trans_id}`: everything known of one event, as far as two seconds of looking reach.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::admin::answer::{Answer, Answered};
use crate::admin::endpoint::Endpoint;
use crate::admin::parts::Parts;
use crate::admin::refusal::Refusal;
use crate::admin::request::Query;
use crate::inspect::trace::{Depth, Sources, Trace, Wanted};
use crate::operate::lanes::{closed_lanes, read_lanes};
use crate::operate::unknown_account;
use crate::platforms::Platform;
use crate::redis::error::describe;
use crate::similar::nearest;

/// Which event of this name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct TraceQuery {
    /// Only of this platform.
    platform: Option<String>,
    /// Only of this account.
    account: Option<String>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get::<Trace, _>("/trace/{trans_id}", "Everything known of one event", trace)
            .says("Answers within two seconds; `looked_at` says how much was read. Nothing known is an empty answer.")
            .query::<TraceQuery>()
            .refuses(&[503]),
    ]
}

async fn trace(
    State(parts): State<Arc<Parts>>,
    Path(trans_id): Path<String>,
    Query(query): Query<TraceQuery>,
) -> Answered<Trace> {
    let config = parts.worker.config.load_full();
    if let Some(account) = query.account.as_deref().filter(|name| !config.accounts.contains_key(*name)) {
        let close = nearest(account, config.accounts.keys().map(|name| &**name));
        return Err(Refusal::field("account", unknown_account(account, close)));
    }
    let platform = query.platform.as_deref().map(|name| config.platforms.find(name).map(Platform::name));
    let Some(platform) = platform.map_or(Some(None), |found| found.map(Some)) else {
        let names: Vec<_> = config.platforms.all().map(Platform::name).collect();
        return Err(Refusal::field("platform", format!("no such platform; one of: {}", names.join(", "))));
    };
    let sources = Sources {
        kafka: config.kafka.clone(),
        prefix: config.redis.prefix.clone(),
        window: config.dedupe.window,
        lease: config.dedupe.lease,
        accounts: config.accounts.clone(),
    };
    let away = |text: String| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("{text}; try again"));
    let silent = |error: ::redis::RedisError| away(format!("redis.url: {}", describe(&error)));
    let _turn = parts.turn().await?;
    let mut redis = parts.redis().await?;
    let lanes = read_lanes(&mut redis, &parts.worker.keys()).await.map_err(silent)?;
    let wanted = Wanted { trans_id, platform, account: query.account };
    let found = sources.trace(&mut redis, wanted, closed_lanes(&lanes), Depth::Quick, Arc::default()).await;
    found.map(Answer).map_err(|error| away(error.to_string()))
}
