//! Applies what operators have set in Redis before the first record is read.

use std::sync::PoisonError;
use std::time::Duration;

use crate::app::start::wait::Say;
use crate::kafka::consumer::Unplaced;
use crate::lane::handle::lanes::Lanes;
use crate::operate::storms::read_storms;
use crate::operate::{Keys, foreign, orders};
use crate::redis::health::Health;
use crate::storm::board::Storms;

/// Applies the switches, stopped topics and unplaced partitions in Redis before the first record is examined: an
/// account that was paused or halted must not send, and a parked partition or a stopped topic must not be read.
pub async fn restore_switches(
    client: &::redis::Client,
    keys: &Keys,
    lanes: &Lanes,
    (unplaced, storms): (&Unplaced, &Storms),
    health: &Health,
    say: &Say,
) {
    loop {
        let read = async {
            let mut connection = crate::redis::connect(client).await?;
            foreign::name(&mut connection, keys, &health.foreign).await?;
            let unplaced = orders::read_unplaced(&mut connection, keys).await?;
            let stopped = read_storms(&mut connection, keys).await?;
            let switches = crate::operate::lanes::read_lanes(&mut connection, keys).await?;
            ::redis::RedisResult::Ok((switches, unplaced, stopped))
        };
        match read.await {
            Ok((all, places, stopped)) => {
                storms.obey(stopped, false);
                *unplaced.lock().unwrap_or_else(PoisonError::into_inner) = places;
                for lane in lanes.iter() {
                    lane.switches.obey(&all.get(&*lane.id.account_name).cloned().unwrap_or_default());
                }
                return;
            }
            Err(error) => {
                let why = crate::redis::error::describe(&error);
                health.failed(&why);
                // Without its switches, an account that an operator paused would send.
                say(&format!("waiting for redis.url: {why}"));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
