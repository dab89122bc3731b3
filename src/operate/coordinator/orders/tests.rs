//! Tests orders against the embedded store, with a consumer that only records what it receives.

use std::sync::Arc;

use super::*;
use crate::delivery::progress::{ConsumerHandle, ConsumerView, Snapshot};
use crate::kafka::consumer::Parked;
use crate::operate::By;
use crate::operate::audit::Via;
use crate::operate::coordinator::tests::World;

/// The owner of `t/0`, which is parked or flows.
struct Owner {
    view: Arc<ConsumerView>,
    orders: Box<dyn FnMut() -> Vec<UnblockOrder>>,
}

impl Owner {
    fn new(world: &mut World) -> Self {
        let (handle, orders) = ConsumerHandle::stub();
        let view = Arc::new(ConsumerView::default());
        world.coordinator.consumers = vec![Watched { name: "intake", view: view.clone(), handle: Arc::new(handle) }];
        let owner = Self { view, orders: Box::new(orders) };
        owner.shows(None);
        owner
    }

    fn shows(&self, position: Option<i64>) {
        let parked = Parked { why: "lost", committed: None, low: 5, high: 20 };
        let partition = PartitionView {
            topic: "t".into(),
            partition: 0,
            generation: 1,
            frontier: position,
            committed: position,
            position,
            high: Some(20),
            lag_records: None,
            lag_seconds: None,
            commit_age_seconds: 0.0,
            oldest: None,
            parked: position.is_none().then_some(parked),
            window_full: false,
            unfinished: 0,
            remade_ms: None,
            position_lost_ms: None,
            own: None,
        };
        self.view.set(Snapshot { partitions: vec![partition], ..Snapshot::default() });
    }

    fn told(&mut self) -> Vec<String> {
        (self.orders)().iter().map(|order| format!("{:?}", order.to)).collect()
    }
}

async fn order(world: &mut World, to: Target, at_ms: i64) {
    let (place, by) = (Place { topic: "t".into(), partition: 0 }, By::new(Via::Cli, "li", "r"));
    orders::give_order(&mut world.connection, &world.coordinator.keys, &place, to, &by, at_ms).await.unwrap();
}

async fn stands(world: &mut World) -> usize {
    orders::read_orders(&mut world.connection, &world.coordinator.keys).await.unwrap().len()
}

#[tokio::test]
async fn an_order_stands_until_its_partition_flows_so_that_one_half_done_is_done_again() {
    let mut world = World::new().await;
    world.set_epoch("e1").await;
    let mut first = Owner::new(&mut world);
    order(&mut world, Target::Offset(7), 1).await;
    for told in [vec!["At(7)"], vec![]] {
        world.look().await;
        assert_eq!((first.told(), stands(&mut world).await), (told.iter().map(|t| (*t).to_owned()).collect(), 1));
    }
    let unplaced = || world.coordinator.unplaced.lock().unwrap().contains(&("t".to_owned(), 0));
    assert!(unplaced(), "not placed before it flows: its next owner must not take it for a new one");
    // The owner dies. The next owner finds the partition parked, and the order still there.
    world.memory.orders.clear();
    let mut next = Owner::new(&mut world);
    world.look().await;
    assert_eq!(next.told(), ["At(7)"]);
    next.shows(Some(7));
    world.look().await;
    assert_eq!((next.told().len(), stands(&mut world).await), (0, 0));
    let left = orders::read_unplaced(&mut world.connection, &world.coordinator.keys).await.unwrap();
    assert!(left.is_empty());
    // An order for a partition that flows is dropped.
    order(&mut world, Target::Earliest, 2).await;
    world.look().await;
    assert_eq!((next.told().len(), stands(&mut world).await), (0, 0));
}

#[tokio::test]
async fn a_newer_order_is_carried_out_after_the_one_before_it_and_one_that_cannot_be_is_dropped() {
    let mut world = World::new().await;
    world.set_epoch("e1").await;
    let mut owner = Owner::new(&mut world);
    order(&mut world, Target::Offset(4), 1).await;
    world.look().await;
    assert_eq!((owner.told().len(), stands(&mut world).await), (0, 0), "it begins at 5");
    order(&mut world, Target::Offset(7), 2).await;
    world.look().await;
    order(&mut world, Target::Latest, 3).await;
    world.look().await;
    assert_eq!(owner.told(), ["At(7)"], "the first is under way");
    owner.shows(Some(7));
    for told in [vec!["Latest"], vec![]] {
        world.look().await;
        assert_eq!(owner.told(), told);
    }
    assert_eq!(stands(&mut world).await, 0);
    // The broker was away, so the order is given again after a while.
    owner.shows(None);
    order(&mut world, Target::Earliest, 4).await;
    for (told, is_long_ago) in [(vec!["Earliest"], true), (vec!["Earliest"], false), (vec![], false)] {
        world.look().await;
        assert_eq!(owner.told(), told);
        let Some(long_ago) = Instant::now().checked_sub(AGAIN) else { return };
        world.memory.orders.values_mut().filter(|_| is_long_ago).for_each(|(_, at)| *at = long_ago);
    }
}
