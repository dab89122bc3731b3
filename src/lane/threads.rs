//! The threads of the lanes: one current-thread runtime per core, accounts spread by hash, no locks between lanes.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, coop::unconstrained};
use tokio::time::sleep;

use crate::account::{Accounts, Dedupe as DedupeConfig, Intake, WhenUnavailable, lanes, sharers};
use crate::claim::Dedupe;
use crate::delivery::Delivery;
use crate::lane::handle::lanes::Lanes;
use crate::lane::handle::{LaneHandle, LaneMessage};
use crate::lane::state::Lane;
use crate::redis::batcher::Batcher;
use crate::redis::health::Health;
use crate::secret::SecretString;
use crate::send::Dispatcher;
use crate::send::quota::Quota;
use crate::send::rate::{Alone, Limiter};
use crate::send::token::Tokens;
use crate::send::token::exchange::{self, Kit};
use crate::settle::context::StageContext;
use crate::settle::outbox::Outbox;

/// How many unused connections one thread keeps. Its accounts share them evenly, at least one for each. An unused
/// connection is a socket and the state of its TLS. An account that needs more than its share makes them only after a wait,
/// and the next sweep closes what it does not use.
const KEPT: usize = 1024;

/// The running threads.
pub struct Runtimes {
    threads: Vec<std::thread::JoinHandle<()>>,
    orders: Vec<UnboundedSender<Order>>,
}

enum Order {
    /// The primary has changed: write again what the earlier one may not have replicated. The time is when that one was
    /// last seen.
    WriteRecent(Instant),
    /// Shutdown: store every token that a platform issued. The sender is dropped once they are stored.
    StoreTokens(std::sync::mpsc::Sender<()>),
}

struct LaneSetup {
    handle: Arc<LaneHandle>,
    inbox: UnboundedReceiver<LaneMessage>,
    dispatcher: Dispatcher,
    /// The number of accounts in its bucket that deliver without Redis.
    sharers: usize,
    tokens: Option<Kit>,
}

/// Lanes that are built but not yet running.
pub struct Prepared {
    seats: Vec<Vec<LaneSetup>>,
    outboxes: Vec<UnboundedReceiver<Box<Delivery>>>,
}

/// Builds the lanes of all accounts, and spreads them over `threads`. `health` learns what
/// the platforms' clocks say. `token_key` is the key of `[redis]`.
///
/// # Errors
/// An HTTP client could not be built, or tokens cannot be encrypted.
pub fn prepare(
    accounts: &Accounts,
    intake: &Intake,
    health: &Arc<Health>,
    token_key: &SecretString,
    threads: usize,
) -> Result<(Lanes, Prepared), String> {
    let threads = threads.max(1);
    let mut seats: Vec<Vec<LaneSetup>> = (0..threads).map(|_| Vec::new()).collect();
    let of_accounts: Vec<_> = accounts.values().cloned().collect();
    let mut handles: Vec<Arc<LaneHandle>> = Vec::new();
    for (index, (account_index, account)) in lanes(&of_accounts).into_iter().enumerate() {
        let account = &account;
        let (sender, inbox) = unbounded_channel();
        let handle = Arc::new(LaneHandle::new(index, account.clone(), sender, intake).of_account(account_index));
        if let Some(first) = handles.get(account_index) {
            first.set_calls(handle.clone());
        }
        handles.push(handle.clone());
        let dispatcher = Dispatcher::new(account.clone(), health.clone())?;
        let mut hash = DefaultHasher::new();
        account.name.hash(&mut hash);
        let sharers = sharers(accounts, account);
        seats[hash.finish() as usize % threads].push(LaneSetup {
            handle,
            inbox,
            dispatcher,
            sharers,
            tokens: Kit::of(account, token_key)?,
        });
    }
    let (senders, outboxes) = (0..threads).map(|_| unbounded_channel()).unzip();
    Ok((Lanes::new(handles, senders), Prepared { seats, outboxes }))
}

