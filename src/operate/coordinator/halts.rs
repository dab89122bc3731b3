//! Ends halts that have lost their cause. The owner of an account's parking topic tries one parked event now and then,
//! one replica at a time; where the platform accepts it, the halt ends for all replicas. It ends too where another
//! credential was loaded. A halt that waits for a person stays.

use std::time::Duration;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use crate::clock::now_ms;
use crate::lane::handle::LaneHandle;
use crate::lane::handle::halt_probe::Step;
use crate::lane::handle::switches::{Switch, Switches};
use crate::operate::By;
use crate::operate::audit::Via;
use crate::operate::coordinator::parts::Coordinator;
use crate::operate::lanes::ending;

/// A replica may probe for so long. It asks again each second while its probe goes on.
const LOCK: Duration = Duration::from_secs(30);

impl Coordinator {
    /// Takes the next step of every halted account.
    pub(super) async fn end_halts(&self, c: &mut MultiplexedConnection) -> RedisResult<()> {
        for lane in self.lanes.accounts() {
            let probe = lane.halt_probe();
            let Some(halt) = lane.switches.present().halted else {
                probe.clear();
                continue;
            };
            if lane.switches.has_unsaved_halt() {
                continue;
            }
            match probe.step() {
                Step::Accepted { halt } => self.end_halt(c, lane, &halt, "a parked event was accepted").await?,
                Step::Replaced if halt.waits_for_hand() => probe.clear(),
                Step::Replaced => self.end_halt(c, lane, &halt, "another credential was loaded").await?,
                Step::Refused => {
                    ending::put_off_probe(c, &self.keys, &lane.id.account_name, lane.account().retry.halt_probe)
                        .await?;
                    probe.clear();
                }
                Step::Waiting | Step::Granted { .. } => self.ask_for_probe(c, lane, &halt).await?,
            }
        }
        Ok(())
    }

    async fn ask_for_probe(&self, c: &mut MultiplexedConnection, lane: &LaneHandle, halt: &Switch) -> RedisResult<()> {
        let probe = lane.halt_probe();
        let every = lane.account().retry.halt_probe;
        let has_parked = self.metrics.account(lane.id.index).parked.get() > 0;
        let is_paused = lane.switches.present().paused.is_some();
        if every.is_zero() || halt.waits_for_hand() || is_paused || !has_parked || self.health.has_forgotten() {
            probe.clear();
            return Ok(());
        }
        // Begun before the question, so that it ends here before it ends in Redis.
        let until = Instant::now() + LOCK;
        if ending::take_probe(c, &self.keys, &lane.id.account_name, &self.id, LOCK).await? {
            probe.grant(until, halt);
        } else {
            probe.clear();
        }
        Ok(())
    }

    async fn end_halt(
        &self,
        c: &mut MultiplexedConnection,
        lane: &LaneHandle,
        halt: &Switch,
        why: &str,
    ) -> RedisResult<()> {
        let account = &*lane.id.account_name;
        let told = format!("{why}; the account was halted: {}", halt.reason);
        let by = By::new(Via::Worker, &format!("worker {}", self.id), &told).at(&self.id);
        if ending::end_halt(c, &self.keys, account, halt, &by, now_ms()).await? {
            tracing::info!(account, reason = why, "the halt has ended; parked events flow back");
            lane.both().for_each(|lane| {
                _ = lane.switches.obey(&Switches { paused: lane.switches.present().paused, halted: None })
            });
        }
        lane.halt_probe().clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
