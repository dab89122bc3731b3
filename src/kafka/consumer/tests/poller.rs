//! Tests how the polling thread handles answers, without its loop.

use std::sync::mpsc::channel;
use std::time::Instant;

use super::super::context::{Context, Event};
use super::super::marks::Marks;
use super::super::partition::Partition;
use super::super::poller::Poller;
use super::super::start_decision::{Begin, Found, StartDecision, Surveyed};
use super::*;
use crate::delivery::progress::{ConsumerView, Open};
use crate::kafka::native::{TopicId, TopicIds};
use crate::kafka::offsets::NextOffset;

/// The poller of a member that owns `t/0` and `t/1`, both of which are being judged.
fn poller(mock: &Mock) -> Poller<Arc<Probe>> {
    let settings = mock::settings(&mock.config(), Kind::Input, "t");
    // It joins no group, so nobody has to poll it.
    let client = Arc::new(settings.client.create_with_context(Context::new("test")).unwrap());
    let marks = Arc::new(Marks::new("test", &settings.client).unwrap());
    let (sender, commands) = channel();
    let view = Arc::new(ConsumerView::default());
    let mut poller = Poller::new("test", (client, marks), settings, Probe::holding(), commands, sender, view);
    poller.event(Event::Assigned(vec![("t".into(), 0), ("t".into(), 1)]));
    poller
}

fn owned(poller: &mut Poller<Arc<Probe>>, partition: i32) -> &mut Partition<Open> {
    poller.partitions.iter_mut().find(|owned| owned.assignment.partition == partition).unwrap()
}

fn find(poller: &mut Poller<Arc<Probe>>, partition: i32, id: &str) {
    let generation = owned(poller, partition).assignment.generation;
    let decision = StartDecision::Start(Begin::at(0));
    poller.found(vec![Found { generation, decision, topic_id: TopicId::new(id), remade: false, own: None }]);
}

/// A partition that was given to this member may be judged before the ids are checked.
#[test]
fn a_topic_that_is_another_one_than_the_client_has_met_is_read_by_a_new_client() {
    let mock = Mock::new(&[("t", 2)]);
    let mut poller = poller(&mock);
    find(&mut poller, 0, "old");
    assert!(!poller.drains.is_stopping() && !owned(&mut poller, 0).topic.is_void());
    find(&mut poller, 1, "new");
    assert!(poller.drains.is_renewing());
    assert!(owned(&mut poller, 0).topic.is_void(), "its position is none of the new topic");
    assert_eq!(
        (owned(&mut poller, 1).progress.position(), owned(&mut poller, 1).topic.id().cloned()),
        (None, None),
        "it is looked at anew"
    );

    let mut same = self::poller(&mock);
    find(&mut same, 0, "new");
    find(&mut same, 1, "new");
    // The answer to an earlier client says nothing about the topics of this one.
    same.client.queries.client_number = 1;
    let tell = |same: &mut Poller<_>, number| {
        let ids = TopicIds::from([("t".to_owned(), TopicId::new("old"))]);
        same.client.queries.sender.send(Command::Identified(number, ids)).unwrap();
        same.take_commands();
    };
    tell(&mut same, 0);
    assert!(!same.drains.is_stopping() && !owned(&mut same, 0).topic.is_void());
    tell(&mut same, 1);
    assert!(same.drains.is_stopping() && owned(&mut same, 0).topic.is_void());
}

/// The broker would accept the commit: it checks who commits, and not who owns the partition.
#[test]
fn an_order_for_a_partition_that_is_leaving_commits_nothing() {
    let mock = Mock::new(&[("t", 2)]);
    mock.produce("t", 0, 3);
    let mut poller = poller(&mock);
    let assignment = owned(&mut poller, 0).assignment.clone();
    let order = |to| {
        poller.client.queries.order(&assignment, UnblockTo::At(to), None);
        mock.committed("t", 0)
    };
    assert_eq!(order(1), Some(1));
    assignment.set_leaving();
    assert_eq!(order(3), Some(1));
}

#[test]
fn while_no_commit_is_confirmed_nothing_of_a_partition_that_comes_then_is_sent() {
    let mock = Mock::new(&[("t", 3)]);
    let mut poller = poller(&mock);
    let now = Instant::now();
    owned(&mut poller, 0).group.stored(NextOffset::new(1), now);
    let judge = |poller: &mut Poller<_>, seconds| {
        poller.commits.judge(&poller.partitions, "test", now + Duration::from_secs(seconds));
    };
    // The session lasts ten seconds.
    judge(&mut poller, 60);
    poller.event(Event::Assigned(vec![("t".into(), 2)]));
    assert!([0, 2].into_iter().all(|n| owned(&mut poller, n).assignment.is_unconfirmed()));
    owned(&mut poller, 0).group.confirmed(1);
    judge(&mut poller, 61);
    assert!([0, 2].into_iter().all(|n| !owned(&mut poller, n).assignment.is_unconfirmed()));
}

/// The client has stopped reading one of its partitions, and reports it once.
#[test]
fn a_suspicion_stays_until_each_partition_has_its_answer() {
    let mock = Mock::new(&[("t", 2)]);
    let mut poller = poller(&mock);
    let owned = owned(&mut poller, 0);
    owned.begin(Begin::at(3));
    let generation = owned.assignment.generation;
    let survey = |ends| vec![Surveyed { generation, suspect: Some(3), committed: None, ends }];
    poller.surveyed(survey(None));
    assert!(std::mem::take(&mut poller.checks.surveys.suspicious), "nobody leads it at this moment");
    poller.checks.ends.probing = true;
    poller.surveyed(survey(Some((0, 9))));
    assert!(std::mem::take(&mut poller.checks.surveys.suspicious), "others are asked about at this moment");
    poller.checks.ends.probing = false;
    poller.surveyed(survey(Some((0, 9))));
    assert!(poller.checks.ends.probing && !poller.checks.surveys.suspicious);
}
