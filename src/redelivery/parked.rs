//! How long parked records wait: at `max_parked` they end as dead letters, and at half of it the log warns. The metrics
//! show it all the time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::now_ms;
use crate::delivery::{Delivery, Subject, TopicKind};
use crate::lane::handle::LaneHandle;
use crate::lane::handle::lanes::Lanes;
use crate::metrics::{LaneState, Metrics};
use crate::redelivery::partition_buffer::PartitionBuffer;
use crate::units::show_duration;

/// The time between two checks. The limits are hours, so this is often enough.
const LOOK: Duration = Duration::from_secs(5);
/// The time between two warnings about one account.
const REPEAT: Duration = Duration::from_secs(3600);

/// When a parked record goes to its lane even if the lane is closed, in epoch ms. It ends there.
pub(crate) fn overdue_ms(delivery: &Delivery) -> Option<i64> {
    let Subject::Ready(ready) = &delivery.subject else { return None };
    let max = i64::try_from(ready.account.retry.max_parked.as_millis()).unwrap_or(i64::MAX / 4);
    delivery.envelope.parked_at_ms.map(|at| at.saturating_add(max))
}

/// How long a record waits that has halted its account more than once, while its lane is open: two intervals of the
/// probe that ends a halt, then twice as long each time, twelve intervals at most. Otherwise a record that is refused
/// for reasons of its own would keep its account halted for most of the time.
pub(crate) fn rest(delivery: &Delivery) -> Option<Duration> {
    let Subject::Ready(ready) = &delivery.subject else { return None };
    let times = delivery.refused.halted.checked_sub(1).filter(|times| *times > 0)?;
    Some(ready.account.retry.halt_probe * 2_u32.saturating_pow(times).min(12))
}

/// Warns of parked records while there is still time to act.
#[derive(Default)]
pub(crate) struct Alarm {
    looked: Option<Instant>,
    /// When the log last warned about each account, by index.
    told: HashMap<usize, Instant>,
    /// The accounts, by index, whose metric shows a parked record.
    shown: HashSet<usize>,
}

impl Alarm {
    /// Checks if a check is due: sets the metric of each account, and logs the warnings.
    pub(crate) fn look<K>(
        &mut self,
        buffers: &HashMap<K, PartitionBuffer>,
        lanes: &Lanes,
        metrics: &Metrics,
        now: Instant,
    ) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK) {
            return;
        }
        self.looked = Some(now);
        self.show(&oldest_parked(buffers), lanes, metrics);
        for (lane, warning) in self.warnings(buffers, lanes, (now, now_ms())) {
            tracing::warn!(account = &*lane.id.account_name, "{warning}");
        }
    }

    /// Sets the metrics: one goes back where nothing waits any more, or where this process no longer owns the parking
    /// topic.
    fn show(&mut self, oldest: &HashMap<usize, i64>, lanes: &Lanes, metrics: &Metrics) {
        // Both lanes of an account have one parking topic.
        let mut of_accounts: HashMap<usize, i64> = HashMap::new();
        for (index, at) in oldest {
            let account = lanes.get(*index).id.account_index;
            of_accounts.entry(account).and_modify(|o| *o = (*at).min(*o)).or_insert(*at);
        }
        for gone in self.shown.iter().filter(|account| !of_accounts.contains_key(account)) {
            metrics.account(*gone).oldest_parked_at_ms.set(0);
        }
        for (account, at) in &of_accounts {
            metrics.account(*account).oldest_parked_at_ms.set(*at);
        }
        self.shown = of_accounts.into_keys().collect();
    }

    /// The warnings to log, each with its lane. `now` is given on both clocks.
    pub(crate) fn warnings<K>(
        &mut self,
        buffers: &HashMap<K, PartitionBuffer>,
        lanes: &Lanes,
        (now, now_ms): (Instant, i64),
    ) -> Vec<(Arc<LaneHandle>, String)> {
        let mut warnings = Vec::new();
        for (index, at) in oldest_parked(buffers) {
            let lane = lanes.get(index);
            let max = lane.account().retry.max_parked;
            let age_ms = now_ms - at;
            let late = u128::try_from(age_ms).is_ok_and(|age| age * 2 >= max.as_millis());
            if late && self.told.get(&index).is_none_or(|told| now.duration_since(*told) >= REPEAT) {
                self.told.insert(index, now);
                warnings.push((lane.clone(), warning(lane, age_ms)));
            }
        }
        warnings
    }
}

/// For each lane, by index, when the oldest record that waits in its parking topic was parked, in epoch ms.
fn oldest_parked<K>(buffers: &HashMap<K, PartitionBuffer>) -> HashMap<usize, i64> {
    let mut oldest: HashMap<usize, i64> = HashMap::new();
    for buffered in buffers.values().flat_map(|buffer| &buffer.waiting) {
        let (Subject::Ready(ready), TopicKind::Parked) = (&buffered.delivery.subject, buffered.delivery.topic_kind)
        else {
            continue;
        };
        let Some(at) = buffered.delivery.envelope.parked_at_ms else { continue };
        oldest.entry(ready.lane).and_modify(|o| *o = at.min(*o)).or_insert(at);
    }
    oldest
}

fn warning(lane: &LaneHandle, age_ms: i64) -> String {
    let (state, _, why) = lane.explain();
    let (name, max) = (&lane.id.account_name, show_duration(lane.account().retry.max_parked));
    let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
    let mend = match state {
        LaneState::Halted | LaneState::Paused => {
            format!("mend the cause, then `postback accounts resume {name}`")
        }
        LaneState::Broken => {
            "its platform fails, and the lane goes on by itself once it answers: tell the platform".to_owned()
        }
        LaneState::Flowing | LaneState::Throttled => {
            "its platform takes less than comes: raise limits.rps as far as the contract allows".to_owned()
        }
    };
    format!(
        "the oldest parked event of account {name} waits for {}; at retry.max_parked = {max} it becomes a dead letter, \
         `expired`. The account is {}{why}: {mend}, or lengthen retry.max_parked",
        show_duration(rounded(age_ms)),
        state.as_str()
    )
}

/// Rounds to whole hours, minutes or seconds, so that it reads well.
fn rounded(age_ms: i64) -> Duration {
    let seconds = u64::try_from(age_ms / 1000).unwrap_or_default();
    let unit = [3600, 60].into_iter().find(|unit| seconds >= 2 * unit).unwrap_or(1);
    Duration::from_secs(seconds / unit * unit)
}
