//! Asks the worker's API for its state.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use super::scheduler::LaneSeen;
use crate::admin::client::Api;
use crate::operate::report::BlockedReport;

/// The last known state of the worker.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: Instant,
    /// Records between the committed positions and the ends of the input topic.
    pub lag: u64,
    /// The same sum over all topics that the worker reads. Every unfinished record is among them.
    pub unfinished: u64,
    /// Each account's lane.
    pub lanes: BTreeMap<String, LaneSeen>,
    /// The replays that run.
    pub replays: Vec<String>,
}

impl Seen {
    /// The state before the first query.
    pub fn nothing(now: Instant) -> Self {
        Self { at: now, lag: 0, unfinished: 0, lanes: BTreeMap::new(), replays: Vec::new() }
    }
}

/// Says whether the worker takes and delivers events.
///
/// # Errors
/// The worker does not answer.
pub async fn is_ready(api: &Api) -> anyhow::Result<bool> {
    Ok(api.get("status").await?["ready"] == true)
}

/// Reads lanes, lag and replays.
///
/// # Errors
/// The worker does not answer.
pub async fn look(api: &Api, input: &str) -> anyhow::Result<Seen> {
    let replays = running(&api.get("replays").await?);
    Ok(Seen { replays, ..seen(api.get("blocked").await?, input)? })
}

/// The replays that run, in an answer to `GET /replays`.
fn running(answer: &Value) -> Vec<String> {
    let items = answer["items"].as_array().into_iter().flatten();
    items.filter(|item| item["state"] == "running").filter_map(|item| Some(item["id"].as_str()?.to_owned())).collect()
}

fn seen(answer: Value, input: &str) -> serde_json::Result<Seen> {
    let report: BlockedReport = serde_json::from_value(answer)?;
    let lag = |only: Option<&str>| {
        let rows = report.partitions.iter().filter(|row| only.is_none_or(|topic| row.topic == topic));
        rows.filter_map(|row| u64::try_from(row.lag?).ok()).sum()
    };
    let (lag, unfinished) = (lag(Some(input)), lag(None));
    let lanes = report.lanes.into_iter().map(|row| {
        let parked = row.replicas.iter().map(|replica| replica.load.parked).sum();
        (row.account, LaneSeen { state: row.state, why: row.why, parked })
    });
    Ok(Seen { at: Instant::now(), lag, unfinished, lanes: lanes.collect(), replays: Vec::new() })
}

/// Resumes an account.
///
/// # Errors
/// The worker does not answer.
pub async fn resume(api: &Api, account: &str, why: &str) -> anyhow::Result<()> {
    api.post(&format!("accounts/{account}/resume"), &json!({ "reason": why, "who": "demo" })).await.map(|_| ())
}

/// Cancels a replay.
///
/// # Errors
/// The worker does not answer, or the replay has ended.
pub async fn cancel(api: &Api, id: &str, why: &str) -> anyhow::Result<()> {
    api.post(&format!("replays/{id}/cancel"), &json!({ "why": why, "who": "demo" })).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replays_that_run_are_known() {
        let answer = json!({"items": [{"id": "r-2", "state": "running"}, {"id": "r-1", "state": "completed"}]});
        assert_eq!(running(&answer), ["r-2"]);
        assert!(running(&json!({"items": []})).is_empty());
    }

    #[test]
    fn lanes_and_lag_are_read_as_the_api_writes_them() {
        let answer = json!({
            "partitions": [
                {"topic": "conversions", "partition": 0, "lag": 7},
                {"topic": "conversions", "partition": 1, "lag": null},
                {"topic": "postback.retry.1s", "partition": 0, "lag": 5},
            ],
            "lanes": [{"account": "demo-360-ps", "state": "halted", "why": "App-Sign is not accepted",
                "replicas": [{"id": "r", "parked": 3}]}],
            "replicas": ["r"],
        });
        let seen = seen(answer, "conversions").unwrap();
        assert_eq!((seen.lag, seen.unfinished), (7, 12));
        let lane = &seen.lanes["demo-360-ps"];
        assert_eq!((lane.state.as_str(), lane.parked), ("halted", 3));
    }
}
