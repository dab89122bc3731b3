use super::*;

/// Two threads.
struct World {
    catch_up: CatchUp,
    idled: [u64; 2],
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self { catch_up: CatchUp::new([7, 7].into_iter()), idled: [7; 2], now: Instant::now() }
    }

    /// A batch with so many records for each thread.
    fn batch(&mut self, first: usize, second: usize) -> Vec<Open> {
        let threads = std::iter::repeat_n(0, first).chain(std::iter::repeat_n(1, second));
        let records = threads.map(|thread| self.hand_over(thread)).collect();
        self.catch_up.batch_ended(self.idled.into_iter());
        records
    }

    fn hand_over(&mut self, thread: usize) -> Open {
        let open = Open::default();
        self.catch_up.hands_over(&open, thread);
        open
    }

    fn waits(&mut self) -> bool {
        self.catch_up.is_needed(self.idled.into_iter(), self.now)
    }
}

#[test]
fn it_reads_so_many_records_ahead_and_goes_on_once_an_eighth_is_done() {
    let mut world = World::new();
    let records = world.batch(AHEAD - 1, AHEAD / 2);
    assert!(!world.waits());
    world.batch(1, 0);
    assert!(world.waits());
    for record in &records[..=AHEAD / 8] {
        assert!(world.waits(), "the next batch would have a few records");
        world.catch_up.completed(record);
    }
    assert!(!world.waits());
    world.batch(AHEAD / 8, 0);
    assert!(!world.waits(), "it may be full again before it waits");
    world.batch(1, 0);
    assert!(world.waits());
}

#[test]
fn what_waits_for_something_other_than_its_thread_does_not_count() {
    let mut world = World::new();
    let hung = world.batch(2 * AHEAD, AHEAD - 1);
    assert!(world.waits());
    world.idled[0] += 1;
    assert!(!world.waits());
    world.batch(AHEAD - 1, 0);
    assert!(!world.waits());
    world.batch(1, 0);
    hung[..AHEAD].iter().for_each(|record| world.catch_up.completed(record));
    assert!(world.waits(), "the end of an earlier record is no progress with those that the thread has not come to");
}

#[test]
fn a_thread_that_ran_out_of_work_before_the_last_batch_has_that_batch_to_do() {
    let mut world = World::new();
    world.idled = [8, 8];
    world.batch(AHEAD, AHEAD);
    assert!(world.waits());
}

#[test]
fn a_thread_with_nothing_to_do_gets_more_though_another_one_has_much() {
    let mut world = World::new();
    world.batch(2 * AHEAD, FEW);
    assert!(world.waits(), "it has not come to those that it has");
    world.idled[1] += 1;
    assert!(!world.waits());
    world.batch(2 * AHEAD, FEW - 1);
    assert!(!world.waits());
    world.batch(0, 1);
    assert!(world.waits(), "it has some to do");
    world.idled[1] += 1;
    assert!(!world.waits(), "it is through with them");
}

#[test]
fn a_thread_that_sleeps_is_not_forgotten_over_the_records_of_another_one() {
    let mut world = World::new();
    world.batch(2 * AHEAD, 0);
    assert!(!world.waits(), "it had nothing to do from the start");
    world.batch(0, FEW);
    assert!(world.waits());
    world.idled[1] += 1;
    world.batch(1, 0);
    assert!(!world.waits(), "it is through with its records, and sleeps");
}

#[test]
fn a_thread_that_hangs_delays_the_others_only_for_a_while() {
    let mut world = World::new();
    world.batch(AHEAD, AHEAD);
    assert!(world.waits());
    world.now += LONGEST_WAIT - Duration::from_millis(1);
    assert!(world.waits());
    world.now += Duration::from_millis(1);
    assert!(!world.waits());
    world.batch(AHEAD, 0);
    assert!(world.waits(), "and for as long after the next ones");
    world.now += LONGEST_WAIT;
    assert!(!world.waits());
}

#[test]
fn without_threads_nothing_has_to_catch_up() {
    let mut catch_up = CatchUp::new(std::iter::empty());
    (0..2 * AHEAD).for_each(|_| catch_up.hands_over(&Open::default(), 0));
    assert!(!catch_up.is_needed(std::iter::empty(), Instant::now()));
}