impl Prepared {
    /// Starts the threads. Every account's halts and records leave through `shared`.
    ///
    /// # Errors
    /// A thread or its runtime could not be started.
    pub fn start(
        self,
        shared: &Arc<StageContext>,
        client: &::redis::Client,
        prefix: &str,
        dedupe: &DedupeConfig,
    ) -> std::io::Result<Runtimes> {
        let mut threads = Vec::new();
        let mut orders = Vec::new();
        for (n, (seats, outbox)) in self.seats.into_iter().zip(self.outboxes).enumerate() {
            let (sender, inbox) = unbounded_channel();
            orders.push(sender);
            let thread = LaneThread {
                shared: shared.clone(),
                client: client.clone(),
                prefix: prefix.to_owned(),
                window: dedupe.window,
                lease: dedupe.lease,
            };
            let (built, is_built) = std::sync::mpsc::channel();
            threads.push(std::thread::Builder::new().name(format!("lanes-{n}")).spawn(move || {
                // A local runtime, and not a `LocalSet` on top of another one, which would need a system call for every
                // wake-up by a connection. It stays on the thread that builds it.
                match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => {
                        let _ = built.send(Ok(()));
                        runtime.block_on(thread.run(seats, outbox, inbox));
                    }
                    Err(error) => drop(built.send(Err(error))),
                }
            })?);
            is_built.recv().unwrap_or_else(|_| Err(std::io::Error::other("a thread of the lanes has ended")))?;
        }
        Ok(Runtimes { threads, orders })
    }
}

impl Runtimes {
    /// Has no thread. The second value returns the times for which a thread would have been told to write again.
    #[cfg(test)]
    pub(crate) fn stub() -> (Self, impl FnMut() -> Vec<Instant>) {
        let (orders, mut inbox) = unbounded_channel();
        let seen = |order| if let Order::WriteRecent(seen) = order { Some(seen) } else { None };
        let told = move || std::iter::from_fn(|| inbox.try_recv().ok().and_then(seen)).collect();
        (Self { threads: Vec::new(), orders: vec![orders] }, told)
    }

    /// Whether every thread is still running.
    pub fn are_alive(&self) -> bool {
        self.threads.iter().all(|t| !t.is_finished())
    }

    /// Waits until every token that a platform issued is stored, but no longer than `limit`. `false`: that was too
    /// short, and an account may have to be authorised again.
    pub fn store_tokens(&self, limit: Duration) -> bool {
        let (stored, all_stored) = std::sync::mpsc::channel();
        for orders in &self.orders {
            let _ = orders.send(Order::StoreTokens(stored.clone()));
        }
        drop(stored);
        all_stored.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
    }

    /// Tells the threads that Redis has another primary than the one that was last `seen` at that time.
    pub fn primary_changed(&self, seen: Instant) {
        for orders in &self.orders {
            let _ = orders.send(Order::WriteRecent(seen));
        }
    }
}

/// What one thread is started with.
struct LaneThread {
    shared: Arc<StageContext>,
    client: ::redis::Client,
    prefix: String,
    window: Duration,
    lease: Duration,
}

