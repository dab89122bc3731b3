//! Runs one demo from its first event to its ledger.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::accounts::WEB;
use super::dashboard::clock;
use super::generator::{PROFILES, Profile};
use super::pacing::{self, Backlog};
use super::publisher::{self, Publisher};
use super::reader::Reader;
use super::scenario::{LAST_SHARE, SCENARIO_EVENTS, share};
use super::scheduler::{Act, LaneSeen, Scheduler};
use super::screen::Screen;
use super::signals::Signals;
use super::welcome;
use super::worker::{self as asked, Seen};
use crate::admin::client::Api;
use crate::exit::Exit;
use crate::inspect::ledger::{Beside, Ledger};
use crate::sandbox::Sandbox;

/// Time between two queries to the worker.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Time between two steps of the scheduler.
const SCHEDULE_EVERY: Duration = Duration::from_millis(100);
/// If nothing new arrives for this long, everything has ended. In this time the reader looks twice for events that
/// others published.
const QUIET: Duration = Duration::from_millis(1_200);
/// If no event ends for this long after the last one was published, or after a stop, the demo gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The exit code after a second signal.
const INTERRUPTED: i32 = 130;

/// The options of the user.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The number of events to publish; `None`: the demo runs until a signal.
    pub events: Option<u64>,
    pub seed: u64,
}

/// The parts and the state of a running demo.
pub(super) struct Run {
    pub(super) options: Options,
    pub(super) sandbox: Sandbox,
    pub(super) api: Api,
    pub(super) input: String,
    pub(super) places: welcome::Places,
    pub(super) reader: Reader,
    pub(super) publisher: Publisher,
    pub(super) scheduler: RefCell<Scheduler>,
    pub(super) screen: RefCell<Screen>,
    pub(super) seen: RefCell<Seen>,
    pub(super) speed: RefCell<VecDeque<(Instant, Vec<u64>)>>,
    pub(super) began: Instant,
    pub(super) last_end: Cell<Instant>,
    pub(super) stopped: Cell<Option<Instant>>,
    pub(super) resumed: Cell<Instant>,
    pub(super) told_calm: Cell<bool>,
}

impl Run {
    pub(super) fn welcome(&mut self) {
        self.screen.get_mut().print(&welcome::text(&self.places));
        self.began = Instant::now();
        self.last_end.set(self.began);
    }

    pub(super) async fn publish(&self) {
        let rate = || publisher::rate(self.publisher.made(), self.options.events);
        let stop = || self.stopped.get().is_some();
        let placed = |place, account| self.reader.counts().published(place, account);
        self.publisher.run(rate, || self.wait(), stop, placed).await;
    }

    fn wait(&self) -> Option<pacing::Wait> {
        let seen = self.seen.borrow();
        let counts = self.reader.counts();
        let fullest = PROFILES.iter().zip(counts.accounts()).max_by_key(|(_, account)| account.waiting());
        let fullest = fullest.map(|(profile, account)| (profile.account, account.waiting()));
        let (made, total) = self.progress();
        let fault = share(made, total) >= LAST_SHARE && self.scheduler.borrow().is_on();
        pacing::wait(&Backlog { lag: seen.lag, age: seen.at.elapsed(), fullest, fault })
    }

    /// The number of events made, and the number over which the scenario plays.
    fn progress(&self) -> (u64, u64) {
        (self.publisher.made(), self.options.events.unwrap_or(SCENARIO_EVENTS))
    }

