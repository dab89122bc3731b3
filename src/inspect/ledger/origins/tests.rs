use super::*;

fn ten() -> Origins<()> {
    let mut origins = Origins::default();
    for partition in [0, 1, 3] {
        origins.cover(partition, 0..10);
    }
    origins
}

fn sums(origins: &Origins<()>) -> [u64; 4] {
    Outcome::ALL.map(|outcome| origins.sums().ended(outcome))
}

#[test]
fn a_replayed_dead_letter_counts_as_what_came_of_it_and_its_copy_as_no_event() {
    for outcomes in [[Outcome::DeadLettered, Outcome::Delivered], [Outcome::Delivered, Outcome::DeadLettered]] {
        let mut origins = ten();
        origins.dead_letter((0, 0), Reason::Rejected, None);
        for outcome in outcomes {
            origins.receipt((0, 0), outcome, 0, None);
        }
        // The copy that the replay has published.
        origins.leave_out((1, 9));
        origins.leave_out((1, 9));
        assert_eq!((sums(&origins), origins.sums().produced), ([1, 0, 0, 0], 29), "{outcomes:?}");
        assert!(origins.sums().dead_letters().is_empty());
    }
    let mut origins = ten();
    origins.dead_letter((0, 0), Reason::Rejected, None);
    origins.receipt((0, 0), Outcome::DeadLettered, 0, None);
    origins.receipt((0, 0), Outcome::Suppressed, 0, None);
    assert_eq!(sums(&origins), [0, 0, 1, 0], "the user has opted out since");
}

#[test]
fn sums_of_topics_are_added() {
    let mut one = ten();
    one.receipt((0, 0), Outcome::Delivered, 2, None);
    let mut sum = *one.sums();
    one.receipt((0, 0), Outcome::Delivered, 3, None);
    sum.add(one.sums());
    assert_eq!((sum.produced, sum.ended(Outcome::Delivered), sum.resends), (60, 2, 5));
}

#[test]
fn the_first_receipt_that_is_no_duplicate_counts_in_whatever_order_they_come() {
    for order in [[Outcome::Duplicate, Outcome::Delivered], [Outcome::Delivered, Outcome::Duplicate]] {
        let mut origins = ten();
        for outcome in order {
            origins.receipt((0, 0), outcome, 0, None);
        }
        assert_eq!(sums(&origins), [1, 0, 0, 0], "{order:?}");
    }
    let mut origins = ten();
    origins.receipt((0, 0), Outcome::Delivered, 0, None);
    origins.dead_letter((0, 0), Reason::Invalid, None);
    origins.receipt((0, 0), Outcome::DeadLettered, 0, None);
    assert_eq!(sums(&origins), [1, 0, 0, 0], "what was delivered first stays delivered");
}

#[test]
fn a_dead_letter_has_ended_with_receipt_and_letter_and_the_newest_reason_counts() {
    let mut origins = ten();
    origins.receipt((3, 7), Outcome::DeadLettered, 0, None);
    assert_eq!((sums(&origins), origins.sums().all_ended()), ([0; 4], 0));
    origins.dead_letter((3, 7), Reason::Invalid, None);
    origins.dead_letter((3, 7), Reason::Expired, None);
    assert_eq!(sums(&origins), [0, 0, 0, 1]);
    assert_eq!(origins.sums().dead_letters(), BTreeMap::from([("expired", 1)]));
    let mut origins = ten();
    origins.dead_letter((3, 7), Reason::Invalid, None);
    assert_eq!(origins.sums().all_ended(), 0, "its receipt is missing");
}

/// Written at this time, in a partition of its own.
fn alone(at_ms: i64) -> Written {
    Written { partition: at_ms as i32, offset: 0, at_ms: Some(at_ms) }
}

#[test]
fn inside_a_partition_the_offset_tells_the_newer_end_whatever_the_clocks_said() {
    use Outcome::{DeadLettered, Duplicate};
    let at = |partition, offset, at_ms| Written { partition, offset, at_ms: Some(at_ms) };
    for (dead, duplicate, end) in [
        (at(0, 1, 90), at(0, 2, 50), Duplicate),
        (at(0, 2, 50), at(0, 1, 90), DeadLettered),
        (at(0, 2, 50), at(1, 1, 90), Duplicate),
    ] {
        for told in [[(DeadLettered, dead), (Duplicate, duplicate)], [(Duplicate, duplicate), (DeadLettered, dead)]] {
            let mut origins = ten();
            origins.dead_letter((0, 0), Reason::Rejected, None);
            for (outcome, written) in told {
                origins.receipt((0, 0), outcome, 0, Some(written));
            }
            assert_eq!(origins.sums().ended(end), 1, "{told:?}");
        }
    }
    // The first dead letter, and the one of the replayed copy.
    for (first, second) in [((0, at(0, 1, 90)), (1, at(0, 2, 50))), ((0, at(0, 9, 90)), (1, at(1, 2, 50)))] {
        let told = [(Reason::Expired, first), (Reason::Rejected, second)];
        for told in [told, [told[1], told[0]]] {
            let mut origins = ten();
            origins.receipt((0, 0), DeadLettered, 0, Some(at(0, 1, 90)));
            for (reason, letter) in told {
                origins.dead_letter((0, 0), reason, Some(letter));
            }
            assert_eq!(origins.sums().dead_letters(), BTreeMap::from([("rejected", 1)]), "{told:?}");
        }
    }
}

