//! Tests remembered positions against the embedded store, with a consumer that only shows partitions.

use std::collections::HashMap;
use std::io::{Read as _, Seek as _};
use std::sync::{Arc, Mutex};

use super::*;
use crate::delivery::progress::{ConsumerHandle, ConsumerView, Snapshot};
use crate::operate::coordinator::Watched;
use crate::operate::coordinator::tests::World;

/// Returns the log of a worker that finds the store as the worker before it left it, and that shows `t/0` once for each
/// value of `committed`.
async fn said(world: &mut World, id: &str, anew: Option<(i64, i64)>, committed: &[Option<i64>]) -> String {
    let view = Arc::new(ConsumerView::default());
    let handle = Arc::new(ConsumerHandle::stub().0);
    world.coordinator.consumers = vec![Watched { name: "waiting", view: view.clone(), handle }];
    world.memory.positions = Positions::default();
    let mut log = tempfile::tempfile().unwrap();
    let lines = Mutex::new(log.try_clone().unwrap());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    for &committed in committed {
        let partition = PartitionView {
            topic: "t".into(),
            partition: 0,
            generation: 1,
            frontier: committed,
            committed,
            position: committed,
            high: None,
            lag_records: None,
            lag_seconds: None,
            commit_age_seconds: 0.0,
            oldest: None,
            parked: None,
            remade_ms: None,
            position_lost_ms: None,
            own: Some(OwnPosition { topic_id: id.to_owned(), anew }),
            window_full: false,
            unfinished: 0,
        };
        view.set(Snapshot { partitions: vec![partition], ..Snapshot::default() });
        world.look().await;
    }
    // The next snapshot shows the position like this.
    view.set(Snapshot::clone(&view.snapshot()));
    let shown = view.snapshot().partitions[0].position_lost_ms.is_some();
    let mut text = String::new();
    log.rewind().unwrap();
    log.read_to_string(&mut text).unwrap();
    let said: String = text
        .lines()
        .filter(|line| line.contains("lost its committed offset"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(shown, !said.is_empty(), "`blocked` and `/ready` name what the log says");
    said
}

#[tokio::test]
async fn a_partition_that_lost_its_position_is_said_once_and_a_new_one_or_one_of_a_new_topic_is_not() {
    let mut world = World::new().await;
    world.set_epoch("e1").await;
    let w = &mut world;
    assert_eq!(said(w, "a", Some((0, 4)), &[None]).await, "", "a new one");
    assert_eq!(said(w, "a", Some((0, 4)), &[None, Some(4)]).await, "", "nothing was noted when it began");
    assert_eq!(said(w, "a", None, &[None, Some(6)]).await, "", "it goes on where it was");
    let lost = said(w, "a", Some((3, 9)), &[None, None, Some(5)]).await;
    assert_eq!(lost.lines().count(), 1, "{lost}");
    for part in ["ERROR", "kafka.topic=t", "kafka.partition=0", "kafka.offset=3", "records=6", "offsets.retention"] {
        assert!(lost.contains(part), "{part}: {lost}");
    }
    assert_eq!(said(w, "b", Some((0, 2)), &[None, Some(1)]).await, "", "made again, it had none");
    assert!(said(w, "b", Some((0, 2)), &[Some(1)]).await.contains("records=2"), "its position was noted");
}

#[tokio::test]
async fn a_store_that_was_flushed_gets_its_notes_back() {
    let mut world = World::new().await;
    world.set_epoch("e1").await;
    assert_eq!(said(&mut world, "a", None, &[Some(6)]).await, "");
    let hash = world.coordinator.keys.positions();
    let () = ::redis::cmd("DEL").arg(&hash).query_async(&mut world.connection).await.unwrap();
    world.look().await;
    let noted = async |world: &mut World| -> HashMap<String, String> {
        ::redis::cmd("HGETALL").arg(&hash).query_async(&mut world.connection).await.unwrap()
    };
    assert!(noted(&mut world).await.is_empty(), "what was noted is not written again and again");
    world.set_epoch("e2").await;
    world.look().await;
    assert_eq!(noted(&mut world).await, [("t/0".to_owned(), "a".to_owned())].into());
}
