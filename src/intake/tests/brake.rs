//! The storm brake: which records count, what stops, and how it goes on.

use super::*;

impl World {
    fn garbage(&mut self, topic: &str, count: usize) {
        (0..count).for_each(|_| _ = self.receive_value(topic, "hello 13812345678".into()));
    }

    /// The next turn of the consumer's loop.
    fn turn(&mut self) {
        self.intake.tick(Instant::now());
    }

    fn is_stopped(&self, topic: &str) -> bool {
        self.intake.pause_wanted(topic, 0)
    }
}

#[test]
fn a_hundred_undecodable_records_stop_their_topic_at_once_and_no_other() {
    let mut world = World::new(10_000, 1 << 24);
    world.receive("t", "a");
    world.garbage("t", 60);
    world.receive("u", "a");
    (0..39).for_each(|_| _ = world.receive("t", "nobody"));
    assert!(!world.is_stopped("t") && world.intake.may_poll() == Flow::Poll);
    world.garbage("t", 1);
    assert!(world.is_stopped("t") && !world.is_stopped("u"));
    assert_eq!(world.intake.may_poll(), Flow::Skip, "nothing more is taken before its partitions are paused");
    world.turn();
    assert_eq!(world.intake.may_poll(), Flow::Poll, "the other topic flows");
    // What still arrives is dead-lettered as ever, and stops nothing a second time.
    world.garbage("t", 200);
    assert_eq!(world.intake.may_poll(), Flow::Poll);
    let ended = std::iter::from_fn(|| world.outbox.try_recv().ok()).count();
    assert_eq!(ended, 300);

    let [storm] = &world.storms.all()[..] else { panic!("{:?}", world.storms.all()) };
    assert_eq!((storm.topic.as_str(), storm.replica.as_str(), storm.why.as_str()), ("t", "r1", "100 records in a row"));
    assert_eq!(storm.counts, [("malformed".into(), 61), ("unknown_account".into(), 39)].into());
    assert_eq!((storm.first.offset, storm.last.offset, storm.reason.as_str()), (1, 101, "malformed"));
    assert_eq!((storm.sample.as_str(), storm.detail.is_empty()), ("hello 138****5678", false));
    assert_eq!(storm.unblock, "postback unblock storm --topic t --reason TEXT");
}

#[test]
fn half_of_a_thousand_stop_a_topic_too_and_what_is_refused_otherwise_does_not_count() {
    let mut world = World::new(100_000, 1 << 26);
    for _ in 0..499 {
        world.garbage("t", 1);
        // It names an account of ours, and is invalid.
        world.receive_value("t", format!(r#"{{"trans_id":"t","platform":"{}","account":"a"}}"#, crate::stub::PLATFORM));
    }
    assert!(!world.is_stopped("t"));
    world.garbage("t", 1);
    assert!(world.is_stopped("t"));
    assert_eq!(world.storms.all()[0].why, "500 of the last 1000 records");
}

#[test]
fn replayed_records_neither_count_nor_break_a_row() {
    let mut world = World::new(10_000, 1 << 24);
    world.garbage("t", 99);
    let block =
        [("pb-origin-topic", "t"), ("pb-origin-partition", "0"), ("pb-origin-offset", "1"), ("pb-replay-id", "r-1")];
    world.headers = block.map(|(name, value)| Header::text(name, value)).to_vec();
    world.garbage("t", 200);
    world.receive("t", "a");
    assert!(!world.is_stopped("t"));
    world.headers.clear();
    world.garbage("t", 1);
    assert!(world.is_stopped("t"));
}

#[test]
fn a_release_lets_the_topic_go_on_and_its_counts_begin_anew() {
    let mut world = World::new(10_000, 1 << 24);
    world.garbage("t", 100);
    world.turn();
    assert!(world.is_stopped("t"));
    world.storms.saved("t");
    world.storms.obey(Default::default(), false);
    world.turn();
    assert!(!world.is_stopped("t"));
    world.garbage("t", 99);
    assert!(!world.is_stopped("t"));
    world.garbage("t", 1);
    assert!(world.is_stopped("t"));
}

#[test]
fn what_another_replica_stopped_is_not_read_and_what_was_counted_here_is_forgotten() {
    let mut world = World::new(10_000, 1 << 24);
    world.garbage("t", 99);
    let storm = crate::storm::Storm { topic: "t".into(), ..Default::default() };
    world.storms.obey(([("t".into(), storm)].into(), Default::default(), Default::default()), false);
    world.turn();
    assert!(world.is_stopped("t") && world.intake.may_poll() == Flow::Poll);
    world.storms.obey(Default::default(), false);
    world.turn();
    world.garbage("t", 99);
    assert!(!world.is_stopped("t"));
    world.intake.leaving(&Assignment::new("t".into(), 0, 1));
    world.garbage("t", 99);
    assert!(!world.is_stopped("t"), "another member has read what was before");
}

#[test]
fn what_an_operator_lets_pass_is_not_judged_and_then_the_window_is_empty() {
    let mut world = World::new(10_000, 1 << 24);
    world.garbage("t", 100);
    world.turn();
    world.storms.saved("t");
    let released = |left: u64| -> crate::storm::board::Found {
        (Default::default(), [("t".into(), "1".into())].into(), [("t".into(), left)].into())
    };
    world.storms.obey(released(300), false);
    world.turn();
    assert!(!world.is_stopped("t"));

    // The first one asks for a share, and the topic waits for it.
    world.garbage("t", 1);
    assert!(world.is_stopped("t") && world.intake.may_poll() == Flow::Skip);
    world.turn();
    assert!(world.is_stopped("t") && world.intake.may_poll() == Flow::Poll, "other topics flow");
    assert!(world.storms.all().is_empty() && world.storms.asking().contains("t"));
    world.storms.give("t", 300, 0);
    world.turn();
    assert!(!world.is_stopped("t"));
    world.garbage("t", 149);
    world.receive("t", "a");
    world.garbage("u", 99);
    world.garbage("t", 150);
    assert!(
        !world.is_stopped("t") && !world.is_stopped("u"),
        "300 pass with the one that asked, and another topic is judged"
    );
    world.garbage("t", 99);
    assert!(!world.is_stopped("t"));
    world.garbage("t", 1);
    assert!(world.is_stopped("t"));
    let storms = world.storms.all();
    assert_eq!((storms.len(), &storms[0].counts), (1, &[("malformed".into(), 100)].into()));
}

#[test]
fn a_topic_that_waits_for_a_share_goes_on_if_nothing_is_left_and_is_judged() {
    let mut world = World::new(10_000, 1 << 24);
    let released = |left: &[u64]| -> crate::storm::board::Found {
        let left = left.iter().map(|left| ("t".to_owned(), *left)).collect();
        (Default::default(), [("t".into(), "1".into())].into(), left)
    };
    world.storms.obey(released(&[300]), false);
    world.garbage("t", 1);
    world.turn();
    assert!(world.is_stopped("t"));
    world.storms.obey(released(&[]), false);
    world.turn();
    assert!(!world.is_stopped("t"));
    world.garbage("t", 100);
    assert!(world.is_stopped("t") && world.storms.is_stopped("t"));
}
