//! Tests the consumer against the client library's mock cluster.

mod mock;
mod partitions;
mod poller;
#[cfg(feature = "servers")]
mod real;
mod window;

use std::ffi::CString;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::bindings as sys;
use rdkafka::producer::{BaseProducer, Producer as _};

use super::*;
use crate::delivery::progress::{AckHandle, End, PartitionView};
use crate::error::Outcome;
use crate::kafka::producer::Producer;
use crate::kafka::record::Header;
use mock::{Machine, Member, Mock, Probe, eventually, sightings, undisturbed};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn what_was_read_and_not_finished_comes_again_after_a_restart() {
    let mock = Mock::new(&[("t", 1)]);
    mock.produce("t", 0, 100);
    let probe = Probe::finishing();
    probe.limit.store(10, Ordering::SeqCst);
    let first = Member::join(&mock.brokers, Kind::Waiting, "t", probe);
    eventually("ten are finished", || first.probe.count(&first.probe.completed) == 10);
    let probe = first.stop(SHORT);
    assert_eq!(probe.offsets("t", 0), (0..10).collect::<Vec<_>>());
    assert_eq!(mock.committed("t", 0), Some(10), "the next offset to read, not the last one finished");

    let second = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::finishing());
    eventually("the rest comes", || second.probe.seen() >= 90);
    let probe = second.stop(SHORT);
    assert_eq!(probe.offsets("t", 0), (10..100).collect::<Vec<_>>());
    assert_eq!(mock.committed("t", 0), Some(100));
}

#[test]
fn shutdown_waits_for_what_is_under_way_and_gives_the_rest_back() {
    let mock = Mock::new(&[("t", 1)]);
    mock.produce("t", 0, 5);
    let member = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::holding());
    eventually("all are read", || member.probe.seen() == 5);
    let kept: Vec<AckHandle> = member.probe.acks.lock().unwrap().drain(3..).collect();
    let probe = member.probe.clone();
    member.handle.shutdown(Duration::from_secs(3));
    std::thread::sleep(SHORT);
    assert!(kept[0].assignment().is_leaving() && !kept[0].assignment().is_gone());
    assert_eq!(probe.finish_all(), 3);
    let probe = member.stop(Duration::ZERO);
    assert!(kept[0].assignment().is_gone());
    assert_eq!((probe.count(&probe.completed), probe.count(&probe.returned)), (3, 2));
    assert_eq!(mock.committed("t", 0), Some(3));
    kept.into_iter().for_each(|t| t.complete(End::Returned));
}

#[test]
fn a_record_whose_work_was_dropped_is_read_again() {
    let mock = Mock::new(&[("t", 1)]);
    mock.produce("t", 0, 3);
    let member = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::holding());
    eventually("all are read", || member.probe.seen() == 3);
    let mut acks = std::mem::take(&mut *member.probe.acks.lock().unwrap());
    acks.remove(0).complete(End::Retried);
    drop(acks.remove(0));
    acks.remove(0).complete(End::Parked);
    member.probe.finish.store(true, Ordering::SeqCst);
    eventually("it is read again", || member.probe.seen() == 5);
    eventually("and finished", || mock.committed("t", 0) == Some(3));
    assert_eq!(member.probe.offsets("t", 0), [0, 1, 2, 1, 2]);
    // The first two records, and the two that arrived again. The third was finished before the partition was given
    // back.
    let probe = member.stop(SHORT);
    assert_eq!((probe.count(&probe.completed), probe.count(&probe.returned)), (4, 1));
}

#[test]
fn a_group_without_offsets_is_parked_and_sends_nothing() {
    let mock = Mock::new(&[("t", 2)]);
    mock.produce("t", 0, 7);
    let member = Member::join(&mock.brokers, Kind::Input, "t", Probe::finishing());
    eventually("both are parked", || member.parked(0).is_some() && member.parked(1).is_some());
    assert_eq!(member.parked(0).unwrap().hole(), 7);
    let lag = |partition| member.partition(partition).unwrap().lag_records;
    assert_eq!((lag(0), lag(1)), (Some(7), Some(0)), "nobody has read them");
    assert!(member.view.snapshot().counts.joined);
    let probe = member.stop(SHORT);
    assert_eq!(probe.seen(), 0);
    assert_eq!(mock.committed("t", 0), None);
}

