//! The lanes of one thread: runs them, and gives a running lane other settings.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::coop::unconstrained;
use tokio::task::{AbortHandle, JoinSet};

use crate::account::{Account, WhenUnavailable};
use crate::lane::handle::LaneHandle;
use crate::lane::state::{Lane, LaneParts};
use crate::lane::threads::equipment::{Equipment, LaneSetup};
use crate::redis::batcher::Batcher;
use crate::send::quota::Quota;
use crate::send::rate::{Alone, Limiter};
use crate::send::token::Tokens;
use crate::send::token::exchange;
use crate::settle::outbox::Outbox;

/// How many unused connections one thread keeps. Its accounts share them evenly, at least one for each. An unused
/// connection is a socket and the state of its TLS. An account that needs more than its share makes them only after a
/// wait, and the next sweep closes what it does not use.
const KEPT: usize = 1024;

/// See the module.
pub(super) struct Fleet {
    batcher: Batcher,
    outbox: Rc<Outbox>,
    prefix: String,
    lanes: RefCell<Vec<Running>>,
    /// Tokens that no lane uses any more and that may not be stored yet.
    retired: RefCell<Vec<Rc<Tokens>>>,
}

/// A lane, and the tasks beside its own that serve its present settings.
struct Running {
    lane: Rc<Lane>,
    limiter: AbortHandle,
    tokens: Option<AbortHandle>,
    returns: Option<AbortHandle>,
}

/// The tokens that a lane used before it got other settings, and their task.
pub(super) struct Retired(Option<(Rc<Tokens>, AbortHandle)>);

impl Fleet {
    pub(super) fn new(batcher: Batcher, outbox: Rc<Outbox>, prefix: String) -> Self {
        Self { batcher, outbox, prefix, lanes: RefCell::default(), retired: RefCell::default() }
    }

    /// Runs these lanes.
    pub(super) fn launch(&self, setups: Vec<LaneSetup>, tasks: &mut JoinSet<()>) {
        for LaneSetup { handle, inbox, equipment } in setups {
            let parts = self.parts(equipment, &handle, None);
            let limiter = tasks.spawn_local(parts.limiter.clone().run());
            let lane = Lane::new(handle, self.outbox.clone(), parts);
            self.lanes.borrow_mut().push(Running::new(lane.clone(), limiter, tasks));
            // All futures of a lane share its task. With a coop budget, requests whose answers came together would go
            // out in pieces. The task yields by itself, because every attempt waits for another task.
            tasks.spawn_local(unconstrained(lane.run(inbox)));
        }
        let lanes = self.lanes.borrow();
        let kept = kept(lanes.len());
        lanes.iter().for_each(|running| running.lane.dispatcher.keep_at_most(kept));
    }

    /// Lets a lane go on with other settings. What is returned has to be given to [`Fleet::retire`].
    pub(super) fn equip(&self, index: usize, equipment: Equipment, tasks: &mut JoinSet<()>) -> Retired {
        let mut lanes = self.lanes.borrow_mut();
        let kept = kept(lanes.len());
        let Some(running) = lanes.iter_mut().find(|running| running.lane.handle.id.index == index) else {
            return Retired(None);
        };
        let old = running.lane.clone();
        let parts = self.parts(equipment, &old.handle, Some(&old.limiter));
        parts.dispatcher.keep_at_most(kept);
        parts.dispatcher.take_over(&old.dispatcher);
        if !Rc::ptr_eq(&parts.limiter, &old.limiter) {
            running.limiter.abort();
            running.limiter = tasks.spawn_local(parts.limiter.clone().run());
        }
        running.returns.take().inspect(AbortHandle::abort);
        let retired = old.tokens.clone().zip(running.tokens.take());
        self.retired.borrow_mut().extend(retired.iter().map(|(tokens, _)| tokens.clone()));
        let new = old.with(parts);
        *running = Running::new(new.clone(), running.limiter.clone(), tasks);
        old.replace(new);
        Retired(retired)
    }

    /// Ends the tokens that a lane used before, once they are stored.
    pub(super) async fn retire(&self, Retired(retired): Retired) {
        let Some((tokens, task)) = retired else { return };
        tokens.settled().await;
        task.abort();
        self.retired.borrow_mut().retain(|other| !Rc::ptr_eq(other, &tokens));
    }

    /// All tokens that have to be stored before the process ends.
    pub(super) fn tokens(&self) -> Vec<Rc<Tokens>> {
        let lanes = self.lanes.borrow();
        let used = lanes.iter().filter_map(|running| running.lane.tokens.clone());
        used.chain(self.retired.borrow().iter().cloned()).collect()
    }

    /// Closes connections that were unused for a while.
    pub(super) fn sweep(&self) {
        self.lanes.borrow().iter().for_each(|running| running.lane.dispatcher.sweep());
    }

    /// What a lane sends with. A limiter goes on where the settings of the rate are the same.
    fn parts(&self, equipment: Equipment, handle: &Arc<LaneHandle>, before: Option<&Rc<Limiter>>) -> LaneParts {
        let Equipment { account, dispatcher, sharers, tokens } = equipment;
        let dispatcher = Rc::new(dispatcher);
        let context = &self.outbox.context;
        let bucket = bucket(&self.prefix, &account);
        let delivers = account.when_unavailable == WhenUnavailable::Deliver;
        let alone = Alone { delivers, sharers, replicas: context.replicas.clone() };
        let limiter = match before.filter(|old| old.is_for(&bucket, account.limits.rps, &alone)) {
            Some(old) => old.clone(),
            None => {
                let told = handle.clone();
                let obeys = move |push_back| told.throttle.obey(push_back);
                let (batcher, health) = (self.batcher.clone(), context.health.clone());
                let limiter = Limiter::new(batcher, bucket, account.limits.rps, alone, health, obeys);
                before.inspect(|old| limiter.keep_back_like(old));
                limiter
            }
        };
        let tokens = tokens.map(|kit| exchange::tokens(kit, &dispatcher, self.batcher.clone(), &self.prefix));
        let quota = Quota::of(self.batcher.clone(), &self.prefix, &account);
        LaneParts { account, dispatcher, limiter, quota, tokens }
    }
}

impl Running {
    /// Starts the tasks of a lane's present settings, but for the limiter's.
    fn new(lane: Rc<Lane>, limiter: AbortHandle, tasks: &mut JoinSet<()>) -> Self {
        let of_tokens = lane.tokens.clone().map(|tokens| tasks.spawn_local(tokens.run()));
        let returns = (lane.account.base_urls.len() > 1).then(|| {
            let dispatcher = lane.dispatcher.clone();
            tasks.spawn_local(async move { dispatcher.return_to_first().await })
        });
        Self { lane, limiter, tokens: of_tokens, returns }
    }
}

fn kept(lanes: usize) -> usize {
    (KEPT / lanes.max(1)).max(1)
}

/// The bucket of an account's rate. Calls have one of their own, so that they take no slot from conversions.
fn bucket(prefix: &str, account: &Account) -> String {
    let kind = if account.is_for_calls() { ":calls" } else { "" };
    format!("{prefix}:rate:{}:{}{kind}", account.platform, account.limits.shared_as)
}
