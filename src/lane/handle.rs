//! A lane as other threads see it: its inbox, how full it is, and whether it is open.

pub mod breaker;
mod day;
mod fill;
mod gates;
pub mod halt_probe;
pub mod known;
pub mod lanes;
mod rollout;
mod room;
mod share;
pub mod switches;
mod throttle;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use self::breaker::told::Told;
pub use self::fill::Fill;
use self::fill::{All, Released};
use self::halt_probe::HaltProbe;
pub use self::share::ASIDE_RELEASED;
use self::switches::{Switch, Switches};
use crate::account::{Account, Intake, WhenUnavailable};
use crate::clock::now_ms;
use crate::delivery::Delivery;
use crate::metrics::LaneState;

/// Records that would wait longer than this in a lane go to parking.
pub const LONGEST_WAIT_IN_LANE: Duration = Duration::from_secs(5);

/// How many records go to parking at once. If a closing lane parked its whole queue at once, this would hold up its
/// thread and take memory.
pub(crate) const PARKS: usize = 256;

/// A message to a lane's task.
pub enum LaneMessage {
    /// Add these records to the queue, in this order.
    Deliver(Vec<Box<Delivery>>),
    /// Send this record straight to the parking topic, because the lane is full while others flow.
    Park(Box<Delivery>),
    /// Send the queue of live records to the parking topic.
    ParkQueue,
}

/// The most records of tiers that a lane may have set aside for parking, however long its queue may be. All lanes share
/// one bound for the records that leave the redelivery loop.
const MOST_ASIDE: usize = 1_000;

/// How much a lane may hold. The rate of its account decides, so a new rate changes it.
struct Caps {
    intake: Intake,
    /// The most records in one of its queues.
    queue: AtomicUsize,
    queue_bytes: usize,
    /// The most records from input topics that may be set aside for parking.
    aside: AtomicUsize,
    aside_bytes: usize,
    /// The same for all lanes together.
    aside_of_all: AtomicUsize,
    aside_of_all_bytes: usize,
    /// The same for records from tiers.
    aside_released: AtomicUsize,
    aside_released_bytes: usize,
}

impl Caps {
    fn new(account: &Account, intake: &Intake) -> Self {
        let caps = Self {
            intake: *intake,
            queue: AtomicUsize::new(0),
            queue_bytes: intake.max_in_flight_bytes / 4,
            aside: AtomicUsize::new(0),
            aside_bytes: (intake.max_in_flight_bytes / 4).max(1),
            aside_of_all: AtomicUsize::new(0),
            aside_of_all_bytes: (intake.max_in_flight_bytes / 2).max(1),
            aside_released: AtomicUsize::new(0),
            aside_released_bytes: (intake.max_in_flight_bytes / 16).max(1),
        };
        caps.set(account);
        caps
    }

    fn set(&self, account: &Account) {
        // The rate counts requests, and each of them may carry a batch.
        let per_request = account.batch().items.max(1);
        let ten_seconds = (account.limits.rps * 10.0 * per_request as f64) as usize;
        let quarter = self.intake.max_in_flight / 4;
        let queue = ten_seconds.min(quarter).max(64);
        self.queue.store(queue, Relaxed);
        // As much as the largest queue, so that the input topics are still read while the parking topic takes nothing
        // for a moment.
        self.aside.store(quarter.max(queue), Relaxed);
        self.aside_of_all.store((self.intake.max_in_flight / 2).max(2 * queue), Relaxed);
        // If parking works, the records that are set aside leave within a moment. A lower limit would only hold up the
        // tiers.
        self.aside_released.store(queue.max(PARKS.min(quarter)).min(MOST_ASIDE), Relaxed);
    }
}

