//! `GET /status`, `/accounts` and `/blocked`: the state of all replicas.

use std::sync::Arc;

use axum::extract::State;

use crate::admin::answer::Answer;
use crate::admin::endpoint::Endpoint;
use crate::admin::parts::Parts;
use crate::operate::readiness::StatusReport;
use crate::operate::report::{AccountRow, BlockedReport};
use crate::replay::waiting;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get::<StatusReport, _>("/status", "The worker at a glance", status)
            .says("Needs no token. Readiness and dependencies are those of the replica that answers.")
            .open(),
        Endpoint::get::<Vec<AccountRow>, _>("/accounts", "Every account's lane, on every replica", accounts),
        Endpoint::get::<BlockedReport, _>(
            "/blocked",
            "The oldest unfinished record of each partition, and lanes that do not flow",
            blocked,
        ),
    ]
}

async fn status(State(parts): State<Arc<Parts>>) -> Answer<StatusReport> {
    Answer(parts.worker.status.status().await)
}

async fn accounts(State(parts): State<Arc<Parts>>) -> Answer<Vec<AccountRow>> {
    Answer(parts.worker.status.accounts().await)
}

async fn blocked(State(parts): State<Arc<Parts>>) -> Answer<BlockedReport> {
    let report = parts.worker.status.blocked().await;
    // Without Redis nothing is replayed either, and the rest is known by this replica.
    let replays = async {
        let mut redis = crate::redis::connect(&parts.worker.client).await?;
        waiting(&mut redis, &parts.worker.keys()).await
    };
    Answer(BlockedReport { replays: replays.await.unwrap_or_default(), ..report })
}