impl LaneThread {
    async fn run(
        self,
        seats: Vec<LaneSetup>,
        mut outbox_inbox: UnboundedReceiver<Box<Delivery>>,
        mut orders: UnboundedReceiver<Order>,
    ) {
        let (batcher, work) = Batcher::new(self.client, format!("{}:epoch", self.prefix), self.shared.health.clone());
        let dedupe = Rc::new(Dedupe::new(batcher.clone(), &self.prefix, self.window, self.lease));
        let outbox = Rc::new(Outbox::new(self.shared.clone(), dedupe.clone(), &self.prefix));
        // If a task ends, its thread ends too, and then the process. A dead lane that looks alive would hold its
        // partitions for ever.
        let mut tasks = JoinSet::new();
        let mut lanes = Vec::new();
        let mut all_tokens: Vec<Rc<Tokens>> = Vec::new();
        tasks.spawn_local(work);
        let kept = (KEPT / seats.len().max(1)).max(1);
        for LaneSetup { handle, inbox, dispatcher, sharers, tokens } in seats {
            let dispatcher = Rc::new(dispatcher);
            dispatcher.keep_at_most(kept);
            let limits = &handle.account.limits;
            // Calls have a bucket of their own, so that they take no slot from conversions.
            let kind = if handle.account.is_for_calls() { ":calls" } else { "" };
            let bucket = format!("{}:rate:{}:{}{kind}", self.prefix, handle.account.platform, limits.shared_as);
            let alone = Alone {
                delivers: handle.account.when_unavailable == WhenUnavailable::Deliver,
                sharers,
                replicas: self.shared.replicas.clone(),
            };
            let told = handle.clone();
            let limiter = Limiter::new(
                batcher.clone(),
                bucket,
                limits.rps,
                alone,
                self.shared.health.clone(),
                move |push_back| told.shown_push_back(push_back),
            );
            tasks.spawn_local(limiter.clone().run());
            // All futures of a lane share its task. With a coop budget, requests whose answers came together would go
            // out in pieces. The task yields by itself, because every attempt waits for another task.
            let tokens = tokens.map(|kit| exchange::tokens(kit, &dispatcher, batcher.clone(), &self.prefix));
            if let Some(tokens) = &tokens {
                all_tokens.push(tokens.clone());
                tasks.spawn_local(tokens.clone().run());
            }
            let quota = Quota::of(batcher.clone(), &self.prefix, &handle.account);
            let lane = Lane::new(handle, outbox.clone(), dispatcher, limiter, quota, tokens);
            lanes.push(lane.clone());
            if lane.account.base_urls.len() > 1 {
                let lane = lane.clone();
                tasks.spawn_local(async move { lane.dispatcher.return_to_first().await });
            }
            tasks.spawn_local(unconstrained(lane.run(inbox)));
        }
        let (pending, outcomes) = (dedupe.clone(), outbox.clone());
        tasks.spawn_local(async move {
            loop {
                sleep(Duration::from_secs(1)).await;
                lanes.iter().for_each(|lane| lane.dispatcher.sweep());
                let _ = pending.write_pending().await;
                let _ = outcomes.outcomes.write_waiting().await;
            }
        });
        let mut ends = JoinSet::new();
        loop {
            tokio::select! {
                Some(delivery) = outbox_inbox.recv() => {
                    let outbox = outbox.clone();
                    ends.spawn_local(async move { outbox.settle_ended(delivery).await });
                }
                Some(ended) = ends.join_next(), if !ends.is_empty() => {
                    if ended.is_err() {
                        tracing::error!("settling a record panicked; this thread ends");
                        return;
                    }
                }
                Some(_) = tasks.join_next() => {
                    tracing::error!("a task of the lanes has ended; this thread ends");
                    return;
                }
                Some(order) = orders.recv() => match order {
                    Order::WriteRecent(seen) => {
                        ends.spawn_local(write_recent(dedupe.clone(), self.shared.clone(), seen));
                    }
                    Order::StoreTokens(stored) => {
                        ends.spawn_local(store_tokens(all_tokens.clone(), stored));
                    }
                },
                else => return,
            }
        }
    }
}

async fn store_tokens(all: Vec<Rc<Tokens>>, stored: std::sync::mpsc::Sender<()>) {
    for tokens in all {
        tokens.settled().await;
    }
    drop(stored);
}

async fn write_recent(dedupe: Rc<Dedupe>, shared: Arc<StageContext>, seen: Instant) {
    dedupe.write_recent(seen, |account| shared.metrics.account(account).ambiguous_resends.inc()).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Account;
    use crate::delivery::TopicKind;
    use crate::stub::calls::Caller;

    #[test]
    fn calls_have_a_lane_of_their_own_which_fills_no_place_of_conversions() {
        let account = |name: &str, sends: bool, calls: bool| {
            let mut account = Account::stub(name);
            account.call_limits.rps = 7.0;
            if !sends {
                account.sender = None;
            }
            account.call = calls.then(|| Arc::new(Caller) as _);
            (account.name.clone(), Arc::new(account))
        };
        let accounts: Accounts =
            [account("a", true, false), account("b", true, true), account("c", false, true)].into();
        let bounds = Intake { max_in_flight: 1_000, max_in_flight_bytes: 64 << 20, drain_timeout: Duration::ZERO };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (lanes, _) = prepare(&accounts, &bounds, &Arc::default(), &SecretString::default(), 2).unwrap();
        let shown = lanes.iter().map(|lane| (lane.name().into_owned(), lane.account_index, lane.account.limits.rps));
        let expected = [("a", 0, 20.0), ("b", 1, 20.0), ("c", 2, 7.0), ("b:calls", 1, 7.0)];
        assert_eq!(shown.collect::<Vec<_>>(), expected.map(|(name, index, rps)| (name.to_owned(), index, rps)));
        assert_eq!(lanes.accounts().map(|lane| lane.both().count()).collect::<Vec<_>>(), [1, 2, 1]);
        let (conversions, calls) = (lanes.get(1), lanes.get(3));
        (0..70).for_each(|_| calls.live.add(0));
        assert!(calls.is_full(TopicKind::Input) && !conversions.is_full(TopicKind::Input));
        // Its account shows that calls are pushed back while conversions flow.
        calls.throttle(Duration::from_secs(60));
        assert!(conversions.is_open() && !calls.is_open());
        assert_eq!(conversions.shown().name(), "b:calls");
        assert_eq!(lanes.get(0).shown().name(), "a");
    }
}
