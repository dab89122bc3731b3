//! The threads of the lanes: one current-thread runtime per core, accounts spread by hash, no locks between lanes.

mod equipment;
mod fleet;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::sleep;

pub use self::equipment::Refit;
use self::equipment::{Equipment, LaneSetup, Maker};
use self::fleet::Fleet;
use crate::account::roster::Roster;
use crate::account::{Dedupe as DedupeConfig, Intake};
use crate::claim::Dedupe;
use crate::delivery::Delivery;
use crate::lane::handle::lanes::{Lanes, Post, ThreadHandle};
use crate::redis::batcher::Batcher;
use crate::redis::health::Health;
use crate::secret::SecretString;
use crate::send::token::Tokens;
use crate::settle::context::StageContext;
use crate::settle::outbox::Outbox;

/// The running threads.
pub struct Runtimes {
    threads: Vec<std::thread::JoinHandle<()>>,
    commands: Vec<UnboundedSender<ThreadCommand>>,
    maker: Maker,
}

enum ThreadCommand {
    /// The primary has changed: write again what the earlier one may not have replicated. The time is when that one was
    /// last seen.
    WriteRecent(Instant),
    /// Shutdown: store every token that a platform issued. The sender is dropped once they are stored.
    StoreTokens(std::sync::mpsc::Sender<()>),
    /// Run one more lane.
    Add(Box<LaneSetup>),
    /// Let the lane with this index go on with other settings.
    Equip(usize, Box<Equipment>),
}

/// Lanes that are built but not yet running.
pub struct UnstartedLanes {
    setups: Vec<Vec<LaneSetup>>,
    /// For each thread what leads to it: records that end without a lane, and records for its lanes.
    inboxes: Vec<(UnboundedReceiver<Box<Delivery>>, UnboundedReceiver<Post>)>,
    /// For each thread, how often it has run out of work.
    idled: Vec<Arc<AtomicU64>>,
    maker: Maker,
}

/// Builds the lanes of all accounts, and spreads them over `threads`. `health` learns what
/// the platforms' clocks say. `token_key` is the key of `[redis]`.
///
/// # Errors
/// An HTTP client could not be built, or tokens cannot be encrypted.
pub fn prepare(
    roster: &Roster,
    intake: &Intake,
    health: &Arc<Health>,
    token_key: &SecretString,
    threads: usize,
) -> Result<(Lanes, UnstartedLanes), String> {
    let threads = threads.max(1);
    let maker = Maker { intake: *intake, health: health.clone(), token_key: token_key.clone(), threads };
    let mut setups: Vec<Vec<LaneSetup>> = (0..threads).map(|_| Vec::new()).collect();
    let refit = maker.refit(&Roster::default(), roster)?;
    let (senders, outboxes): (_, Vec<_>) = (0..threads).map(|_| unbounded_channel()).unzip();
    let (post_senders, posts): (Vec<_>, Vec<_>) = (0..threads).map(|_| unbounded_channel()).unzip();
    let idled: Vec<Arc<AtomicU64>> = (0..threads).map(|_| Arc::default()).collect();
    let lanes = Lanes::new(Vec::new(), senders);
    let handles =
        post_senders.into_iter().zip(&idled).map(|(posts, idled)| ThreadHandle { posts, idled: idled.clone() });
    lanes.deliver_through(handles.collect());
    refit.add_to(&lanes);
    refit.added.into_iter().for_each(|(thread, setup)| setups[thread].push(setup));
    Ok((lanes, UnstartedLanes { setups, inboxes: outboxes.into_iter().zip(posts).collect(), idled, maker }))
}

impl UnstartedLanes {
    /// Starts the threads. Every account's halts and records leave through `context`.
    ///
    /// # Errors
    /// A thread or its runtime could not be started.
    pub fn start(
        self,
        context: &Arc<StageContext>,
        client: &::redis::Client,
        prefix: &str,
        dedupe: &DedupeConfig,
    ) -> std::io::Result<Runtimes> {
        let mut threads = Vec::new();
        let mut commands = Vec::new();
        for (n, ((setups, (outbox, post)), idled)) in
            self.setups.into_iter().zip(self.inboxes).zip(self.idled).enumerate()
        {
            let (sender, inbox) = unbounded_channel();
            commands.push(sender);
            let thread = LaneThread {
                context: context.clone(),
                client: client.clone(),
                prefix: prefix.to_owned(),
                window: dedupe.window,
                lease: dedupe.lease,
            };
            let (built, is_built) = std::sync::mpsc::channel();
            threads.push(std::thread::Builder::new().name(format!("lanes-{n}")).spawn(move || {
                match runtime(idled) {
                    Ok(runtime) => {
                        let _ = built.send(Ok(()));
                        runtime.block_on(thread.run(setups, (outbox, post), inbox));
                    }
                    Err(error) => drop(built.send(Err(error))),
                }
            })?);
            is_built.recv().unwrap_or_else(|_| Err(std::io::Error::other("a thread of the lanes has ended")))?;
        }
        Ok(Runtimes { threads, commands, maker: self.maker })
    }
}

impl Runtimes {
    /// Has no thread. The second value returns the times for which a thread would have been told to write again.
    #[cfg(test)]
    pub(crate) fn stub() -> (Self, impl FnMut() -> Vec<Instant>) {
        let (commands, mut inbox) = unbounded_channel();
        let seen = |command| if let ThreadCommand::WriteRecent(seen) = command { Some(seen) } else { None };
        let told = move || std::iter::from_fn(|| inbox.try_recv().ok().and_then(seen)).collect();
        let intake = Intake { max_in_flight: 1, max_in_flight_bytes: 1, drain_timeout: Duration::ZERO };
        let maker = Maker { intake, health: Arc::default(), token_key: SecretString::default(), threads: 1 };
        (Self { threads: Vec::new(), commands: vec![commands], maker }, told)
    }