#[test]
fn of_a_dead_letter_and_a_duplicate_the_newer_one_is_the_end_in_whatever_order_they_come() {
    use Outcome::{DeadLettered, Delivered, Duplicate, Suppressed};
    for (told, end) in [
        // A worker confirmed the replayed copy, and was killed before it wrote the receipt.
        ([(DeadLettered, Some(5)), (Duplicate, Some(9))], Duplicate),
        ([(Duplicate, Some(5)), (DeadLettered, Some(9))], DeadLettered),
        ([(Duplicate, Some(5)), (DeadLettered, Some(5))], DeadLettered),
        ([(Duplicate, None), (DeadLettered, None)], DeadLettered),
        ([(Delivered, Some(5)), (Duplicate, Some(9))], Delivered),
        ([(Suppressed, Some(5)), (Duplicate, Some(9))], Suppressed),
        ([(DeadLettered, Some(9)), (Delivered, Some(5))], Delivered),
    ] {
        for told in [told, [told[1], told[0]]] {
            let mut origins = ten();
            origins.dead_letter((0, 0), Reason::Rejected, None);
            for (outcome, at_ms) in told {
                origins.receipt((0, 0), outcome, 0, at_ms.map(alone));
            }
            let mut wanted = [0; 4];
            wanted[end as usize] = 1;
            assert_eq!(sums(&origins), wanted, "{told:?}");
        }
    }
    let mut origins = ten();
    origins.dead_letter((0, 0), Reason::Rejected, None);
    for (outcome, at_ms, end) in [
        (DeadLettered, 5, DeadLettered),
        (Duplicate, 7, Duplicate),
        (Duplicate, 6, Duplicate),
        (DeadLettered, 9, DeadLettered),
    ] {
        let (_, after) = origins.receipt((0, 0), outcome, 0, Some(alone(at_ms))).unwrap();
        assert_eq!(after.end(), Some(end), "{at_ms}");
    }
}

#[test]
fn the_largest_number_of_resends_per_origin_counts() {
    let mut origins = ten();
    for (place, resends) in [((0, 0), 1), ((0, 0), 3), ((0, 0), 2), ((1, 0), 1), ((1, 1), 0)] {
        origins.receipt(place, Outcome::Delivered, resends, None);
    }
    assert_eq!(origins.sums().resends, 4);
}

#[test]
fn a_call_needs_a_result_once_it_is_answered_or_suppressed_or_a_dead_letter_that_could_be_read() {
    for (outcome, reason, wanted) in [
        (Outcome::Delivered, None, true),
        (Outcome::Suppressed, None, true),
        (Outcome::DeadLettered, Some(Reason::Invalid), true),
        (Outcome::DeadLettered, Some(Reason::Malformed), false),
        (Outcome::DeadLettered, None, false),
        (Outcome::Duplicate, None, false),
    ] {
        let origin = Origin { outcome: Some(outcome), dead_letter: reason, ..Origin::<()>::default() };
        assert_eq!(origin.needs_result(), wanted, "{outcome:?} {reason:?}");
    }
    assert!(!Origin::<()>::default().needs_result(), "it has not ended");
}

#[test]
fn only_what_is_covered_counts() {
    let mut origins = Origins::<()>::default();
    origins.cover(2, 1_000..1_003);
    for place in [(2, 999), (2, 1_003), (0, 1_000), (-1, 0), (2, i64::MIN), (2, i64::MAX)] {
        assert!(origins.receipt(place, Outcome::Delivered, 1, None).is_none(), "{place:?}");
    }
    origins.receipt((2, 1_000), Outcome::Delivered, 0, None);
    origins.receipt((2, 1_002), Outcome::Duplicate, 0, None);
    assert_eq!((origins.sums().produced, origins.sums().all_ended(), origins.sums().resends), (3, 2, 0));
    origins.cover(2, 1_000..1_010);
    origins.cover(2, 1_000..1_001);
    assert_eq!((origins.sums().produced, origins.sums().all_ended()), (10, 2));
    assert_eq!(origins.iter().filter(|origin| origin.is_copy()).count(), 1);
}
