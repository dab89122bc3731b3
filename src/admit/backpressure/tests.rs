use ::redis::aio::MultiplexedConnection;

use super::*;
use crate::account::{Account, Intake, WhenUnavailable};
use crate::embedded::store::Store;
use crate::operate::Keys;

fn lanes() -> Lanes {
    lanes_of([WhenUnavailable::Hold; 2])
}

/// Lanes of the accounts `a`, `b` and so on, each with what it does while Redis is away.
fn lanes_of<const N: usize>(all: [WhenUnavailable; N]) -> Lanes {
    let bounds = Intake { max_in_flight: 4, max_in_flight_bytes: 4096, drain_timeout: Duration::ZERO };
    let lane = |(index, when_unavailable)| {
        let inbox = tokio::sync::mpsc::unbounded_channel().0;
        let name = char::from(b'a' + index as u8).to_string();
        let account = Account { when_unavailable, ..Account::stub(&name) };
        Arc::new(LaneHandle::new(index, Arc::new(account), inbox, &bounds))
    };
    Lanes::new(all.into_iter().enumerate().map(lane).collect(), Vec::new())
}

#[test]
fn a_topic_whose_last_partition_has_left_is_forgotten() {
    let (mut backpressure, lanes) = (Backpressure::default(), lanes());
    let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
    backpressure.seen(&one, 0, 0);
    backpressure.seen(&one, 1, 1);
    backpressure.seen(&two, 0, 0);
    assert!(!backpressure.left("one", 0), "partition 1 is still here");
    assert!(backpressure.others_flow("one", 0, TopicKind::Input, false, &lanes));
    assert!(backpressure.left("one", 1));
    assert_eq!(backpressure.topics().collect::<Vec<_>>(), [&two]);
    assert!(!backpressure.others_flow("one", 0, TopicKind::Input, false, &lanes));
    assert!(backpressure.left("never seen", 0));
    backpressure.seen(&one, 1, 0);
    assert!(
        !backpressure.others_flow("one", 0, TopicKind::Input, false, &lanes),
        "what came before it left counts no more"
    );
}

#[test]
fn while_a_topic_is_held_back_nobody_is_forgotten() {
    let (mut backpressure, lanes) = (Backpressure::default(), lanes());
    let topic: Arc<str> = "t".into();
    let start = Instant::now();
    backpressure.seen_at(start, &topic, 0, 1);
    backpressure.seen_at(start + LATELY / 2, &topic, 0, 0);
    assert!(backpressure.others_flow("t", 0, TopicKind::Input, false, &lanes), "nothing came since for anybody");
    assert_eq!(LATELY, Duration::from_secs(7 * 24 * 3600));
    backpressure.seen_at(start + LATELY - Duration::from_secs(1), &topic, 0, 0);
    assert!(backpressure.others_flow("t", 0, TopicKind::Input, false, &lanes), "it receives once a week");
    backpressure.seen_at(start + LATELY, &topic, 0, 0);
    assert!(
        !backpressure.others_flow("t", 0, TopicKind::Input, false, &lanes),
        "the topic is read, and nothing comes for the other"
    );
}

#[test]
fn only_another_lane_that_is_open_and_has_room_flows() {
    let (mut backpressure, lanes) = (Backpressure::default(), lanes());
    let topic: Arc<str> = "t".into();
    backpressure.seen(&topic, 0, 0);
    assert!(!backpressure.others_flow("t", 0, TopicKind::Input, false, &lanes), "itself");
    backpressure.seen(&topic, 0, 1);
    assert!(backpressure.others_flow("t", 0, TopicKind::Input, false, &lanes));
    assert!(!backpressure.others_flow("u", 0, TopicKind::Input, false, &lanes), "another topic");
    lanes.get(1).set_removed(true);
    assert!(!backpressure.others_flow("t", 0, TopicKind::Input, false, &lanes), "the configuration names it no longer");
    lanes.get(1).set_removed(false);
    assert!(backpressure.others_flow("t", 0, TopicKind::Input, false, &lanes));
    lanes.get(1).halt("why");
    assert!(!backpressure.others_flow("t", 0, TopicKind::Input, false, &lanes), "closed");
}

