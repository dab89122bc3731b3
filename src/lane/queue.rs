//! The records that wait for a lane's permits.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::claim::rules::Key;
use crate::delivery::{Delivery, Subject, TopicKind};
use crate::error::DeliveryError;

/// Live records and released ones, which take turns: released work gets every second permit while there is any. Of the
/// released records those from tiers come first, because they are due, and a parking backlog may be long. Only one copy
/// of a conversion holds a permit at a time.
#[derive(Default)]
pub(crate) struct Queues {
    live: VecDeque<Box<Delivery>>,
    due: VecDeque<Box<Delivery>>,
    parked: VecDeque<Box<Delivery>>,
    live_next: bool,
    /// The place of the last record that was queued.
    last_place: u64,
    /// Conversions that were handed out and have not ended.
    under_way: HashSet<Key>,
    /// Copies of conversions that are handed out, or of which another copy is queued already. Such a copy would only
    /// hold a permit until the one before it has ended. No list here is empty.
    behind: HashMap<Key, VecDeque<Box<Delivery>>>,
}

/// A record that is handed out, with the key that [`Queues::ended`] needs.
pub(crate) type HandedOut = (Box<Delivery>, Option<Key>);

/// How many records of each queue are searched for one that fits to a batch.
const LOOKED_AT: usize = 256;

fn key_of(delivery: &Delivery) -> Option<Key> {
    match &delivery.subject {
        Subject::Ready(ready) => Some(ready.claim_request.key),
        Subject::Ended(_) => None,
    }
}

