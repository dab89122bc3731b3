//! The records that wait for a lane's permits.

use std::collections::{HashMap, VecDeque};

use crate::claim::rules::Key;
use crate::delivery::{Delivery, Subject, TopicKind};
use crate::error::DeliveryError;

/// Live records and released ones, which take turns: released work gets every second permit while there is any. Of the
/// released records those from tiers come first, because they are due, and a parking backlog may be long. Records that
/// an operator replayed come last: one gets a permit only while no live record waits. Only one copy of a conversion
/// holds a permit at a time.
pub(crate) struct Queues {
    live: VecDeque<Box<Delivery>>,
    /// Replayed records from input topics. A copy of one that waits in a tier or in parking is like any other there.
    replayed: VecDeque<Box<Delivery>>,
    due: VecDeque<Box<Delivery>>,
    parked: VecDeque<Box<Delivery>>,
    live_next: bool,
    /// The place of the last record that was queued.
    last_place: u64,
    /// Conversions that were handed out and have not ended, and whether they came from `replayed`.
    under_way: HashMap<Key, bool>,
    /// How many of them came from `replayed`, and how many may. They leave permits to live records that arrive next.
    replayed_under_way: usize,
    most_replayed: usize,
    /// Copies of conversions that are handed out, or of which another copy is queued already. Such a copy would only
    /// hold a permit until the one before it has ended. No list here is empty.
    behind: HashMap<Key, VecDeque<Box<Delivery>>>,
}

/// A record that is handed out, with the key that [`Queues::ended`] needs.
pub(crate) type HandedOut = (Box<Delivery>, Option<Key>);

/// How many records of each queue are searched for one that fits to a batch.
const LOOKED_AT: usize = 256;

/// Whether it is a replayed record from an input topic.
fn yields(delivery: &Delivery) -> bool {
    delivery.topic_kind == TopicKind::Input && delivery.is_replayed()
}

fn key_of(delivery: &Delivery) -> Option<Key> {
    match &delivery.subject {
        Subject::Ready(ready) => Some(ready.claim_request.key),
        Subject::Ended(_) => None,
    }
}

impl Queues {
    /// At most `most_replayed` replayed records are handed out at a time.
    pub(crate) fn new(most_replayed: usize) -> Self {
        Self {
            live: VecDeque::new(),
            replayed: VecDeque::new(),
            due: VecDeque::new(),
            parked: VecDeque::new(),
            live_next: false,
            last_place: 0,
            under_way: HashMap::new(),
            replayed_under_way: 0,
            most_replayed,
            behind: HashMap::new(),
        }
    }

    /// Sets how many replayed records are handed out at a time, from the next one on.
    pub(crate) fn set_most_replayed(&mut self, most: usize) {
        self.most_replayed = most;
    }

    fn of(&mut self, delivery: &Delivery) -> &mut VecDeque<Box<Delivery>> {
        match delivery.topic_kind {
            TopicKind::Input if yields(delivery) => &mut self.replayed,
            TopicKind::Input => &mut self.live,
            TopicKind::Tier => &mut self.due,
            TopicKind::Parked => &mut self.parked,
        }
    }

    pub(crate) fn push(&mut self, mut delivery: Box<Delivery>) {
        self.last_place += 1;
        delivery.place = self.last_place;
        self.of(&delivery).push_back(delivery);
    }

    /// Puts a record back to the head of its queue, behind those at the head that came before it.
    fn put_back(&mut self, delivery: Box<Delivery>) {
        let queue = self.of(&delivery);
        let earlier = queue.iter().take_while(|other| other.place < delivery.place).count();
        queue.insert(earlier, delivery);
    }

    /// The next record for a permit. A copy that has to wait behind another takes no other record's turn.
    pub(crate) fn next(&mut self) -> Option<HandedOut> {
        self.next_of(|_| true)
    }

    /// The next record that fits, to share a permit.
    pub(crate) fn next_of(&mut self, fits: impl Fn(&Delivery) -> bool) -> Option<HandedOut> {
        self.hand_out(|queues| {
            queues.in_turn().find_map(|queue| {
                let at = queue.iter().take(LOOKED_AT).position(|delivery| fits(delivery))?;
                queue.remove(at)
            })
        })
    }

    /// The next record, if it fits. So no record is overtaken, except copies, which wait for no permit.
    pub(crate) fn next_if(&mut self, fits: impl Fn(&Delivery) -> bool) -> Option<HandedOut> {
        self.hand_out(|queues| {
            let next = queues.in_turn().find_map(|queue| queue.front())?;
            let (fits, key) = (fits(next), key_of(next));
            let is_copy = key.is_some_and(|key| queues.under_way.contains_key(&key));
            let queue = queues.in_turn().find(|queue| !queue.is_empty())?;
            if fits || is_copy { queue.pop_front() } else { None }
        })
    }

