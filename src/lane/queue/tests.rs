use super::*;
use crate::delivery::progress::AckHandle;
use crate::envelope::Replay;
use crate::stub::bench::Alone;

struct World {
    alone: Alone,
    queues: Queues,
}

impl World {
    fn new(queued: &[(TopicKind, &str)]) -> Self {
        let mut world = Self { alone: Alone::new(|_| {}), queues: Queues::new(2) };
        queued.iter().for_each(|(topic_kind, id)| world.push(*topic_kind, id));
        world
    }

    fn push(&mut self, topic_kind: TopicKind, trans_id: &str) {
        let (mut delivery, _) = self.alone.delivery(topic_kind, trans_id);
        if trans_id.starts_with("again-") {
            delivery.envelope.replay = Some(Replay { id: "r".into(), replays: 1, force: false });
        }
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

#[test]
fn a_replayed_record_is_handed_out_only_while_no_live_one_waits_and_leaves_permits_to_those_that_come() {
    let mut world = World::new(&[
        (TopicKind::Input, "again-1"),
        (TopicKind::Input, "again-2"),
        (TopicKind::Input, "again-3"),
        (TopicKind::Input, "a"),
        (TopicKind::Parked, "p"),
        (TopicKind::Tier, "again-tier"),
        (TopicKind::Input, "b"),
    ]);
    let mut out = Vec::new();
    while let Some(next) = world.next() {
        out.push(next);
    }
    let ids: Vec<_> = out.iter().map(|(id, _)| &**id).collect();
    assert_eq!(ids, ["again-tier", "a", "p", "b", "again-1", "again-2"], "two at a time");
    world.push(TopicKind::Input, "c");
    world.queues.ended(out.pop().unwrap().1, None);
    assert_eq!(world.next().unwrap().0, "c", "who arrives live comes first");
    assert_eq!(world.next().unwrap().0, "again-3");
    assert!(world.next().is_none());
    world.queues.ended(out.pop().unwrap().1, None);
    world.push(TopicKind::Input, "again-4");
    let (four, key) = world.queues.next().unwrap();
    world.queues.ended(key, Some(four));
    assert_eq!(world.next().unwrap().0, "again-4", "what went back to its head");
}

#[test]
fn a_live_copy_never_waits_behind_a_replayed_one_that_has_no_permit() {
    let mut world = World::new(&[(TopicKind::Input, "k")]);
    let (_, key) = world.next().unwrap();
    for replayed in [true, false] {
        let (mut copy, _) = world.alone.delivery(TopicKind::Input, "k");
        copy.ack.assignment().set_gone();
        copy.envelope.replay = replayed.then(|| Replay { id: "r".into(), replays: 1, force: false });
        world.queues.push(copy);
    }
    world.push(TopicKind::Input, "a");
    assert_eq!(world.next().unwrap().0, "a");
    assert!(world.next().is_none(), "both wait behind the first");
    world.queues.ended(key, None);
    world.push(TopicKind::Input, "b");
    let (copy, key) = world.queues.next().unwrap();
    assert!(trans_id(&copy) == "k" && !copy.is_replayed());
    world.queues.ended(key, None);
    assert_eq!(world.next().unwrap().0, "b");
    let (copy, _) = world.queues.next().unwrap();
    assert!(trans_id(&copy) == "k" && copy.is_replayed());
}

#[test]
fn a_batch_is_filled_with_replayed_records_only_while_no_live_one_waits() {
    let fits = |delivery: &Delivery| trans_id(delivery).starts_with("again");
    let mut world = World::new(&[(TopicKind::Input, "again-1"), (TopicKind::Input, "a")]);
    assert!(world.queues.next_of(fits).is_none() && world.queues.next_if(fits).is_none());
    assert_eq!(world.next().unwrap().0, "a");
    assert!(world.queues.next_if(fits).is_some());
}

#[test]
fn what_is_parked_of_a_lane_takes_its_replayed_records_along() {
    let queued = [(TopicKind::Input, "again-1"), (TopicKind::Input, "a"), (TopicKind::Tier, "t")];
    let ids = |taken: Vec<Box<Delivery>>| taken.iter().map(|d| trans_id(d)).collect::<Vec<_>>();
    assert_eq!(ids(World::new(&queued).queues.take_live()), ["a", "again-1"]);
    let closed = |_: &Delivery| Some(DeliveryError::Closed);
    assert_eq!(ids(World::new(&queued).queues.take_out(closed)), ["a", "again-1", "t"]);
}
