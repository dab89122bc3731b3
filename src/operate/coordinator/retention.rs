//! How long Kafka keeps the oldest record of a partition that is not finished (pure).

use crate::delivery::progress::PartitionView;

/// The record that bounds how far a partition is done.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Oldest {
    /// It is unfinished, and this is its timestamp in its topic, epoch ms. `None`: it has none, or was not decoded yet.
    Read(Option<i64>),
    /// It was not read yet. It is no older than this many seconds, because the last record that was read is. 0: there
    /// is none. `None`: nothing was read yet, so its timestamp is not known.
    Unread(Option<f64>),
}

/// The seconds until retention deletes the oldest unfinished record, counted from its timestamp; negative: it may be
/// gone at any moment. Where nothing is unfinished, a record that arrives now has the whole retention. `None`: not known.
pub(super) fn headroom(p: &PartitionView, retention_ms: i64, now_ms: i64) -> Option<f64> {
    let oldest = match &p.oldest {
        Some(oldest) => Oldest::Read(oldest.work.stored_ms),
        None => Oldest::Unread(p.lag_seconds.filter(|_| p.parked.is_none())),
    };
    left(oldest, retention_ms, now_ms)
}

fn left(oldest: Oldest, retention_ms: i64, now_ms: i64) -> Option<f64> {
    let age = match oldest {
        Oldest::Read(stored_ms) => (now_ms - stored_ms?).max(0) as f64 / 1000.0,
        Oldest::Unread(seconds) => seconds?,
    };
    Some(retention_ms as f64 / 1000.0 - age)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::delivery::progress::{ConsumerHandle, ConsumerView, Snapshot};
    use crate::operate::coordinator::parts::Watched;
    use crate::operate::coordinator::tests::World;

    #[tokio::test]
    async fn a_partition_that_leaves_takes_its_headroom_with_it() {
        let mut world = World::new().await;
        world.coordinator.retention.set([("conversions".to_owned(), 3_600_000)].into());
        let view = Arc::new(ConsumerView::default());
        let handle = Arc::new(ConsumerHandle::stub().0);
        world.coordinator.consumers = vec![Watched { name: "intake", view: view.clone(), handle }];
        let partition = |topic: &str| PartitionView {
            topic: topic.into(),
            partition: 3,
            generation: 1,
            frontier: Some(5),
            committed: Some(5),
            position: Some(5),
            high: Some(5),
            lag_records: Some(0),
            lag_seconds: Some(0.0),
            commit_age_seconds: 0.0,
            oldest: None,
            parked: None,
            remade_ms: None,
            position_lost_ms: None,
            own: None,
            unfinished: 0,
            window_full: false,
        };
        let partitions = vec![partition("conversions"), partition("kept-for-ever")];
        view.set(Snapshot { partitions, ..Snapshot::default() });
        world.coordinator.show(&mut world.memory);
        let text = world.coordinator.metrics.render();
        for name in ["retention_seconds", "retention_headroom_seconds"] {
            let series = format!("postback_{name}{{partition=\"3\",topic=\"conversions\"}} 3600\n");
            assert!(text.contains(&series), "{text}");
            assert!(!text.contains(&format!("{name}{{partition=\"3\",topic=\"kept-for-ever\"}}")), "{text}");
        }
        view.set(Snapshot::default());
        world.coordinator.show(&mut world.memory);
        assert!(!world.coordinator.metrics.render().contains("headroom_seconds{"));
    }

    #[test]
    fn it_is_the_retention_less_the_age_of_the_oldest_unfinished_record() {
        const HOUR_MS: i64 = 3_600_000;
        let now = 1_790_000_000_000;
        let rows = [
            ("nothing waits", Oldest::Unread(Some(0.0)), Some(36_000.0)),
            ("there are more records, and the last one read was this old", Oldest::Unread(Some(600.0)), Some(35_400.0)),
            ("nothing was read yet", Oldest::Unread(None), None),
            ("one waits", Oldest::Read(Some(now - HOUR_MS)), Some(32_400.0)),
            ("its deletion is due", Oldest::Read(Some(now - 11 * HOUR_MS)), Some(-3_600.0)),
            ("its producer's clock is ahead", Oldest::Read(Some(now + HOUR_MS)), Some(36_000.0)),
            ("it has no timestamp", Oldest::Read(None), None),
        ];
        for (what, oldest, expected) in rows {
            assert_eq!(left(oldest, 10 * HOUR_MS, now), expected, "{what}");
        }
    }
}