/// A lane's handle. Every thread may use it.
pub struct LaneHandle {
    /// The index of the lane.
    pub index: usize,
    /// The index of its account in the metrics.
    pub account_index: usize,
    /// The lane for the calls of the same account, if this one is for its conversions alone.
    calls: OnceLock<Arc<LaneHandle>>,
    /// The name of the account that the lane sends for.
    pub account_name: Arc<str>,
    /// The name of its platform.
    pub platform: &'static str,
    /// The account as it is configured now.
    account: ArcSwap<Account>,
    /// The configuration names the account no longer.
    removed: AtomicBool,
    /// Records from input topics that wait for a permit.
    pub live: Fill,
    /// Records from tiers and the parking topic that wait for a permit.
    pub released: Fill,
    /// The records of `released` that come from the parking topic.
    parked: Fill,
    /// Records from tiers and the parking topic that wait for a permit or have one, by kind.
    holds: Released,
    /// What all lanes of the process hold together.
    all: OnceLock<Arc<All>>,
    /// Records that have a permit, or wait for their confirmation.
    pub in_flight: AtomicUsize,
    /// Records from input topics that are set aside for parking, until their copies are acknowledged.
    pub aside: Fill,
    /// Records from tiers and the parking topic that are set aside for parking.
    pub aside_released: Fill,
    /// Whether the lane was told to park its queue and has not done so yet.
    emptying: AtomicBool,
    inbox: UnboundedSender<LaneMessage>,
    caps: Caps,
    closed: AtomicBool,
    /// The lane was halted here, and Redis does not know it yet. Until then, switches that are read from Redis do not
    /// open the lane.
    unsaved_halt: AtomicBool,
    born: Instant,
    /// In ms since `born`, so that a wall clock that is set back or forward does not change it.
    throttled_until_ms: AtomicU64,
    /// The end of the platform's own limit of a day, in the same ms.
    quota_until_ms: AtomicU64,
    /// The end of the day whose requests the account's own limit has used up, in the same ms.
    day_over_until_ms: AtomicU64,
    /// The platform has only throttled for a while. The lane is closed until one record gets another answer.
    only_throttled: AtomicBool,
    /// The breaker is open, or one record at a time is tried.
    shut: AtomicBool,
    /// The most requests that may be under way while the breaker's ramp lasts.
    ramp_permits: AtomicUsize,
    breaker: Mutex<Told>,
    /// Whether a record is on its way that may open the lane.
    on_trial: Arc<AtomicBool>,
    /// What ends a halt. Both lanes of an account have the same.
    halt_probe: OnceLock<Arc<HaltProbe>>,
    switches: Mutex<Switches>,
    changes: AtomicU64,
    changed: Notify,
}

