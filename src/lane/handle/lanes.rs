//! All lanes of the process, as other threads see them.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tokio::sync::mpsc::UnboundedSender;

use crate::delivery::Delivery;
use crate::lane::handle::LaneHandle;
use crate::lane::handle::occupancy::fill::All;
use crate::slots::Slots;

/// Records for several lanes of one thread, which hands them to each lane itself. Each message from another thread
/// wakes a thread by a system call, and of many accounts a poll brings a record each.
pub type Post = Vec<(Arc<LaneHandle>, Vec<Box<Delivery>>)>;

/// A runtime thread as other threads see it.
pub struct ThreadHandle {
    /// Takes records for its lanes.
    pub(crate) posts: UnboundedSender<Post>,
    /// How often it has run out of work.
    pub(crate) idled: Arc<AtomicU64>,
}

/// All lanes, and the outboxes for records that end without a lane.
pub struct Lanes {
    pub(super) lanes: Slots<Arc<LaneHandle>>,
    /// The index of the first lane of each account, by the name of the account.
    first: RwLock<HashMap<Arc<str>, usize>>,
    /// What all lanes hold together.
    pub(super) all: Arc<All>,
    outboxes: Vec<UnboundedSender<Box<Delivery>>>,
    /// Without them every lane gets its own message.
    threads: OnceLock<Vec<ThreadHandle>>,
}

impl Lanes {
    /// Takes the lanes in the order of their indices, and one outbox for each runtime thread.
    pub fn new(lanes: Vec<Arc<LaneHandle>>, outboxes: Vec<UnboundedSender<Box<Delivery>>>) -> Self {
        let all = Self {
            lanes: Slots::default(),
            first: RwLock::default(),
            all: Arc::default(),
            outboxes,
            threads: OnceLock::new(),
        };
        // There is room for far more lanes than fit into a configuration.
        lanes.into_iter().for_each(|lane| _ = all.add(lane));
        all
    }

    /// Delivers records through these threads, in the order of their numbers.
    pub(crate) fn deliver_through(&self, threads: Vec<ThreadHandle>) {
        // The threads are started once.
        let _ = self.threads.set(threads);
    }

    fn threads(&self) -> &[ThreadHandle] {
        self.threads.get().map_or(&[], Vec::as_slice)
    }

    /// How often each runtime thread has run out of work: whatever was ready by then is done.
    pub fn idled(&self) -> impl Iterator<Item = u64> {
        self.threads().iter().map(|thread| thread.idled.load(Relaxed))
    }

    /// Delivers records that are counted as queued to their lanes, with one message for each thread.
    pub fn deliver(&self, arrived: impl IntoIterator<Item = (usize, Vec<Box<Delivery>>)>) {
        let mut posts: Vec<Post> = self.threads().iter().map(|_| Vec::new()).collect();
        for (lane, deliveries) in arrived {
            let lane = self.get(lane);
            match posts.get_mut(lane.id.thread) {
                Some(post) => post.push((lane.clone(), deliveries)),
                None => lane.inbox.deliver(deliveries),
            }
        }
        for (thread, post) in self.threads().iter().zip(posts) {
            if !post.is_empty() {
                // The send cannot fail: the thread lives as long as the process.
                let _ = thread.posts.send(post);
            }
        }
    }

    /// Adds a lane, whose index is the number of lanes so far. `false`: it has another index, or there is no room.
    pub(crate) fn add(&self, lane: Arc<LaneHandle>) -> bool {
        lane.occupancy.count_among(&self.all);
        let (index, name) = (lane.id.index, lane.id.is_first().then(|| lane.id.account_name.clone()));
        let is_added = self.lanes.set(index, lane).is_ok();
        if let (true, Some(name)) = (is_added, name) {
            // Only after the lane itself, so that whoever finds the name finds the lane.
            self.first.write().unwrap_or_else(PoisonError::into_inner).entry(name).or_insert(index);
        }
        is_added
    }

    /// The number of lanes. No lane is ever taken out.
    pub fn count(&self) -> usize {
        self.lanes.len()
    }

    /// The lane with this index.
    ///
    /// # Panics
    /// If there is none. Indices come from deliveries, which have them from here.
    #[expect(clippy::expect_used, reason = "no lane is ever taken out, so an index that was given out stays valid")]
    pub fn get(&self, index: usize) -> &Arc<LaneHandle> {
        self.find(index).expect("a lane with this index")
    }

    /// The lane with this index. `None`: there is none.
    pub fn find(&self, index: usize) -> Option<&Arc<LaneHandle>> {
        self.lanes.get(index)
    }

    /// The first lane of the account with this name, whether or not the configuration still names it.
    pub fn of_account(&self, name: &str) -> Option<&Arc<LaneHandle>> {
        let index = self.first.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()?;
        self.find(index)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<LaneHandle>> {
        self.lanes.iter()
    }

    /// The first lane of each account, in the order of the accounts.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<LaneHandle>> {
        self.lanes.iter().filter(|lane| lane.id.is_first())
    }

    /// Settles a delivery that ended at admission.
    pub fn end(&self, delivery: Box<Delivery>) {
        let outbox = delivery.record.partition.unsigned_abs() as usize % self.outboxes.len();
        let _ = self.outboxes[outbox].send(delivery);
    }

    /// Makes every task that waits in any lane check again.
    pub fn touch_all(&self) {
        self.lanes.iter().for_each(|lane| lane.changes.touch());
    }
}
