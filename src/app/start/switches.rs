//! Applies what operators have set in Redis before the first record is read.

use std::sync::PoisonError;
use std::time::Duration;

use crate::app::start::wait::Say;
use crate::kafka::consumer::Unplaced;
use crate::lane::handle::lanes::Lanes;
use crate::operate::{Keys, orders};
use crate::redis::health::Health;

/// Applies the switches and unplaced partitions in Redis before the first record is examined: an account that was
/// paused or halted must not send, and a parked partition must not be read.
pub async fn restore_switches(
    client: &::redis::Client,
    keys: &Keys,
    lanes: &Lanes,
    unplaced: &Unplaced,
    health: &Health,
    say: &Say,
) {
    loop {
        let read = async {
            let mut connection = crate::redis::connect(client).await?;
            let unplaced = orders::read_unplaced(&mut connection, keys).await?;
            ::redis::RedisResult::Ok((crate::operate::lanes::read_lanes(&mut connection, keys).await?, unplaced))
        };
        match read.await {
            Ok((all, places)) => {
                *unplaced.lock().unwrap_or_else(PoisonError::into_inner) = places;
                for lane in lanes.iter() {
                    lane.obey(&all.get(&*lane.account_name).cloned().unwrap_or_default());
                }
                return;
            }
            Err(error) => {
                let why = crate::redis::batcher::describe(&error);
                health.failed(&why);
                say(&format!("waiting for redis.url: {why}"));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