#[test]
fn a_new_partition_of_a_group_with_offsets_starts_at_its_beginning() {
    let mock = Mock::new(&[("t", 2)]);
    mock.produce("t", 0, 7);
    mock.produce("t", 1, 4);
    mock.commit("t", 0, 2);
    let member = Member::join(&mock.brokers, Kind::Input, "t", Probe::finishing());
    eventually("both are read", || member.probe.seen() == 9);
    assert_eq!(member.probe.offsets("t", 0), (2..7).collect::<Vec<_>>());
    assert_eq!(member.probe.offsets("t", 1), (0..4).collect::<Vec<_>>());
    member.stop(SHORT);
}

#[test]
fn a_partition_of_an_own_topic_tells_that_it_began_without_an_offset() {
    let mock = Mock::new(&[("t", 3)]);
    mock.produce("t", 0, 7);
    mock.produce("t", 1, 4);
    mock.commit("t", 1, 2);
    let member = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::finishing());
    eventually("both are read", || member.probe.seen() == 9 && (0..3).all(|n| member.partition(n).is_some()));
    let anew = |partition| member.partition(partition).and_then(|p| p.own).map(|own| own.anew);
    eventually("all began", || (0..3).all(|n| anew(n).is_some()));
    assert_eq!([anew(0), anew(1), anew(2)], [Some(Some((0, 7))), Some(None), Some(None)], "the last one is empty");
    // The coordinator knows that the partition had an offset and reports the loss. Each snapshot shows it from then on.
    let lost = |partition| member.partition(partition).and_then(|p| p.position_lost_ms);
    let seen_ms = crate::clock::now_ms();
    member.view.lost_position(&"t".into(), 0, seen_ms);
    eventually("it is shown", || lost(0) == Some(seen_ms));
    assert_eq!((lost(1), lost(2)), (None, None));
    member.stop(SHORT);
}

#[test]
fn the_positions_of_many_partitions_are_asked_for_together() {
    const LIST_OFFSETS: i16 = 2;
    const PARTITIONS: i32 = 300;
    let mock = Mock::new(&[("t", PARTITIONS)]);
    mock.commit("t", 5, 0);
    mock.track_requests();
    let member = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::finishing());
    let start = |p: &PartitionView| p.position.is_some();
    eventually("all start", || {
        let snapshot = member.view.snapshot();
        snapshot.partitions.len() == PARTITIONS as usize && snapshot.partitions.iter().all(start)
    });
    // One request for each end. A survey that happens in this time sends as many.
    let asked = mock.requests(LIST_OFFSETS);
    assert!((2..30).contains(&asked), "{asked} requests for {PARTITIONS} partitions");
    member.stop(SHORT);
}

#[test]
fn an_offset_beyond_the_end_is_parked_until_an_operator_names_another() {
    let mock = Mock::new(&[("t", 2)]);
    mock.produce("t", 0, 10);
    mock.produce("t", 1, 3);
    mock.commit("t", 0, 50);
    mock.commit("t", 1, 0);
    let member = Member::join(&mock.brokers, Kind::Input, "t", Probe::finishing());
    eventually("the other partition flows", || member.probe.offsets("t", 1).len() == 3);
    let parked = member.parked(0).unwrap();
    assert_eq!((parked.committed, parked.low, parked.high, parked.hole()), (Some(50), 0, 10, 40));
    assert_eq!(member.partition(0).unwrap().lag_records, Some(10), "what is there was not read");

    let order = |to| member.handle.order(UnblockOrder { topic: "t".into(), partition: 0, to });
    order(UnblockTo::At(11));
    eventually("the order is refused", || {
        member.view.snapshot().counts.last_error.as_deref().is_some_and(|e| e.contains("not between 0 and 10"))
    });
    assert!(member.parked(0).is_some());
    order(UnblockTo::At(6));
    eventually("reading goes on", || member.probe.offsets("t", 0) == [6, 7, 8, 9]);
    eventually("and is committed", || mock.committed("t", 0) == Some(10));
    assert_eq!(member.parked(0), None);

    order(UnblockTo::Earliest);
    eventually("a healthy partition turns back too", || member.probe.offsets("t", 0).len() == 14);
    assert_eq!(member.probe.offsets("t", 0)[4..], (0..10).collect::<Vec<_>>());
    member.stop(SHORT);
}

