//! Records that are refused for reasons of their own: they go behind the others, and halt their account seldom.

use super::*;
use crate::delivery::Refused;
use crate::redelivery::parked::rest;

impl World {
    /// Lets one record be tried, although the account is halted.
    fn grant(&self) {
        let halt = self.lane.switches.present().halted.unwrap();
        self.lane.halt_probe().grant(tokio::time::Instant::now() + Duration::from_secs(30), &halt);
    }

    /// The one record that is let go now.
    fn let_go(&mut self) -> Option<Box<Delivery>> {
        self.look();
        let Ok(LaneMessage::Deliver(mut deliveries)) = self.inbox.try_recv() else { return None };
        assert_eq!(deliveries.len(), 1);
        deliveries.pop()
    }

    /// Gives a record back as the lane does after such answers.
    fn give_back(&mut self, mut delivery: Box<Delivery>, refused: Refused) {
        delivery.probe = None;
        delivery.refused = refused;
        self.waiting.admit(delivery, Instant::now());
    }
}

#[test]
fn after_a_probe_that_was_refused_the_next_one_is_another_record() {
    let mut world = World::new();
    world.lane.halt("errno 3");
    (0..3).for_each(|_| drop(world.receive(PARKED, 0, None, 1)));
    world.grant();
    let mut tried = Vec::new();
    for _ in 0..5 {
        let delivery = world.let_go().unwrap();
        tried.push(delivery.record.offset);
        let times = delivery.refused.times + 1;
        world.give_back(delivery, Refused { times, halted: 0 });
    }
    assert_eq!(tried, [0, 1, 2, 0, 1], "each has its turn, the oldest first");
    // What is read later was not refused yet.
    world.receive(PARKED, 0, None, 1);
    assert_eq!(world.let_go().unwrap().record.offset, 3);
    // The same holds where the platform is tried because its breaker is open or because it only throttles: the order is
    // that of the buffer.
    let order: Vec<_> = world.buffer(PARKED, 0).waiting.iter().map(|b| b.delivery.record.offset).collect();
    assert_eq!(order, [2, 0, 1]);
}

#[test]
fn a_record_that_halts_its_account_again_and_again_waits_longer_each_time_while_its_lane_is_open() {
    let mut world = World::new();
    (0..2).for_each(|_| drop(world.receive(PARKED, 0, None, 1)));
    let mut bad = world.let_go().unwrap();
    let every = world.lane.account().retry.halt_probe;
    assert!(!every.is_zero());
    for (halted, intervals) in
        [(0, None), (1, None), (2, Some(2)), (3, Some(4)), (4, Some(8)), (5, Some(12)), (99, Some(12))]
    {
        bad.refused = Refused { times: halted, halted };
        assert_eq!(rest(&bad), intervals.map(|n| every * n), "{halted}");
    }
    assert_eq!(world.let_go().unwrap().record.offset, 1);
    world.give_back(bad, Refused { times: 2, halted: 2 });
    assert!(world.let_go().is_none(), "it rests");
    let next = world.buffer(PARKED, 0).next.unwrap();
    assert!(next > Instant::now() + every && next <= Instant::now() + every * 2, "and nothing looks at it before");
    // Others do not wait for it, and while the account is halted it may be tried as any other.
    world.receive(PARKED, 0, None, 1);
    assert_eq!(world.let_go().unwrap().record.offset, 2);
    world.lane.halt("errno 3");
    world.grant();
    world.receive(PARKED, 0, None, 1);
    let other = world.let_go().unwrap();
    assert_eq!(other.record.offset, 3);
    world.give_back(other, Refused { times: 3, halted: 0 });
    assert_eq!(world.let_go().unwrap().record.offset, 0);
}
