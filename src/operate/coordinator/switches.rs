//! Synchronises lane switches between Redis and this process: it writes halts of this process to Redis, and applies the
//! switches that it reads there.

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use crate::account::Halted;
use crate::clock::now_ms;
use crate::operate::audit::Via;
use crate::operate::coordinator::memory::Switches;
use crate::operate::coordinator::parts::Coordinator;
use crate::operate::{By, lanes};

impl Coordinator {
    /// Remembers that an account was halted in this process.
    pub(super) fn halted(&self, switches: &mut Switches, halted: Halted) {
        let lane = self.lanes.get(halted.index);
        // One of its lanes has closed. The account is halted, so the other one closes too.
        lane.both().for_each(|lane| _ = lane.switches.halt(&halted.reason, halted.by_hand));
        let seen = switches.resumed.get(&*lane.id.account_name).cloned();
        switches.pending.push((halted, seen));
    }

    pub(super) async fn save_halts(&self, c: &mut MultiplexedConnection, switches: &mut Switches) -> RedisResult<()> {
        while let Some((halted, seen)) = switches.pending.first() {
            let lane = self.lanes.get(halted.index);
            let by = By::new(Via::Worker, &format!("worker {}", self.id), &halted.reason).at(&self.id);
            let ends = match halted.by_hand {
                true => lanes::Ends::ByHand,
                false => lanes::Ends::ByProbe { every: lane.account().retry.halt_probe },
            };
            lanes::halt(c, &self.keys, &lane.id.account_name, &by, ends, seen.as_deref(), now_ms()).await?;
            lane.both().for_each(|lane| lane.switches.halt_saved());
            switches.pending.remove(0);
        }
        Ok(())
    }

    /// Applies the switches in Redis to the lanes. While the store has lost its data, each lane keeps the switches that
    /// this process remembers, unless the lane was resumed since.
    pub(super) async fn obey_switches(
        &self,
        c: &mut MultiplexedConnection,
        switches: &mut Switches,
    ) -> RedisResult<()> {
        let (all, resumed) = lanes::read_switches(c, &self.keys).await?;
        let forgotten = self.health.has_forgotten();
        for lane in self.lanes.iter() {
            let name = &*lane.id.account_name;
            let mut new = all.get(name).cloned().unwrap_or_default();
            let note = resumed.get(name);
            if forgotten && (note.is_none() || note == switches.resumed.get(name)) {
                let known = lane.switches.present();
                new.paused = new.paused.or(known.paused);
                new.halted = new.halted.or(known.halted);
            }
            if lane.switches.obey(&new) {
                let (state, _, why) = lane.explain();
                tracing::info!(account = name, state = state.as_str(), reason = why, "lane switched");
            }
        }
        switches.resumed = resumed;
        Ok(())
    }
}