#[test]
fn a_full_bound_pauses_after_half_a_second_and_polling_goes_on() {
    let (machine, mock) = (Machine::watched(), Mock::new(&[("t", 1)]));
    mock.produce("t", 0, 50);
    let probe = Probe::holding();
    probe.limit.store(5, Ordering::SeqCst);
    let member = Member::join(&mock.brokers, Kind::Waiting, "t", probe);
    eventually("the bound is reached", || member.probe.seen() == 5);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(member.probe.seen(), 5);
    assert_eq!(member.partition(0).unwrap().unfinished, 5);
    member.probe.limit.store(0, Ordering::SeqCst);
    member.probe.finish.store(true, Ordering::SeqCst);
    eventually("the rest comes", || member.probe.seen() == 50);
    assert_eq!(member.probe.offsets("t", 0), (0..50).collect::<Vec<_>>());
    let gap = *member.probe.longest_gap.lock().unwrap();
    assert!(gap < machine.allows(Duration::from_secs(1)), "{gap:?}");
    member.probe.finish_all();
    member.stop(SHORT);
}

#[test]
fn a_pause_does_not_survive_the_loss_of_its_partition() {
    let mock = Mock::new(&[("t", 1)]);
    mock.produce("t", 0, 3);
    let member = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::finishing());
    eventually("the first three come", || member.probe.seen() == 3);
    member.probe.pause.store(true, Ordering::SeqCst);
    eventually("it is committed", || mock.committed("t", 0) == Some(3));
    mock.produce("t", 0, 2);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(member.probe.seen(), 3, "paused");
    // The same client takes the partition up again as another assignment. It still remembers the pause.
    member.handle.order(UnblockOrder { topic: "t".into(), partition: 0, to: UnblockTo::At(3) });
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(member.probe.seen(), 3, "paused again, since that is what is wanted");
    member.handle.order(UnblockOrder { topic: "t".into(), partition: 0, to: UnblockTo::At(3) });
    member.probe.pause.store(false, Ordering::SeqCst);
    eventually("the others come", || member.probe.seen() >= 5);
    member.stop(SHORT);
}

#[test]
fn a_revoked_partition_drains_while_polling_goes_on_and_nothing_finished_comes_again() {
    undisturbed(&[("t", 4)], |mock| {
        let machine = Machine::watched();
        (0..4).for_each(|p| mock.produce("t", p, 20));
        let first = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::holding());
        eventually("all are read", || first.probe.seen() == 80);
        let second = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::finishing());
        eventually("partitions are asked back", || first.probe.count(&first.probe.left) > 0);
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(second.probe.seen(), 0, "not before they are drained");
        first.probe.finish_all();
        first.probe.finish.store(true, Ordering::SeqCst);
        eventually("both have two", || first.owned() == 2 && second.owned() == 2);
        (0..4).for_each(|p| mock.produce("t", p, 5));
        eventually("all is committed", || (0..4).all(|p| mock.committed("t", p) == Some(25)));
        let seen = sightings("t", &[&first.probe, &second.probe]);
        assert_eq!(seen.len(), 100);
        let refused = [&first, &second]
            .map(|m| (m.view.snapshot().counts.commit_errors, m.view.snapshot().counts.last_error.clone()));
        // A group that synchronises at that very moment refuses the commit that precedes the loss of a partition. Then
        // the finished records arrive again, and their claims stop a second send.
        let all_taken = refused.iter().all(|(n, _)| *n == 0);
        assert!(seen.values().all(|n| *n == 1) || !all_taken, "redelivered: {seen:?}; commits refused: {refused:?}");
        for member in [first, second] {
            let gap = *member.probe.longest_gap.lock().unwrap();
            assert!(gap < machine.allows(Duration::from_secs(1)), "{gap:?}");
            assert_eq!(member.view.snapshot().counts.drains_expired, 0);
            let probe = member.stop(SHORT);
            assert_eq!(probe.count(&probe.returned), 0);
        }
    });
}

