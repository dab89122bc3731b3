//! A leader is lost together with records that nobody else had, and another replica leads without them.

use crate::support::event::Event;
use crate::support::kafka::Cluster;
use crate::support::platform::Platform;
use crate::support::world::{Setup, World};
use crate::support::{eventually, secs};

const PARTITION: Option<i32> = Some(0);

fn publish(w: &mut World, n: usize) -> Vec<Event> {
    let events = w.make.orders("acme-ps", n);
    w.publish_at(events.clone(), None, PARTITION);
    events
}

fn cluster(w: &mut World) -> &mut Cluster {
    w.cluster.as_mut().unwrap()
}

/// The log is cut below the worker's position and has grown past it when the worker sees it again, so that only the
/// leader epochs tell that its records are others. Once for a worker that stood still meanwhile, once for one that
/// starts after it.
#[test]
fn records_that_take_the_place_of_others_after_an_unclean_election_are_read() {
    let mut w = World::with("election", Setup { brokers: 3, partitions: 1, ..Setup::default() });
    let account = w.account("acme-ps", Platform::Qihoo360);
    // The third broker keeps a majority of the controllers, whichever of the other two is away.
    let settings = [("unclean.leader.election.enable", "true"), ("min.insync.replicas", "1")];
    w.create_input_on(&[1, 2], &settings);
    let input = w.topic("conversions");
    let in_sync = |w: &World, brokers: &[i32]| w.admin.leader_and_in_sync(&input, 0).1 == brokers;
    let mut worker = w.started();
    let mut all = publish(&mut w, 20);
    let delivered = |n: usize| eventually(secs(60), &format!("{n} are delivered"), || account.executed() >= n);
    delivered(20);

    for restarts in [false, true] {
        eventually(secs(60), "both replicas are in sync", || in_sync(&w, &[1, 2]));
        let (leader, _) = w.admin.leader_and_in_sync(&input, 0);
        let other = if leader == 1 { 2 } else { 1 };
        let (leader_at, other_at) = (leader as usize - 1, other as usize - 1);
        let before = w.admin.ends(&input)[&0];

        cluster(&mut w).kill_one(other_at);
        eventually(secs(60), "the leader is alone", || in_sync(&w, &[leader]));
        all.extend(publish(&mut w, 10));
        delivered(all.len());
        let position = before + 10;
        let group = w.group();
        let committed = |w: &World| w.admin.committed(&group, &input).and_then(|c| c.get(&0).copied());
        eventually(secs(60), "the position is committed", || committed(&w) == Some(position));
        if restarts {
            worker.stop();
        } else {
            worker.freeze();
        }

        cluster(&mut w).kill_one(leader_at);
        cluster(&mut w).start_one(other_at);
        eventually(secs(90), "the other replica leads", || w.admin.leader_and_in_sync(&input, 0).0 == other);
        assert_eq!(w.admin.ends(&input)[&0], before, "it has what the leader alone had");
        w.renew_publisher();
        all.extend(publish(&mut w, 30));
        assert!(w.admin.ends(&input)[&0] > position);
        cluster(&mut w).start_one(leader_at);
        if restarts {
            worker.start();
        } else {
            worker.thaw();
        }
        delivered(all.len());
        let end = before + 30;
        eventually(secs(60), "the end is committed", || committed(&w) == Some(end));
    }

    for event in &all {
        assert_eq!(account.requests_about(event.ident()).len(), 1, "{}", event.trans_id());
    }
    let told = worker.log().matches("the log was cut below the position at an election").count();
    assert!(told >= 1, "{}", worker.log());
    assert!(worker.alive());
}
