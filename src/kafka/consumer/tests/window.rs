//! How far a partition is read beyond its first unfinished record, and what is asked to leave before that.

use super::*;

#[test]
fn a_full_window_stops_its_partition_alone_and_what_holds_it_back_is_named_before() {
    let mock = Mock::new(&[("t", 2)]);
    mock.produce("t", 0, 3_000);
    mock.commit("t", 0, 0);
    mock.commit("t", 1, 0);
    let probe = Probe::holding();
    probe.window.store(1_000, Ordering::SeqCst);
    probe.limit.store(1, Ordering::SeqCst);
    let member = Member::join(&mock.brokers, Kind::Input, "t", probe.clone());
    eventually("one is held", || probe.seen() == 1);
    probe.finish.store(true, Ordering::SeqCst);
    probe.limit.store(0, Ordering::SeqCst);
    let is_full = |partition| member.partition(partition).is_some_and(|p| p.window_full);
    eventually("its window is full", || is_full(0));
    eventually("what holds it back is named", || probe.count(&probe.blockers) == 1);
    std::thread::sleep(SHORT);
    let read = probe.offsets("t", 0).len();
    assert!((1_000..1_300).contains(&read), "{read} were read");
    assert_eq!(member.partition(0).unwrap().frontier, Some(0));

    mock.produce("t", 1, 500);
    eventually("the other partition is read", || probe.offsets("t", 1).len() == 500);
    assert!(!is_full(1) && probe.offsets("t", 0).len() == read);

    assert_eq!(probe.finish_all(), 1);
    eventually("it is read on", || probe.offsets("t", 0).len() == 3_000);
    assert_eq!(probe.offsets("t", 0), (0..3_000).collect::<Vec<_>>(), "each once, in order");
    eventually("all is committed", || mock.committed("t", 0) == Some(3_000));
    assert!(!is_full(0));
    member.stop(SHORT);
}
