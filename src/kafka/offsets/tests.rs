use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::delivery::progress::Open;
use crate::kafka::consumer::Work as _;

fn open() -> Arc<Open> {
    Arc::new(Open::default())
}

#[test]
fn a_record_finished_out_of_order_holds_the_commit_back() {
    let mut tracker = OffsetTracker::new();
    let seqs: Vec<u64> = (5..9).map(|offset| tracker.receive(offset, open()).unwrap()).collect();
    assert_eq!(tracker.frontier(), Some(NextOffset::new(5)));
    for seq in [1, 2, 3] {
        tracker.finish(seqs[seq]).unwrap();
        assert_eq!(tracker.frontier(), Some(NextOffset::new(5)));
    }
    tracker.finish(seqs[0]).unwrap();
    assert_eq!(tracker.frontier(), Some(NextOffset::new(9)));
    assert!(tracker.is_empty());
}

#[test]
fn holes_between_offsets_are_not_waited_for() {
    let mut tracker = OffsetTracker::new();
    let seqs: Vec<u64> = [0, 2, 4, 6].map(|offset| tracker.receive(offset, open()).unwrap()).to_vec();
    for seq in [0, 1, 3, 2] {
        tracker.finish(seqs[seq]).unwrap();
    }
    assert_eq!(tracker.frontier(), Some(NextOffset::new(7)));
}

#[test]
fn an_offset_that_comes_twice_is_registered_once() {
    let mut tracker = OffsetTracker::new();
    let seq = tracker.receive(10, open()).unwrap();
    assert_eq!(tracker.receive(10, open()), None);
    tracker.finish(seq).unwrap();
    assert_eq!(tracker.receive(10, open()), None, "even after it was finished");
    assert!(tracker.finish(seq).is_none());
    assert_eq!(tracker.frontier(), Some(NextOffset::new(11)));
}

#[test]
fn a_tracker_tells_how_far_it_was_read_beyond_its_first_unfinished_record_and_what_is_far_behind() {
    let mut tracker = OffsetTracker::new();
    assert_eq!(tracker.span(), 0);
    // Offsets with holes; the span counts records.
    let seqs: Vec<u64> = (0..5_000).map(|n| tracker.receive(n * 3, open()).unwrap()).collect();
    for seq in seqs.iter().filter(|seq| ![1, 2, 4_000].contains(*seq)) {
        tracker.finish(*seq).unwrap();
    }
    assert_eq!((tracker.span(), tracker.len()), (4_999, 3), "however many finished ones were forgotten");
    let behind = |newer| tracker.behind(newer).count();
    assert_eq!(
        [behind(0), behind(999), behind(1_000), behind(4_997), behind(4_998), behind(9_000)],
        [3, 3, 2, 2, 1, 0]
    );
    tracker.finish(1).unwrap();
    tracker.finish(2).unwrap();
    assert_eq!(tracker.span(), 1_000);
    tracker.finish(4_000).unwrap();
    assert_eq!(tracker.span(), 0);
}

#[test]
fn nothing_is_offered_for_commit_before_anything_was_received() {
    assert_eq!(OffsetTracker::<Open>::new().frontier(), None);
    assert!(OffsetTracker::<Open>::new().finish(0).is_none());
}

/// What a random schedule may do to one partition.
#[derive(Clone, Debug)]
enum Step {
    /// Receive the offset that is this far ahead (1: no hole).
    Receive(i64),
    /// Receive an offset again.
    Repeat(usize),
    /// Finish one of the sequence numbers that were handed out, in this or in an earlier assignment.
    Finish(usize),
    /// Lose the partition and get it back at the committed position.
    Reassign,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..4i64).prop_map(Step::Receive),
        1 => (0..50usize).prop_map(Step::Repeat),
        5 => (0..100usize).prop_map(Step::Finish),
        1 => Just(Step::Reassign),
    ]
}

