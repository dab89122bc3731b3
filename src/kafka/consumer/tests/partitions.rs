//! Tests how partitions are owned, drained and forgotten, without a client.

use std::time::Instant;

use super::super::begin;
use super::super::known_ids::KnownIds;
use super::super::partition::{Next, State};
use super::super::partitions::Partitions;
use super::super::start_decision::{Begin, Found, StartDecision};
use super::*;
use crate::delivery::progress::Open;
use crate::kafka::native::TopicId;

type Owned = Partitions<Open>;

/// Takes `t/0` and reads it from offset 3 on. Returns its assignment.
fn read(owned: &mut Owned, probe: &mut Arc<Probe>) -> Arc<Assignment> {
    let assignment = owned.add("t", 0, State::Judging, probe);
    owned.begin(assignment.generation, Begin::at(3));
    assignment
}

fn receive(owned: &mut Owned, offset: i64) -> u64 {
    let partition = owned.reading_mut("t", 0).unwrap();
    partition.progress.receive(offset, None, Arc::new(Open::received(0))).unwrap()
}

#[test]
fn a_partition_that_is_given_again_takes_the_place_of_its_older_assignment() {
    let (mut owned, mut probe) = (Owned::default(), Probe::holding());
    let older = read(&mut owned, &mut probe);
    receive(&mut owned, 3);
    let newer = owned.add("t", 0, State::Judging, &mut probe);
    assert!(older.is_gone() && !newer.is_leaving() && Arc::ptr_eq(&older.topic, &newer.topic));
    assert_eq!((owned.len(), owned.generation("t", 0)), (1, Some(newer.generation)));
    assert_eq!((probe.count(&probe.left), probe.count(&probe.returned)), (1, 1));
    owned.forget(older.generation, &mut probe);
    assert_eq!(owned.generations(&[("t".into(), 0), ("t".into(), 1)]), [newer.generation]);
    owned.forget(newer.generation, &mut probe);
    assert_eq!((owned.len(), owned.generation("t", 0)), (0, None));
}

#[test]
fn a_partition_that_turns_is_due_once_its_work_has_ended_and_no_revocation_waits_for_its_answer() {
    let (mut owned, mut probe) = (Owned::default(), Probe::holding());
    let assignment = read(&mut owned, &mut probe);
    let (generation, now) = (assignment.generation, Instant::now());
    let deadline = now + Duration::from_secs(5);
    let seq = receive(&mut owned, 3);
    assert!(owned.due(now, false).is_empty() && !owned.is_moving());
    owned.turn(generation, Next::Reread, deadline, &mut probe);
    owned.turn(generation, Next::Rewind(0), now, &mut probe);
    let turning = owned.get(generation).unwrap();
    assert!(matches!(turning.state, State::Turning(at, Next::Reread) if at == deadline), "the first one counts");
    assert!(owned.is_moving() && owned.pauses_changed && assignment.is_leaving() && !assignment.is_gone());
    assert!(owned.reading_mut("t", 0).is_none(), "no record is taken");
    assert_eq!((owned.pending(&[generation]), owned.due(now, false)), (1, vec![]));
    assert_eq!(owned.due(deadline, false), [generation], "its time is over");
    assert!(!owned.finish(generation, seq, End::Finished(Outcome::Delivered), &mut probe));
    assert_eq!([owned.due(now, true), owned.due(now, false)], [vec![], vec![generation]]);
    assert_eq!((probe.count(&probe.left), probe.count(&probe.completed)), (1, 1));
}

#[test]
fn a_record_that_nobody_holds_any_more_is_read_again_and_one_of_an_older_assignment_is_ignored() {
    let (mut owned, mut probe) = (Owned::default(), Probe::holding());
    let assignment = read(&mut owned, &mut probe);
    let seqs = [receive(&mut owned, 3), receive(&mut owned, 4)];
    assert!(owned.finish(assignment.generation, seqs[0], End::Lost, &mut probe));
    assert_eq!(owned.pending(&[assignment.generation]), 1);
    read(&mut owned, &mut probe);
    for end in [End::Lost, End::Finished(Outcome::Delivered)] {
        assert!(!owned.finish(assignment.generation, seqs[1], end, &mut probe));
    }
    assert_eq!((probe.count(&probe.completed), probe.count(&probe.returned)), (0, 2));
}

#[test]
fn a_decision_that_was_put_off_is_due_at_its_time() {
    let (mut owned, mut probe) = (Owned::default(), Probe::holding());
    let generation = owned.add("t", 0, State::Judging, &mut probe).generation;
    let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
    assert!(owned.is_moving() && owned.due(later, false).is_empty());
    owned.defer(generation, later, StartDecision::Start(Begin::at(3)));
    assert!(!owned.is_moving(), "its time is known");
    assert_eq!([owned.due(now, false), owned.due(later, true)], [vec![], vec![generation]]);
}

#[test]
fn what_is_found_is_noted_and_a_partition_without_a_sound_position_is_parked() {
    let (mut owned, mut probe) = (Owned::default(), Probe::holding());
    let mut ids = KnownIds::new(Instant::now());
    let mut generation = |n| owned.add("t", n, State::Judging, &mut probe).generation;
    let (sound, lost) = (generation(0), generation(1));
    let found =
        |generation, decision, remade| Found { generation, decision, topic_id: TopicId::new("id"), remade, own: None };
    let parked = Parked { why: "lost", committed: Some(9), low: 2, high: 7 };
    let all = vec![
        found(sound, StartDecision::Start(Begin::at(2)), true),
        found(lost, StartDecision::Park(parked.clone()), false),
        found(u64::MAX, StartDecision::Start(Begin::at(0)), false),
    ];
    assert_eq!(begin::note(all, &mut owned, &mut ids), [(sound, Begin::at(2))]);
    let [sound, lost] = [sound, lost].map(|generation| owned.get(generation).unwrap());
    assert_eq!((sound.group.committed(), sound.topic.id().cloned()), (Some(2), TopicId::new("id")));
    assert!(sound.topic.remade_ms().is_some() && ids.remade_ms("t") == sound.topic.remade_ms());
    assert!(matches!(&lost.state, State::Parked(why) if *why == parked));
    assert_eq!((lost.group.committed(), lost.end.high()), (Some(9), Some(7)));
}