impl Queues {
    fn of(&mut self, delivery: &Delivery) -> &mut VecDeque<Box<Delivery>> {
        match delivery.topic_kind {
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
            queues.in_turn().into_iter().find_map(|queue| {
                let at = queue.iter().take(LOOKED_AT).position(|delivery| fits(delivery))?;
                queue.remove(at)
            })
        })
    }

    /// The next record, if it fits. So no record is overtaken, except copies, which wait for no permit.
    pub(crate) fn next_if(&mut self, fits: impl Fn(&Delivery) -> bool) -> Option<HandedOut> {
        self.hand_out(|queues| {
            let next = queues.in_turn().into_iter().find_map(|queue| queue.front())?;
            let (fits, key) = (fits(next), key_of(next));
            let is_copy = key.is_some_and(|key| queues.under_way.contains(&key));
            let queue = queues.in_turn().into_iter().find(|queue| !queue.is_empty())?;
            if fits || is_copy { queue.pop_front() } else { None }
        })
    }

    fn hand_out(&mut self, mut pop: impl FnMut(&mut Self) -> Option<Box<Delivery>>) -> Option<HandedOut> {
        loop {
            let delivery = pop(self)?;
            let key = key_of(&delivery);
            let Some(behind) = key.filter(|key| !self.under_way.insert(*key)) else {
                self.live_next = !self.live_next;
                return Some((delivery, key));
            };
            self.behind.entry(behind).or_default().push_back(delivery);
        }
    }

    /// The queues, in the order in which they are asked for the next record.
    fn in_turn(&mut self) -> [&mut VecDeque<Box<Delivery>>; 3] {
        let Self { live, due, parked, live_next, .. } = self;
        if *live_next { [live, due, parked] } else { [due, parked, live] }
    }

    /// Ends a record that was handed out: it is settled, or goes `back` to the head. Then its copies come next, one at
    /// a time.
    pub(crate) fn ended(&mut self, key: Option<Key>, back: Option<Box<Delivery>>) {
        if let Some(key) = key {
            self.under_way.remove(&key);
            if back.is_none() {
                self.put_forward(key);
            }
        }
        if let Some(delivery) = back {
            self.put_back(delivery);
        }
    }

    /// Moves the first copy of a conversion that is not handed out to the head of its queue. The others stay behind it.
    fn put_forward(&mut self, key: Key) {
        let Some(copies) = self.behind.get_mut(&key) else { return };
        let copy = copies.pop_front();
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
        let orphans: Vec<_> = self.behind.keys().filter(|key| !self.under_way.contains(*key)).copied().collect();
        orphans.into_iter().for_each(|key| self.put_forward(key));
    }

    /// Takes all live records.
    #[expect(clippy::vec_box, reason = "they stay boxed on their way: moving a delivery is moving a pointer")]
    pub(crate) fn take_live(&mut self) -> Vec<Box<Delivery>> {
        let mut out: Vec<_> = self.live.drain(..).collect();
        for copies in self.behind.values_mut() {
            take_some(copies, &mut out, |delivery| delivery.topic_kind == TopicKind::Input);
        }
        self.put_all_forward();
        out
    }

    #[expect(clippy::vec_box, reason = "they stay boxed on their way: moving a delivery is moving a pointer")]
    pub(crate) fn take_out(&mut self, why: impl Fn(&Delivery) -> Option<DeliveryError>) -> Vec<Box<Delivery>> {
        let mut out = Vec::new();
        for queue in [&mut self.live, &mut self.due, &mut self.parked].into_iter().chain(self.behind.values_mut()) {
            take_some(queue, &mut out, |delivery| why(delivery).is_some());
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
mod tests {
    use super::*;
    use crate::delivery::progress::AckHandle;
    use crate::stub::bench::Alone;

    struct World {
        alone: Alone,
        queues: Queues,
    }

    impl World {
        fn new(queued: &[(TopicKind, &str)]) -> Self {
            let mut world = Self { alone: Alone::new(|_| {}), queues: Queues::default() };
            queued.iter().for_each(|(topic_kind, id)| world.push(*topic_kind, id));
            world
        }

        fn push(&mut self, topic_kind: TopicKind, trans_id: &str) {
            let (mut delivery, _) = self.alone.delivery(topic_kind, trans_id);
            let assignment = delivery.ack.assignment().clone();
            // No test waits for its end.
            assignment.set_gone();
            delivery.ack = AckHandle::stub(assignment, 0).0;
            self.queues.push(delivery);
        }

        fn next(&mut self) -> Option<(String, Option<Key>)> {
            let (delivery, key) = self.queues.next()?;
            Some((trans_id(&delivery), key))
        }
    }

    fn trans_id(delivery: &Delivery) -> String {
        let Subject::Ready(ready) = &delivery.subject else { panic!("it ended at admission") };
        ready.trans_id.to_string()
    }

    #[test]
    fn copies_of_what_is_under_way_take_no_turn_of_others() {
        let live = ["k", "k", "k", "a", "b"].map(|id| (TopicKind::Input, id));
        let due = ["x", "y", "z"].map(|id| (TopicKind::Tier, id));
        let mut world = World::new(&[&live[..], &due[..]].concat());
        let order: Vec<_> = std::iter::from_fn(|| world.next()).map(|(id, _)| id).collect();
        assert_eq!(order, ["x", "k", "y", "a", "z", "b"]);
    }

    #[test]
    fn as_one_copy_ends_the_next_one_alone_is_moved() {
        let mut world = World::new(&[(TopicKind::Input, "k"); 100]);
        world.push(TopicKind::Input, "a");
        let (_, mut key) = world.next().unwrap();
        assert_eq!(world.next().unwrap().0, "a");
        assert!(world.next().is_none());
        for left in (0..99).rev() {
            world.queues.ended(key, None);
            assert_eq!(world.queues.live.len(), 1);
            let next = world.next().unwrap();
            assert_eq!(next.0, "k");
            key = next.1;
            assert_eq!(world.queues.behind.values().map(VecDeque::len).sum::<usize>(), left);
        }
        world.queues.ended(key, None);
        assert!(world.next().is_none() && world.queues.behind.is_empty() && world.queues.under_way.len() == 1);
    }

    #[test]
    fn what_goes_back_to_the_head_is_before_its_copies() {
        let mut world = World::new(&[(TopicKind::Input, "k"); 3]);
        let (first, key) = world.queues.next().unwrap();
        assert!(world.next().is_none());
        let address = std::ptr::from_ref(&*first);
        world.queues.ended(key, Some(first));
        let (again, key) = world.queues.next().unwrap();
        assert_eq!(std::ptr::from_ref(&*again), address);
        assert!(world.next().is_none());
        for _ in 0..2 {
            world.queues.ended(key, None);
            assert_eq!(world.next().map(|(id, _)| id).as_deref(), Some("k"));
        }
    }

    #[test]
    fn what_goes_back_to_the_head_is_in_the_order_in_which_it_came() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut world = World::new(&["a", "b", "c", "d"].map(|id| (TopicKind::Input, id)));
            let mut out: Vec<_> = (0..3).map(|_| world.queues.next()).collect();
            for n in order {
                let (delivery, key) = out[n].take().unwrap();
                world.queues.ended(key, Some(delivery));
            }
            let ids: Vec<_> = std::iter::from_fn(|| world.next()).map(|(id, _)| id).collect();
            assert_eq!(ids, ["a", "b", "c", "d"], "{order:?}");
        }
    }

    #[test]
    fn copies_are_handed_out_though_the_one_before_them_was_taken_out() {
        for all_live in [true, false] {
            let mut world = World::new(&[
                (TopicKind::Input, "k"),
                (TopicKind::Input, "k"),
                (TopicKind::Tier, "k"),
                (TopicKind::Tier, "k"),
            ]);
            let (_, key) = world.next().unwrap();
            assert!(world.next().is_none());
            world.queues.ended(key, None);
            // One waits for its permit, and the others behind it.
            let taken = if all_live {
                world.queues.take_live()
            } else {
                world.queues.take_out(|d| (d.topic_kind == TopicKind::Input).then_some(DeliveryError::Closed))
            };
            assert!(!taken.is_empty() && taken.iter().all(|d| d.topic_kind == TopicKind::Input));
            for _ in 0..3 - taken.len() {
                let (_, key) = world.next().expect("one is lost");
                world.queues.ended(key, None);
            }
            assert!(world.next().is_none());
        }
    }
}