    /// Reads the worker's state again and again.
    pub(super) async fn watch(&self) {
        loop {
            // Without an answer the last state grows old, and the generator waits.
            if let Ok(seen) = asked::look(&self.api, &self.input).await {
                *self.seen.borrow_mut() = seen;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Plays the scenario.
    pub(super) async fn schedule(&self) {
        loop {
            let stop = self.stopped.get().is_some();
            let progress = self.progress();
            let acts = self.scheduler.borrow_mut().step(Instant::now(), progress, stop, &self.seen.borrow().lanes);
            for act in acts {
                self.carry_out(act).await;
            }
            if stop {
                self.open_everything().await;
            }
            self.tell_calm();
            sleep(SCHEDULE_EVERY).await;
        }
    }

    async fn carry_out(&self, act: Act) {
        match act {
            Act::Say(account, text) => self.tell(&format!("{account}: {text}")),
            Act::Fault(account, fault) => {
                // Faults that someone else set for other accounts stay.
                let mut all = serde_json::to_value(&*self.sandbox.faults()).unwrap_or_else(|_| json!({}));
                all[account] = fault.unwrap_or(Value::Null);
                if let Err(problems) = self.sandbox.set_faults(&all) {
                    self.tell(&format!("{account}: the sandbox refuses the fault: {}", problems.join("; ")));
                }
            }
            Act::Resume(account) => {
                self.resumed.set(Instant::now());
                if let Err(error) = asked::resume(&self.api, account, "the secret is corrected").await {
                    self.tell(&format!("{account}: not resumed, trying again: {error:#}"));
                }
            }
        }
    }

    /// Cancels replays and resumes every account after a stop, so that nothing holds back events that could be
    /// delivered.
    async fn open_everything(&self) {
        let _ = self.sandbox.set_faults(&json!({}));
        let replays = self.seen.borrow().replays.clone();
        for id in replays {
            if asked::cancel(&self.api, &id, "the demo ends").await.is_ok() {
                self.seen.borrow_mut().replays.retain(|running| *running != id);
                self.tell(&format!("replay {id}: cancelled, since the demo ends"));
            }
        }
        let closed: Vec<String> = {
            let seen = self.seen.borrow();
            // A state that was read before the last resume does not show its effect.
            if seen.at <= self.resumed.get() + LOOK_EVERY {
                return;
            }
            let closed = |lane: &LaneSeen| matches!(lane.state.as_str(), "halted" | "paused");
            seen.lanes.iter().filter(|(_, lane)| closed(lane)).map(|(name, _)| name.clone()).collect()
        };
        for account in closed {
            self.resumed.set(Instant::now());
            if asked::resume(&self.api, &account, "the demo ends").await.is_ok() {
                self.tell(&format!("{account}: resumed, since the demo ends"));
            }
        }
    }

    fn tell_calm(&self) {
        let over = self.options.events.is_none() && self.publisher.made() >= SCENARIO_EVENTS;
        if over && !self.told_calm.replace(true) {
            self.tell("that was the tour; from here on a calm flow. Break a platform yourself, heal it, resume it:");
            for line in welcome::break_heal_resume(&self.places) {
                self.tell(&line);
            }
            let account = WEB.name;
            self.tell(&format!(
                "or be the operator: {account}'s platform refused events, and takes them again. Replay them:"
            ));
            for line in welcome::replay(&self.places) {
                self.tell(&line);
            }
        }
    }

    fn tell(&self, text: &str) {
        self.screen.borrow().tell(&clock(self.began.elapsed()), text);
    }

    fn gave_up(&self, missing: u64) -> String {
        let seen = self.seen.borrow();
        let closed = seen.lanes.iter().filter(|(_, lane)| lane.state != "flowing");
        let closed: Vec<_> = closed.map(|(name, lane)| format!("; {name} is {}: {}", lane.state, lane.why)).collect();
        format!("gave up: {missing} events have not ended{}", closed.concat())
    }

    /// Returns when every event has ended, or when that will not happen any more, with the reason.
    pub(super) async fn concluded(&self, signals: &mut Signals) -> Result<Option<String>, Exit> {
        let mut ended = ((0, 0), Instant::now());
        loop {
            tokio::select! {
                () = sleep(Duration::from_millis(50)) => {}
                () = signals.next() => {
                    if self.stopped.get().is_some() {
                        std::process::exit(INTERRUPTED);
                    }
                    self.stopped.set(Some(Instant::now()));
                    ended.1 = Instant::now();
                    self.tell("stopping: the generator ends, faults are healed, lanes resumed, and what is open is \
                               finished (a second Ctrl-C leaves at once)");
                }
            }
            if let Some(trouble) = self.reader.trouble().or_else(|| self.publisher.failure()) {
                return Err(Exit::failed(trouble));
            }
            let (now_ended, produced, replays_open) = {
                let counts = self.reader.counts();
                (counts.origins().sums().all_ended(), counts.origins().sums().produced, counts.replays_open())
            };
            if (now_ended, replays_open) != ended.0 {
                ended = ((now_ended, replays_open), Instant::now());
                self.last_end.set(ended.1);
            }
            if !self.publisher.is_finished() {
                continue;
            }
            let quiet = ended.1.elapsed();
            // What a replay has published has to end again, and a replay that runs will publish more.
            let replaying = replays_open > 0 || !self.seen.borrow().replays.is_empty();
            if now_ended == produced && quiet >= QUIET && !replaying {
                return Ok(None);
            }
            let late = self.stopped.get().map_or(quiet, |at| at.elapsed()) >= PATIENCE;
            if (now_ended < produced || replaying) && late {
                return Ok(Some(self.gave_up(produced.saturating_sub(now_ended).max(replays_open))));
            }
        }
    }

    pub(super) fn close(self, why: Option<String>) -> Result<Ledger, Exit> {
        let dashboard = self.dashboard();
        self.screen.borrow_mut().close(dashboard);
        if let Some(why) = why {
            self.screen.borrow().print(&why);
        }
        let unfinished = self.seen.borrow().unfinished;
        let seconds = self.last_end.get().duration_since(self.began).as_secs_f64();
        let counts = self.reader.finish().map_err(Exit::failed)?;
        let calls = counts.calls(|account| PROFILES.get(account).is_some_and(Profile::is_of_calls));
        let of_calls = PROFILES.iter().filter(|profile| profile.is_of_calls());
        let answered: u64 = of_calls.map(|profile| self.sandbox.answered(profile.account)).sum();
        let beside = Beside {
            distinct: self.publisher.distinct() + counts.foreign_distinct(),
            unfinished,
            unknown: 0,
            // A call that only reads may be asked again without a declaration, so its repeats do not count.
            platform_accepted: Some(self.sandbox.accepted() + answered.min(calls.answered)),
            calls: calls.all,
            results: calls.with_result,
        };
        Ok(Ledger::of(counts.origins().sums(), beside, seconds))
    }
}