    fn hand_out(&mut self, mut pop: impl FnMut(&mut Self) -> Option<Box<Delivery>>) -> Option<HandedOut> {
        loop {
            let delivery = pop(self)?;
            let key = key_of(&delivery);
            let Some(behind) = key.filter(|key| self.under_way.contains_key(key)) else {
                if let Some(key) = key {
                    self.under_way.insert(key, yields(&delivery));
                    self.replayed_under_way += usize::from(yields(&delivery));
                }
                self.live_next = !self.live_next;
                return Some((delivery, key));
            };
            self.behind.entry(behind).or_default().push_back(delivery);
        }
    }

    /// The queues, in the order in which they are asked for the next record.
    fn in_turn(&mut self) -> impl Iterator<Item = &mut VecDeque<Box<Delivery>>> {
        let Self { live, replayed, due, parked, live_next, replayed_under_way, most_replayed, .. } = self;
        let may_replay = live.is_empty() && *replayed_under_way < *most_replayed;
        let first = if *live_next { [live, due, parked] } else { [due, parked, live] };
        first.into_iter().chain(may_replay.then_some(replayed))
    }

    /// Ends a record that was handed out: it is settled, or goes `back` to the head. Then its copies come next, one at
    /// a time.
    pub(crate) fn ended(&mut self, key: Option<Key>, back: Option<Box<Delivery>>) {
        if let Some(key) = key {
            self.replayed_under_way -= usize::from(self.under_way.remove(&key) == Some(true));
            if back.is_none() {
                self.put_forward(key);
            }
        }
        if let Some(delivery) = back {
            self.put_back(delivery);
        }
    }

    /// Moves the first copy of a conversion that is not handed out to the head of its queue. The others stay behind it.
    /// A replayed copy is the first only if there is no other, because it may wait for long.
    fn put_forward(&mut self, key: Key) {
        let Some(copies) = self.behind.get_mut(&key) else { return };
        let copy = copies.remove(copies.iter().position(|copy| !yields(copy)).unwrap_or(0));
        if copies.is_empty() {
            self.behind.remove(&key);
        }
        if let Some(copy) = copy {
            self.of(&copy).push_front(copy);
        }
    }

    /// Called after records were removed, because the copy that others wait behind may have been one of them.
    fn put_all_forward(&mut self) {
        self.behind.retain(|_, copies| !copies.is_empty());
        let orphans: Vec<_> = self.behind.keys().filter(|key| !self.under_way.contains_key(*key)).copied().collect();
        orphans.into_iter().for_each(|key| self.put_forward(key));
    }

    /// Takes all records from input topics.
    #[expect(clippy::vec_box, reason = "they stay boxed on their way: moving a delivery is moving a pointer")]
    pub(crate) fn take_live(&mut self) -> Vec<Box<Delivery>> {
        let mut out: Vec<_> = self.live.drain(..).chain(self.replayed.drain(..)).collect();
        for copies in self.behind.values_mut() {
            take_some(copies, &mut out, |delivery| delivery.topic_kind == TopicKind::Input);
        }
        self.put_all_forward();
        out
    }

    #[expect(clippy::vec_box, reason = "they stay boxed on their way: moving a delivery is moving a pointer")]
    pub(crate) fn take_out(&mut self, why: impl Fn(&Delivery) -> Option<DeliveryError>) -> Vec<Box<Delivery>> {
        self.take_if(|delivery| why(delivery).is_some())
    }

    /// Takes the records that `is_taken` names.
    #[expect(clippy::vec_box, reason = "they stay boxed on their way: moving a delivery is moving a pointer")]
    pub(crate) fn take_if(&mut self, is_taken: impl Fn(&Delivery) -> bool) -> Vec<Box<Delivery>> {
        let mut out = Vec::new();
        let queues = [&mut self.live, &mut self.replayed, &mut self.due, &mut self.parked];
        for queue in queues.into_iter().chain(self.behind.values_mut()) {
            take_some(queue, &mut out, &is_taken);
        }
        self.put_all_forward();
        out
    }
}

/// Moves the records that `is_taken` names out of a queue, in order.
#[expect(clippy::vec_box, reason = "they stay boxed on their way: moving a delivery is moving a pointer")]
fn take_some(queue: &mut VecDeque<Box<Delivery>>, out: &mut Vec<Box<Delivery>>, is_taken: impl Fn(&Delivery) -> bool) {
    let mut kept = VecDeque::with_capacity(queue.len());
    for delivery in queue.drain(..) {
        if is_taken(&delivery) {
            out.push(delivery);
        } else {
            kept.push_back(delivery);
        }
    }
    *queue = kept;
}

#[cfg(test)]
mod tests;