#[test]
fn a_scenario_is_repeated_where_the_cluster_itself_put_a_member_out_and_nowhere_else() {
    let runs = AtomicUsize::new(0);
    let scenario = |mock: &Mock| {
        if runs.fetch_add(1, Ordering::SeqCst) == 0 {
            let mut config = mock.config();
            config.properties.insert("session.timeout.ms".into(), "6000".into());
            let member = Member::join_as(&config, Kind::Waiting, "t", Probe::finishing());
            eventually("it has its place", || member.owned() == 1);
            mock.stop_broker();
            eventually("it loses it", || mock.has_expelled());
        }
        panic!("as a scenario does that was disturbed");
    };
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| undisturbed(&[("t", 1)], scenario)));
    assert!(failed.is_err() && runs.into_inner() == 2);
}

#[test]
fn what_is_not_finished_in_time_goes_to_the_next_owner_and_late_completions_mean_nothing() {
    let mock = Mock::new(&[("t", 2)]);
    (0..2).for_each(|p| mock.produce("t", p, 5));
    let first = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::holding());
    eventually("all are read", || first.probe.seen() == 10);
    let second = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::holding());
    eventually("the other has five", || second.probe.seen() == 5);
    assert_eq!(first.probe.count(&first.probe.returned), 5);
    assert_eq!(first.view.snapshot().counts.drains_expired, 1);
    first.probe.finish_all();
    eventually("five count", || first.probe.count(&first.probe.completed) == 5);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(first.probe.count(&first.probe.completed), 5);
    let theirs = second.view.snapshot().partitions[0].partition;
    assert_eq!(mock.committed("t", theirs), Some(0), "nobody has finished them");
    second.probe.finish_all();
    first.stop(SHORT);
    second.stop(SHORT);
}

#[test]
fn headers_that_cannot_be_read_are_counted_and_everything_else_is_kept() {
    let mock = Mock::new(&[("t", 1)]);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &mock.brokers);
    let producer: BaseProducer = config.create().unwrap();
    let topic = CString::new("t").unwrap();
    unsafe {
        let headers = sys::rd_kafka_headers_new(4);
        let add = |name: &[u8], value: Option<&[u8]>| {
            let (ptr, len) = value.map_or((std::ptr::null(), -1), |v| (v.as_ptr(), v.len() as isize));
            sys::rd_kafka_header_add(headers, name.as_ptr().cast(), name.len() as isize, ptr.cast(), len);
        };
        add(b"a", Some(b"1"));
        add(&[0xff, 0xfe, 0x41], Some(b"x"));
        add(b"a", None);
        add(b"a", Some(b""));
        use sys::rd_kafka_vtype_t as V;
        let err = sys::rd_kafka_producev(
            producer.client().native_ptr(),
            V::RD_KAFKA_VTYPE_TOPIC,
            topic.as_ptr(),
            V::RD_KAFKA_VTYPE_HEADERS,
            headers,
            V::RD_KAFKA_VTYPE_END,
        );
        assert_eq!(err, sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    producer.flush(Duration::from_secs(10)).unwrap();

    let member = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::finishing());
    eventually("it comes", || member.probe.seen() == 1);
    let probe = member.stop(SHORT);
    let record = probe.records.lock().unwrap()[0].clone();
    assert_eq!((record.unreadable_headers, &record.key, &record.value), (1, &None, &None));
    let a = |value: Option<&'static [u8]>| Header { name: "a".into(), value: value.map(bytes::Bytes::from_static) };
    assert_eq!(record.headers, [a(Some(b"1")), a(None), a(Some(b""))]);
}