impl LaneHandle {
    /// Builds the handle. `inbox` leads to the lane's task.
    pub fn new(index: usize, account: Arc<Account>, inbox: UnboundedSender<LaneMessage>, intake: &Intake) -> Self {
        Self {
            index,
            account_index: index,
            calls: OnceLock::new(),
            caps: Caps::new(&account, intake),
            account_name: account.name.clone(),
            platform: account.platform,
            account: ArcSwap::new(account),
            removed: AtomicBool::new(false),
            live: Fill::default(),
            released: Fill::default(),
            parked: Fill::default(),
            holds: Released::default(),
            all: OnceLock::new(),
            in_flight: AtomicUsize::new(0),
            aside: Fill::default(),
            aside_released: Fill::default(),
            emptying: AtomicBool::new(false),
            inbox,
            closed: AtomicBool::new(false),
            unsaved_halt: AtomicBool::new(false),
            born: Instant::now(),
            throttled_until_ms: AtomicU64::new(0),
            quota_until_ms: AtomicU64::new(0),
            day_over_until_ms: AtomicU64::new(0),
            only_throttled: AtomicBool::new(false),
            shut: AtomicBool::new(false),
            ramp_permits: AtomicUsize::new(usize::MAX),
            breaker: Mutex::default(),
            on_trial: Arc::default(),
            halt_probe: OnceLock::new(),
            switches: Mutex::default(),
            changes: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// Says which account it is of, where that has another lane before this one.
    pub(super) fn of_account(mut self, index: usize) -> Self {
        self.account_index = index;
        self
    }

    /// Its name where lanes are told apart: the account's, with a mark for a second lane.
    pub fn name(&self) -> Cow<'_, str> {
        if self.index == self.account_index {
            Cow::Borrowed(&self.account_name)
        } else {
            format!("{}:calls", self.account_name).into()
        }
    }

    /// The account as it is configured now.
    pub fn account(&self) -> Guard<Arc<Account>> {
        self.account.load()
    }

    /// Sends for the account as it is configured from now on. The lane's task takes it by itself, from its thread.
    pub(crate) fn set_account(&self, account: Arc<Account>) {
        self.caps.set(&account);
        self.account.store(account);
        self.touch();
    }

    /// Says whether the configuration still names the account.
    pub(crate) fn set_removed(&self, removed: bool) {
        if self.removed.swap(removed, SeqCst) != removed {
            self.touch();
        }
    }

    /// Whether the configuration names the account no longer. What is open of it is still sent.
    pub fn is_removed(&self) -> bool {
        self.removed.load(SeqCst)
    }

    /// Adds the lane for the calls of its account.
    pub(crate) fn set_calls(&self, calls: Arc<LaneHandle>) {
        // An account has at most one, so a second call would change nothing.
        let _ = calls.halt_probe.set(self.halt_probe.get_or_init(Arc::default).clone());
        let _ = self.calls.set(calls);
    }

    /// All lanes of its account: this one, and the one for calls if there is another.
    pub fn both(&self) -> impl Iterator<Item = &LaneHandle> {
        std::iter::once(self).chain(self.calls.get().map(|calls| &**calls))
    }

    /// The lane that tells how its account does: this one, unless only the one for calls does not flow.
    pub fn shown(&self) -> &LaneHandle {
        let flows = |lane: &&LaneHandle| lane.state() == LaneState::Flowing;
        self.both().find(|lane| !flows(lane)).unwrap_or(self)
    }

    /// Whether the lane can send: it is open, and a Redis that is away does not keep it from sending.
    pub fn can_send(&self, held: bool) -> bool {
        self.is_open() && (!held || self.account().when_unavailable == WhenUnavailable::Deliver)
    }

    /// Closes the lane in this process at once. The caller reports the halt to Redis. `false` if the lane was halted
    /// already.
    pub fn halt(&self, reason: &str) -> bool {
        self.halt_until(reason, false)
    }

    /// The same; `by_hand`: only an operator may end the halt.
    pub fn halt_until(&self, reason: &str, by_hand: bool) -> bool {
        {
            let mut switches = self.lock();
            if switches.halted.is_some() {
                return false;
            }
            switches.halted = Some(Switch::halt(reason, "worker", now_ms(), by_hand));
            self.unsaved_halt.store(true, SeqCst);
            self.closed.store(true, SeqCst);
        }
        self.touch();
        true
    }

    /// Whether Redis does not know yet that the lane is halted.
    pub fn has_unsaved_halt(&self) -> bool {
        self.unsaved_halt.load(SeqCst)
    }

    /// Reports that Redis stores the halt.
    pub fn halt_saved(&self) {
        self.unsaved_halt.store(false, SeqCst);
    }

    /// Applies the switches that Redis holds. Returns whether anything changed.
    pub fn obey(&self, new: &Switches) -> bool {
        {
            let mut switches = self.lock();
            if *switches == *new || (self.unsaved_halt.load(SeqCst) && new.halted.is_none()) {
                return false;
            }
            self.closed.store(new.closed(), SeqCst);
            *switches = new.clone();
        }
        self.touch();
        true
    }

    /// The present switches.
    pub fn switches(&self) -> Switches {
        self.lock().clone()
    }

    /// Makes every task that waits in this lane check again, after a switch or when a partition leaves.
    pub fn touch(&self) {
        self.changes.fetch_add(1, SeqCst);
        self.changed.notify_waiters();
    }

    /// How often `touch` was called.
    pub fn changes(&self) -> u64 {
        self.changes.load(SeqCst)
    }

    /// A future that completes at the next touch after its creation.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::TopicKind;

    fn lane(rps: f64, max_in_flight: usize) -> LaneHandle {
        let mut account = Account::stub("acme");
        account.limits.rps = rps;
        let bounds = Intake { max_in_flight, max_in_flight_bytes: 4000, drain_timeout: Duration::ZERO };
        LaneHandle::new(0, Arc::new(account), tokio::sync::mpsc::unbounded_channel().0, &bounds)
    }

    fn switch(reason: &str) -> Option<Switch> {
        Some(Switch::pause(reason, "li", 5))
    }

    #[test]
    fn a_queue_takes_ten_seconds_of_work_but_no_more_than_a_quarter_of_all_and_64_at_least() {
        for (rps, max_in_flight, cap) in
            [(20.0, 10_000, 200), (1000.0, 10_000, 2500), (1.0, 10_000, 64), (20.0, 100, 64)]
        {
            let lane = lane(rps, max_in_flight);
            (1..cap).for_each(|_| lane.live.add(0));
            assert!(!lane.is_full(TopicKind::Input), "{rps} {max_in_flight}: below {cap}");
            lane.live.add(0);
            assert!(lane.is_full(TopicKind::Input), "{rps} {max_in_flight}: at {cap}");
            assert!(
                !lane.is_full(TopicKind::Tier) && !lane.is_full(TopicKind::Parked),
                "released ones have a queue of their own"
            );
        }
    }

    #[test]
    fn a_queue_takes_ten_seconds_of_full_requests_where_each_of_them_carries_several_events() {
        for (rps, cap) in [(2.0, 100), (1000.0, 2500), (0.5, 64)] {
            let mut account = Account::stub("acme");
            account.limits.rps = rps;
            account.sender = Some(Arc::new(crate::stub::five::Five));
            let bounds = Intake { max_in_flight: 10_000, max_in_flight_bytes: 4000, drain_timeout: Duration::ZERO };
            let lane = LaneHandle::new(0, Arc::new(account), tokio::sync::mpsc::unbounded_channel().0, &bounds);
            (1..cap).for_each(|_| lane.live.add(0));
            assert!(!lane.is_full(TopicKind::Input), "{rps}: below {cap}");
            lane.live.add(0);
            assert!(lane.is_full(TopicKind::Input), "{rps}: at {cap}");
        }
    }

    #[test]
    fn a_queue_is_full_at_a_quarter_of_all_bytes_too() {
        let lane = lane(20.0, 10_000);
        lane.released.add(999);
        assert!(!lane.is_full(TopicKind::Parked));
        lane.released.add(1);
        assert!(lane.is_full(TopicKind::Parked) && lane.is_full(TopicKind::Tier) && !lane.is_full(TopicKind::Input));
    }

    #[test]
    fn what_is_set_aside_for_parking_counts_against_the_cap_until_it_has_left() {
        let lane = lane(20.0, 10_000);
        (0..150).for_each(|_| lane.live.add(0));
        (0..50).for_each(|_| lane.set_aside(TopicKind::Input, 0));
        assert!(lane.is_full(TopicKind::Input) && !lane.is_full(TopicKind::Tier));
        assert!(lane.can_park(TopicKind::Input), "the queue of an open lane takes no place of it");
        lane.left_aside(TopicKind::Input, 0);
        assert!(!lane.is_full(TopicKind::Input));

        // Records that the parking topic does not take stay, and the lane can be given no more than it may have on its
        // way.
        (0..256).for_each(|_| lane.set_aside(TopicKind::Tier, 0));
        assert!(!lane.can_park(TopicKind::Tier) && lane.can_park(TopicKind::Input));
        assert!(lane.is_full(TopicKind::Tier) && lane.is_full(TopicKind::Parked));
        lane.left_aside(TopicKind::Tier, 0);
        assert!(lane.can_park(TopicKind::Tier));
        lane.set_aside(TopicKind::Tier, 250);
        assert!(!lane.can_park(TopicKind::Tier), "a sixteenth of all bytes");
    }

    #[test]
    fn what_a_closed_lane_queues_is_on_its_way_to_parking() {
        let lane = lane(20.0, 10_000);
        (0..200).for_each(|_| lane.live.add(0));
        (0..2_300).for_each(|_| lane.set_aside(TopicKind::Input, 0));
        assert!(lane.can_park(TopicKind::Input), "a quarter of all");
        lane.halt("why");
        assert!(!lane.can_park(TopicKind::Input) && lane.is_aside_above(TopicKind::Input, 7, 8));
        (0..200).for_each(|_| lane.live.sub(0));
        (0..1_700).for_each(|_| lane.left_aside(TopicKind::Input, 0));
        assert!(!lane.is_aside_above(TopicKind::Input, 1, 4));
    }

    #[test]
    fn parked_records_take_half_of_a_lane_at_most() {
        let lane = lane(20.0, 10_000);
        for n in 0..100 {
            assert!(!lane.is_full(TopicKind::Parked), "{n}");
            lane.released.add(0);
            lane.parked.add(0);
        }
        assert!(lane.is_full(TopicKind::Parked) && !lane.is_full(TopicKind::Tier));
        (100..200).for_each(|_| lane.released.add(0));
        assert!(lane.is_full(TopicKind::Tier), "both together have the whole");
    }

    #[test]
    fn a_push_back_of_over_five_seconds_closes_the_lane_and_a_shorter_one_does_not_end_it() {
        let lane = lane(20.0, 100);
        lane.throttle(Duration::from_millis(4_900));
        assert!(lane.is_open());
        assert_eq!(lane.state(), LaneState::Throttled);
        lane.throttle(Duration::from_secs(60));
        assert!(!lane.is_open());
        let touched = lane.changes();
        lane.throttle(Duration::from_secs(1));
        assert!(!lane.is_open());
        assert_eq!((touched, lane.changes()), (2, 2), "who waits is told of what changes, and of nothing else");
        assert!(lane.explain().2.starts_with("pushed back for another "), "{:?}", lane.explain());
    }

    #[test]
    fn a_push_back_lasts_as_long_as_was_asked_whatever_the_wall_clock_is_set_to() {
        const HOUR_MS: i64 = 3_600_000;
        let lane = lane(20.0, 100);
        lane.throttle(Duration::from_secs(60));
        for set_by in [-HOUR_MS, HOUR_MS] {
            crate::clock::set_by(set_by);
            assert!(!lane.is_open(), "the clock is set by {set_by} ms");
            let left = lane.pushed_back();
            assert!(left > Duration::from_secs(5) && left <= Duration::from_secs(60), "{left:?}, set by {set_by} ms");
        }
        crate::clock::set_by(0);
    }

    #[test]
    fn a_halt_is_not_opened_by_what_redis_said_before_it() {
        let lane = lane(20.0, 100);
        assert!(lane.halt("refused") && !lane.halt("again"));
        assert!(!lane.obey(&Switches::default()) && !lane.is_open(), "an older read");
        assert!(lane.obey(&Switches { halted: switch("another replica's"), paused: None }));
        lane.halt_saved();
        assert!(lane.obey(&Switches::default()) && lane.is_open(), "resumed");
        assert!(lane.halt("once more"));
        assert!(lane.explain().2.starts_with("once more; it ends when a parked event is accepted"));
    }

    #[test]
    fn each_switch_closes_and_a_halt_shows_before_a_pause() {
        let lane = lane(20.0, 100);
        let paused = Switches { paused: switch("audit"), halted: None };
        assert!(lane.obey(&paused) && !lane.obey(&paused), "told once");
        assert_eq!((lane.is_open(), lane.state()), (false, LaneState::Paused));
        assert!(lane.obey(&Switches { halted: switch("refused"), ..paused.clone() }));
        let (state, since_ms, why) = lane.explain();
        assert_eq!((state, since_ms), (LaneState::Halted, 5));
        assert!(why.starts_with("refused; it ends"), "{why}");
        assert!(lane.obey(&paused) && !lane.is_open());
        assert!(lane.obey(&Switches::default()) && lane.is_open());
        assert_eq!(lane.state(), LaneState::Flowing);
    }
}