    /// Whether every thread is still running.
    pub fn are_alive(&self) -> bool {
        self.threads.iter().all(|t| !t.is_finished())
    }

    /// Waits until every token that a platform issued is stored, but no longer than `limit`. `false`: that was too
    /// short, and an account may have to be authorised again.
    pub fn store_tokens(&self, limit: Duration) -> bool {
        let (stored, all_stored) = std::sync::mpsc::channel();
        for commands in &self.commands {
            let _ = commands.send(ThreadCommand::StoreTokens(stored.clone()));
        }
        drop(stored);
        all_stored.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
    }

    /// Builds what a change of the accounts needs. Nothing takes effect yet.
    ///
    /// # Errors
    /// Settings that cannot be used: an HTTP client could not be built, or tokens cannot be encrypted.
    pub fn refit(&self, old: &Roster, new: &Roster) -> Result<Refit, String> {
        self.maker.refit(old, new)
    }

    /// Adds lanes, and lets others go on with other settings: requests under way end with the old ones, and whatever
    /// has not gone out yet is sent with the new ones.
    pub fn apply(&self, refit: Refit, lanes: &Lanes) {
        refit.add_to(lanes);
        for (thread, setup) in refit.added {
            let _ = self.commands[thread].send(ThreadCommand::Add(Box::new(setup)));
        }
        for (thread, index, equipment) in refit.changed {
            lanes.get(index).set_account(equipment.account.clone());
            let _ = self.commands[thread].send(ThreadCommand::Equip(index, Box::new(equipment)));
        }
    }

    /// Tells the threads that Redis has another primary than the one that was last `seen` at that time.
    pub fn primary_changed(&self, seen: Instant) {
        for commands in &self.commands {
            let _ = commands.send(ThreadCommand::WriteRecent(seen));
        }
    }
}

/// What one thread is started with.
struct LaneThread {
    context: Arc<StageContext>,
    client: ::redis::Client,
    prefix: String,
    window: Duration,
    lease: Duration,
}

impl LaneThread {
    async fn run(
        self,
        setups: Vec<LaneSetup>,
        (mut outbox_inbox, post): (UnboundedReceiver<Box<Delivery>>, UnboundedReceiver<Post>),
        mut commands: UnboundedReceiver<ThreadCommand>,
    ) {
        let (batcher, work) = Batcher::new(self.client, format!("{}:epoch", self.prefix), self.context.health.clone());
        let dedupe = Rc::new(Dedupe::new(batcher.clone(), &self.prefix, self.window, self.lease));
        let outbox = Rc::new(Outbox::new(self.context.clone(), dedupe.clone(), &self.prefix));
        // If a task ends, its thread ends too, and then the process. A dead lane that looks alive would hold its
        // partitions for ever.
        let mut tasks = JoinSet::new();
        tasks.spawn_local(work);
        let fleet = Rc::new(Fleet::new(batcher, outbox.clone(), self.prefix));
        fleet.launch(setups, &mut tasks);
        tasks.spawn_local(hand_over(post));
        let (pending, outcomes, swept) = (dedupe.clone(), outbox.clone(), fleet.clone());
        tasks.spawn_local(async move {
            loop {
                sleep(Duration::from_secs(1)).await;
                swept.sweep();
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
                // A task that was told to end belongs to settings that were replaced.
                Some(ended) = tasks.join_next() => {
                    if !ended.is_err_and(|error| error.is_cancelled()) {
                        tracing::error!("a task of the lanes has ended; this thread ends");
                        return;
                    }
                }
                Some(command) = commands.recv() => match command {
                    ThreadCommand::WriteRecent(seen) => {
                        ends.spawn_local(write_recent(dedupe.clone(), self.context.clone(), seen));
                    }
                    ThreadCommand::StoreTokens(stored) => {
                        ends.spawn_local(store_tokens(fleet.tokens(), stored));
                    }
                    ThreadCommand::Add(setup) => fleet.launch(vec![*setup], &mut tasks),
                    ThreadCommand::Equip(index, equipment) => {
                        let retired = fleet.equip(index, *equipment, &mut tasks);
                        let fleet = fleet.clone();
                        ends.spawn_local(async move { fleet.retire(retired).await });
                    }
                },
                else => return,
            }
        }
    }
}

/// The runtime of a thread, which counts how often it has run out of work. It stays on the thread that builds it.
fn runtime(idled: Arc<AtomicU64>) -> std::io::Result<LocalRuntime> {
    // A local runtime, and not a `LocalSet` on top of another one, which would need a system call for every wake-up by
    // a connection.
    let mut builder = Builder::new_current_thread();
    builder.enable_all().on_thread_park(move || _ = idled.fetch_add(1, Relaxed));
    builder.build_local(LocalOptions::default())
}

/// Hands records to the lanes of this thread.
async fn hand_over(mut posts: UnboundedReceiver<Post>) {
    while let Some(post) = posts.recv().await {
        post.into_iter().for_each(|(lane, deliveries)| lane.inbox.deliver(deliveries));
    }
    // Nothing reads topics any more. The lanes go on.
    std::future::pending().await
}

async fn store_tokens(all: Vec<Rc<Tokens>>, stored: std::sync::mpsc::Sender<()>) {
    for tokens in all {
        tokens.settled().await;
    }
    drop(stored);
}

async fn write_recent(dedupe: Rc<Dedupe>, context: Arc<StageContext>, seen: Instant) {
    dedupe.write_recent(seen, |account| context.metrics.account(account).ambiguous_resends.inc()).await;
}

#[cfg(test)]
mod tests;
