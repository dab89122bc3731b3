use std::sync::Arc;

use super::*;
use crate::delivery::progress::{ConsumerHandle, ConsumerView, Snapshot};
use crate::kafka::consumer::Parked;
use crate::operate::coordinator::parts::Watched;
use crate::operate::coordinator::tests::World;

#[tokio::test]
async fn a_partition_that_leaves_takes_its_headroom_with_it() {
    let mut world = World::new().await;
    world.coordinator.retention.set([("conversions".to_owned(), 3_600_000)].into());
    let view = Arc::new(ConsumerView::default());
    let handle = Arc::new(ConsumerHandle::stub().0);
    world.coordinator.consumers = vec![Watched { name: "intake", view: view.clone(), handle }];
    let partitions = vec![PartitionView::stub("conversions"), PartitionView::stub("kept-for-ever")];
    view.set(Snapshot { partitions, ..Snapshot::default() });
    world.coordinator.show();
    let text = world.coordinator.metrics.render();
    for name in ["retention_seconds", "retention_headroom_seconds"] {
        let series = format!("postback_{name}{{partition=\"3\",topic=\"conversions\"}} 3600\n");
        assert!(text.contains(&series), "{text}");
        assert!(!text.contains(&format!("{name}{{partition=\"3\",topic=\"kept-for-ever\"}}")), "{text}");
    }
    view.set(Snapshot::default());
    world.coordinator.show();
    assert!(!world.coordinator.metrics.render().contains("headroom_seconds{"));
}

#[test]
fn what_was_not_read_is_as_old_as_the_broker_says() {
    const NOW: i64 = 1_790_000_000_000;
    let headroom =
        |p: &PartitionView, at: i64| headroom(p, 36_000_000, NOW, |offset| (offset == at).then_some(NOW - 3_600_000));
    let unread = PartitionView { lag_records: Some(7), lag_seconds: None, ..PartitionView::stub("in") };
    assert_eq!((headroom(&unread, 5), headroom(&unread, 6)), (Some(32_400.0), None));
    let begun = PartitionView { frontier: None, committed: Some(2), ..unread.clone() };
    assert_eq!(headroom(&begun, 2), Some(32_400.0));
    // Without a sound position everything that is there may be undelivered.
    for (committed, first) in [(None, 10), (Some(4), 10), (Some(12), 12), (Some(99), 10)] {
        let parked = Some(Parked { why: "", committed, low: 10, high: 20 });
        assert_eq!(headroom(&PartitionView { parked, ..unread.clone() }, first), Some(32_400.0), "{committed:?}");
    }
    let empty = PartitionView {
        parked: Some(Parked { why: "", committed: None, low: 5, high: 5 }),
        lag_records: Some(0),
        ..unread.clone()
    };
    assert_eq!(headroom(&empty, 5), Some(36_000.0), "there is nothing to lose");
    assert_eq!(headroom(&PartitionView { lag_records: None, ..unread }, 5), None);
}

#[test]
fn it_is_the_retention_less_the_age_of_the_oldest_unfinished_record() {
    const HOUR_MS: i64 = 3_600_000;
    let now = 1_790_000_000_000;
    let rows = [
        ("nothing waits", Oldest::Unread(Some(0.0)), Some(36_000.0)),
        ("there are more records, and the last one read was this old", Oldest::Unread(Some(600.0)), Some(35_400.0)),
        ("nothing was read yet", Oldest::Unread(None), None),
        ("one waits", Oldest::Stored(Some(now - HOUR_MS)), Some(32_400.0)),
        ("its deletion is due", Oldest::Stored(Some(now - 11 * HOUR_MS)), Some(-3_600.0)),
        ("its producer's clock is ahead", Oldest::Stored(Some(now + HOUR_MS)), Some(36_000.0)),
        ("it has no timestamp", Oldest::Stored(None), None),
    ];
    for (what, oldest, expected) in rows {
        assert_eq!(left(oldest, 10 * HOUR_MS, now), expected, "{what}");
    }
}