#[test]
fn null_and_empty_and_repeated_headers_are_published_and_read_back_as_they_were() {
    let mock = Mock::new(&[("t", 1)]);
    let producer = Producer::new(&mock.config(), 0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let header =
        |value: Option<&'static [u8]>| Header { name: "h".into(), value: value.map(bytes::Bytes::from_static) };
    let headers = [header(None), header(Some(b"")), header(Some(b"\xff\x00")), header(Some(b""))];
    let pairs: [Option<&[u8]>; 3] = [None, Some(b""), Some(b"v")];
    let mut expected = Vec::new();
    for key in pairs {
        for value in pairs {
            let at = runtime.block_on(producer.publish("t", key, value, &headers)).unwrap();
            assert_eq!(at, (0, expected.len() as i64));
            expected.push((key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec)));
        }
    }
    let member = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::finishing());
    eventually("all come", || member.probe.seen() == expected.len());
    let probe = member.stop(SHORT);
    for (record, (key, value)) in probe.records.lock().unwrap().iter().zip(&expected) {
        assert_eq!((record.key.as_deref(), record.value.as_deref()), (key.as_deref(), value.as_deref()));
        assert_eq!(record.headers, headers);
    }
}

#[test]
fn a_send_whose_future_is_dropped_is_still_written_and_flush_waits_for_it() {
    let mock = Mock::new(&[("t", 1)]);
    let producer = Producer::new(&mock.config(), 0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let send = producer.publish("t", None, Some(b"v"), &[]);
        let _ = tokio::time::timeout(Duration::ZERO, send).await;
    });
    producer.flush(Duration::from_secs(10)).unwrap();
    assert_eq!(mock.cluster().watermarks("t", 0).unwrap(), (0, 1));
}

#[test]
fn refused_commits_are_counted_and_made_up_for() {
    let mock = Mock::new(&[("t", 1)]);
    mock.produce("t", 0, 4);
    mock.refuse_commits(2);
    let member = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::finishing());
    eventually("the refusals are counted", || member.view.snapshot().counts.commit_errors >= 2);
    eventually("then it is committed", || mock.committed("t", 0) == Some(4));
    eventually("and known", || member.partition(0).unwrap().committed == Some(4));
    assert!(member.view.snapshot().counts.last_error.is_some());
    member.stop(SHORT);
}

/// Trap K25: a member that cannot commit may have lost its partitions without knowing it.
#[test]
fn without_a_confirmed_commit_for_half_a_session_nothing_may_be_sent_until_there_is_one() {
    undisturbed(&[("t", 1)], |mock| {
        mock.produce("t", 0, 4);
        // Commits are tried once a second, and the session lasts ten seconds.
        mock.refuse_commits_of_all(12);
        let member = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::holding());
        eventually("all are read", || member.probe.seen() == 4);
        let kept = member.probe.acks.lock().unwrap().pop().unwrap();
        assert!(!kept.assignment().is_unconfirmed(), "nothing was to be committed yet");
        assert_eq!(member.probe.finish_all(), 3);
        eventually("it is told not to send", || kept.assignment().is_unconfirmed());
        let unconfirmed = member.view.snapshot().counts.unconfirmed_for.unwrap();
        assert!(unconfirmed >= Duration::from_secs(5), "{unconfirmed:?}");
        eventually("a commit is confirmed", || mock.committed("t", 0) == Some(3));
        eventually("and it may send again", || !kept.assignment().is_unconfirmed());
        assert_eq!(member.view.snapshot().counts.unconfirmed_for, None);
        kept.complete(End::Finished(Outcome::Delivered));
        member.stop(SHORT);
    });
}

#[test]
fn a_topic_that_may_not_be_committed_stops_no_other_one() {
    undisturbed(&[("t", 1)], |mock| {
        mock.produce("t", 0, 4);
        // Longer than half of a session of ten seconds.
        mock.refuse_commits(8);
        let member = Member::join(&mock.brokers, Kind::Waiting, "t", Probe::holding());
        eventually("all are read", || member.probe.seen() == 4);
        let kept = member.probe.acks.lock().unwrap().pop().unwrap();
        assert_eq!(member.probe.finish_all(), 3);
        let mut told = false;
        eventually("a commit is confirmed", || {
            told |= kept.assignment().is_unconfirmed();
            mock.committed("t", 0) == Some(3)
        });
        assert!(!told, "it was told not to send");
        assert!(member.view.snapshot().counts.commit_errors >= 5);
        kept.complete(End::Finished(Outcome::Delivered));
        member.stop(SHORT);
    });
}