#[test]
fn while_redis_is_away_only_an_account_that_delivers_without_it_flows() {
    use WhenUnavailable::{Deliver, Hold};
    let topic: Arc<str> = "t".into();
    let mut backpressure = Backpressure::default();
    (0..3).for_each(|lane| backpressure.seen(&topic, 0, lane));
    assert!(!backpressure.others_flow("t", 0, TopicKind::Input, true, &lanes_of([Hold; 3])));
    let lanes = lanes_of([Hold, Hold, Deliver]);
    assert!(backpressure.others_flow("t", 0, TopicKind::Input, true, &lanes), "a holding one makes way for it");
    assert!(!backpressure.others_flow("t", 2, TopicKind::Input, true, &lanes), "and it for nobody");
    assert!(backpressure.others_flow("t", 2, TopicKind::Input, false, &lanes));
}

async fn store() -> (Store, MultiplexedConnection) {
    let store = Store::start().unwrap();
    let client = crate::redis::Config::stub(store.url()).client().unwrap();
    let connection = crate::redis::connect(&client).await.unwrap();
    (store, connection)
}

#[tokio::test]
async fn after_a_restart_it_is_known_who_received_within_a_week() {
    let (_store, mut c) = store().await;
    let (keys, lanes) = (Keys::new("pb"), lanes());
    let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
    let known = Arc::new(Known::default());
    let mut backpressure = Backpressure::new(known.clone());
    backpressure.seen(&one, 0, 0);
    backpressure.seen(&one, 0, 1);
    backpressure.seen(&two, 0, 0);
    crate::operate::arrivals::exchange(&known, &mut c, &keys, &lanes).await.unwrap();
    let life: i64 = ::redis::cmd("PTTL").arg("pb:arrived:one:b").query_async(&mut c).await.unwrap();
    const WEEK_MS: i64 = 7 * 24 * 3_600_000;
    assert!((WEEK_MS - 60_000..=WEEK_MS).contains(&life), "{life}");

    // Another process, in which the hanging lane fills its queue first.
    let known = Arc::new(Known::default());
    let mut backpressure = Backpressure::new(known.clone());
    backpressure.seen(&one, 0, 0);
    backpressure.seen(&two, 0, 0);
    assert!(!backpressure.others_flow("one", 0, TopicKind::Input, false, &lanes), "not read yet");
    crate::operate::arrivals::exchange(&known, &mut c, &keys, &lanes).await.unwrap();
    assert!(
        backpressure.others_flow("one", 0, TopicKind::Input, false, &lanes),
        "though nothing came since for either"
    );
    assert!(!backpressure.others_flow("two", 0, TopicKind::Input, false, &lanes), "each topic has its own");
    assert!(backpressure.any(|lane| lane == 1) && !backpressure.any(|lane| lane == 2));
    assert!(backpressure.left("one", 0));
    assert!(!backpressure.others_flow("one", 0, TopicKind::Input, false, &lanes));
}

#[tokio::test]
async fn what_redis_did_not_take_is_told_again_and_what_goes_on_once_an_hour() {
    let (store, mut c) = store().await;
    let (keys, lanes) = (Keys::new("pb"), lanes());
    let topic: Arc<str> = "t".into();
    let known = Arc::new(Known::default());
    let mut backpressure = Backpressure::new(known.clone());
    let start = Instant::now();
    backpressure.seen_at(start, &topic, 0, 1);
    drop(store);
    assert!(crate::operate::arrivals::exchange(&known, &mut c, &keys, &lanes).await.is_err());
    let (_store, mut c) = self::store().await;
    let mut written = async |known: &Known| {
        crate::operate::arrivals::exchange(known, &mut c, &keys, &lanes).await.unwrap();
        ::redis::cmd("DEL").arg("pb:arrived:t:b").query_async::<i64>(&mut c).await.unwrap() == 1
    };
    assert!(written(&known).await);
    backpressure.seen_at(start + NOTED_FOR - Duration::from_secs(1), &topic, 0, 1);
    assert!(!written(&known).await, "within the hour");
    backpressure.seen_at(start + NOTED_FOR, &topic, 0, 1);
    assert!(written(&known).await);
}