proptest! {
    #[test]
    fn the_frontier_never_passes_an_unfinished_record(steps in proptest::collection::vec(step(), 1..300)) {
        let (mut generation, mut tracker) = (0, OffsetTracker::new());
        // The model: for each offset of this assignment, whether its record is finished.
        let mut model: BTreeMap<i64, bool> = BTreeMap::new();
        let mut handed: Vec<(u32, u64, i64)> = Vec::new();
        let (mut next, mut committed) = (100, 100);
        for step in steps {
            match step {
                Step::Receive(ahead) => {
                    let offset = next + ahead - 1;
                    next = offset + 1;
                    let seq = tracker.receive(offset, open());
                    prop_assert!(seq.is_some());
                    handed.push((generation, seq.unwrap(), offset));
                    model.insert(offset, false);
                }
                Step::Repeat(pick) => {
                    if let Some((&offset, _)) = model.iter().nth(pick % model.len().max(1)) {
                        prop_assert_eq!(tracker.receive(offset, open()), None);
                    }
                }
                Step::Finish(pick) => {
                    let Some(&(of, seq, offset)) = handed.get(pick % handed.len().max(1)) else { continue };
                    // The polling thread does the same: it does not pass completions of another generation to the
                    // tracker.
                    if of == generation {
                        let first_time = !model.insert(offset, true).unwrap();
                        prop_assert_eq!(tracker.finish(seq).is_some(), first_time);
                    }
                }
                Step::Reassign => {
                    generation += 1;
                    tracker = OffsetTracker::new();
                    model.clear();
                    next = committed;
                }
            }
            let open: Vec<i64> = model.iter().filter(|(_, done)| !**done).map(|(o, _)| *o).collect();
            let expected = open.first().copied().or_else(|| model.keys().last().map(|last| last + 1));
            prop_assert_eq!(tracker.frontier().map(NextOffset::get), expected);
            prop_assert_eq!(tracker.unfinished().map(|u| u.offset).collect::<Vec<_>>(), open.clone());
            prop_assert_eq!(tracker.len(), open.len());
            if let Some(frontier) = expected {
                prop_assert!(frontier >= committed, "never backwards");
                committed = frontier;
            }
        }
    }
}

#[test]
fn what_is_known_of_a_finished_record_is_let_go_though_an_older_one_holds_the_frontier() {
    let mut tracker = OffsetTracker::new();
    let (oldest, later) = (Arc::new(Open::received(0)), open());
    tracker.receive(7, oldest);
    let seq = tracker.receive(8, later.clone()).unwrap();
    drop(tracker.finish(seq));
    assert_eq!(tracker.frontier(), Some(NextOffset::new(7)));
    assert_eq!(Arc::strong_count(&later), 1, "a million of them wait behind one that waits for minutes");
}

#[test]
fn what_is_no_record_is_passed_only_while_nothing_is_unfinished() {
    let mut tracker = OffsetTracker::new();
    let seq = tracker.receive(4, open()).unwrap();
    tracker.pass(NextOffset::new(9));
    assert_eq!(tracker.frontier().map(NextOffset::get), Some(4));
    tracker.finish(seq);
    tracker.pass(NextOffset::new(3));
    assert_eq!(tracker.frontier().map(NextOffset::get), Some(5), "never back");
    tracker.pass(NextOffset::new(9));
    assert_eq!((tracker.frontier().map(NextOffset::get), tracker.last_received()), (Some(9), Some(8)));
    assert!(tracker.receive(9, open()).is_some());
    let mut empty = OffsetTracker::<Open>::new();
    empty.pass(NextOffset::new(7));
    assert_eq!(empty.frontier().map(NextOffset::get), Some(7));
}

#[test]
fn what_is_finished_behind_an_open_record_takes_bounded_memory() {
    let mut tracker = OffsetTracker::new();
    let first = tracker.receive(0, open()).unwrap();
    let mut later = Vec::new();
    for offset in 1..200_000 {
        let seq = tracker.receive(offset, open()).unwrap();
        if offset % 50_000 == 0 {
            later.push(seq);
        } else {
            tracker.finish(seq).unwrap();
        }
        assert!(tracker.entries.len() <= 2 * tracker.len() + FINISHED + 1, "{} are kept", tracker.entries.len());
    }
    assert!(tracker.entries.capacity() < 4 * FINISHED, "{} have room", tracker.entries.capacity());
    assert_eq!(tracker.unfinished().map(|u| u.offset).collect::<Vec<_>>(), [0, 50_000, 100_000, 150_000]);
    assert!(tracker.finish(first + 7).is_none(), "finished long ago");
    tracker.finish(later[1]).unwrap();
    assert_eq!(tracker.frontier(), Some(NextOffset::new(0)));
    tracker.finish(first).unwrap();
    assert_eq!(tracker.frontier(), Some(NextOffset::new(50_000)));
    for seq in [later[2], later[0]] {
        tracker.finish(seq).unwrap();
    }
    assert_eq!((tracker.frontier(), tracker.len()), (Some(NextOffset::new(200_000)), 0));
}
