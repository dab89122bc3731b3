//! The claim protocol against a store: two processes, two copies of one conversion, and faults at every step.
//!
//! The tests run on the embedded store and on a real Redis. Every case uses its own keys.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod stores;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use postback::claim::rules::{ClaimRequest, Key, Spare, Value};
use postback::claim::{ClaimAttempt, ClaimGuard, ClaimOutcome, ConfirmAttempt, Dedupe};
use postback::redis::batcher::Batcher;
use postback::redis::health::Health;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::task::LocalSet;
use tokio::time::sleep;

use stores::{on_both_stores, redis};

on_both_stores! {
    whatever_fails_every_send_that_could_be_a_second_one_is_declared_and_none_is_lost
    whatever_fails_in_a_batch_each_of_its_items_keeps_the_promise_by_itself
    two_owners_killed_after_their_confirms_leave_a_declared_send_to_the_counter_alone
    a_claim_is_not_taken_over_before_its_lease_and_is_after_it
    a_release_puts_back_what_the_claim_replaced_stale_at_once
    a_released_fresh_claim_leaves_nothing
    a_renewed_claim_is_young_again_and_one_that_was_taken_over_is_not_renewed
    what_is_taken_over_is_declared_once_however_often_the_platform_refuses_it
    a_refused_send_whose_next_claim_is_held_takes_its_count_into_the_tier
    a_refused_send_does_not_cover_what_another_wrote_meanwhile
    an_unknown_is_its_own_lineages_and_keeps_its_count_through_a_release
    a_claim_repeated_with_its_token_finds_itself
    a_confirm_repeated_across_a_change_of_the_primary_is_counted_before_the_change_is_noticed
    two_copies_in_one_process_take_turns_and_the_second_is_a_duplicate
    a_flushed_store_grants_nothing_and_keeps_nothing_of_it
    a_failover_is_answered_by_writing_the_last_minute_again
    a_key_of_another_type_stops_its_own_claim_alone
    an_acceptance_replaces_a_key_of_another_type_and_a_lost_answer_does_not
    every_key_has_an_expiry
}

/// How many schedules are tried.
const CASES: u32 = 200;
/// How many schedules of batches are tried. A batch is several conversions.
const CASES_OF_BATCHES: u32 = 60;
const LEASE: Duration = Duration::from_millis(60);
const WINDOW: Duration = Duration::from_secs(600);

fn prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("claims-{}-{}-{}", std::process::id(), rand::random::<u32>(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A process. Its claims die with it.
fn process(prefix: &str) -> Rc<Dedupe> {
    process_with(prefix, Arc::new(Health::default()))
}

fn process_with(prefix: &str, health: Arc<Health>) -> Rc<Dedupe> {
    let (batcher, work) = Batcher::new(redis(), format!("{prefix}:epoch"), health);
    tokio::task::spawn_local(work);
    Rc::new(Dedupe::new(batcher, prefix, WINDOW, LEASE))
}

async fn set_epoch(prefix: &str) {
    let mut c = redis().get_multiplexed_async_connection().await.unwrap();
    let () = redis::cmd("SET").arg(format!("{prefix}:epoch")).arg("e1").query_async(&mut c).await.unwrap();
}

fn key(number: usize) -> Key {
    Key::new("qihoo360", "acme", "ORDER", &format!("t-{number}"))
}

fn claim_request(origin: &str, own: u32, in_doubt: bool) -> ClaimRequest {
    ClaimRequest {
        key: key(1),
        origin: origin.into(),
        fingerprint: 7,
        own,
        in_doubt,
        spare: Spare::None,
        force: false,
        possible: 0,
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

async fn claimed(dedupe: &Dedupe, who: &mut ClaimRequest) -> ClaimGuard {
    match dedupe.claim(who, &mut ClaimAttempt::default()).await.unwrap() {
        ClaimOutcome::Claim(guard) => guard,
        ClaimOutcome::Duplicate { .. } => panic!("duplicate"),
        ClaimOutcome::Conflict => panic!("conflict"),
        ClaimOutcome::Busy { unknown } => panic!("busy, unknown {unknown}"),
        ClaimOutcome::Foreign => panic!("foreign"),
    }
}

async fn is_busy(dedupe: &Dedupe, who: &mut ClaimRequest) -> bool {
    matches!(dedupe.claim(who, &mut ClaimAttempt::default()).await.unwrap(), ClaimOutcome::Busy { unknown: false })
}

/// One step of a schedule. A claim and its answer are two steps, so that other steps may come in between: the lease
/// passes, another process takes over, and the first owner, which is only slow, answers late.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Nothing happens for longer than the lease.
    Wait,
    /// A process claims for a copy. If another process holds that copy, the copy was read again, and the other process
    /// goes on as an owner that has lost the record.
    Claim { copy: usize, process: usize },
    /// A process begins the lease of its claim again, as before each further page of a call. If that fails, it sends
    /// nothing.
    Renew { process: usize },
    /// The claim that a process holds ends like this.
    Answer { process: usize, end: Ending },
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Accepted,
    LostAnswer,
    Refused,
    /// It was refused, and is claimed again in the same visit.
    Throttled,
    KilledBeforeSend,
    KilledAfterAcceptance,
    KilledAfterConfirm,
    KilledAfterMark,
    KilledBeforeRelease,
}

impl Ending {
    /// Whether the platform accepted it.
    fn is_acceptance(self) -> bool {
        !matches!(self, Ending::KilledBeforeSend | Ending::Refused | Ending::Throttled | Ending::KilledBeforeRelease)
    }

    fn is_kill(self) -> bool {
        !matches!(self, Ending::Accepted | Ending::LostAnswer | Ending::Refused | Ending::Throttled)
    }
}

/// One copy of the conversion: its headers as they were last published, and its receipt.
#[derive(Clone, Debug)]
struct Copy {
    origin: String,
    resends: u32,
    ambiguous: bool,
    receipt: Option<(bool, u32)>,
}

impl Copy {
    fn claim_request(&self) -> ClaimRequest {
        let spare = if self.resends != 0 && !self.ambiguous { Spare::Earlier } else { Spare::None };
        ClaimRequest { spare, ..claim_request(&self.origin, self.resends, self.ambiguous || self.resends != 0) }
    }
}

/// A claim between its two steps.
struct Owner {
    copy: usize,
    who: ClaimRequest,
    guard: ClaimGuard,
    /// The record went to another process. This one ends its claim, and publishes nothing but a `delivered` receipt.
    gone: bool,
    /// Another process took the claim over.
    overtaken: bool,
}

/// Counts answers of owners whose claim another process had taken over.
#[derive(Clone, Copy, Debug, Default)]
struct Late {
    confirms: u32,
    marks: u32,
    releases: u32,
    /// Refused ones that declared a send and found the key held when they claimed again.
    held: u32,
}

/// Only this process has no faults. It brings every copy to its end.
const HEALTHY: usize = 2;

/// One conversion and everything that happens to it.
struct World {
    prefix: String,
    key: Key,
    /// Several conversions share these.
    processes: Rc<RefCell<Vec<Rc<Dedupe>>>>,
    /// One per process. Copies of one conversion take turns within a process, so a process holds at most one claim.
    owners: Vec<Option<Owner>>,
    copies: Vec<Copy>,
    accepted: u32,
    /// Re-sends that only the counter of a killed process declared. A test of its own explains them.
    counted_only: u32,
    late: Late,
}

impl World {
    async fn new() -> Self {
        Self::several(1).await.remove(0)
    }

    /// Conversions that are claimed and sent together.
    async fn several(count: usize) -> Vec<Self> {
        let prefix = prefix();
        set_epoch(&prefix).await;
        let processes: Rc<RefCell<Vec<_>>> = Rc::new(RefCell::new((0..=HEALTHY).map(|_| process(&prefix)).collect()));
        (1..=count).map(|number| Self::of(key(number), &prefix, &processes)).collect()
    }

    fn of(key: Key, prefix: &str, processes: &Rc<RefCell<Vec<Rc<Dedupe>>>>) -> Self {
        let owners = (0..=HEALTHY).map(|_| None).collect();
        let copy = |origin: &str| Copy { origin: origin.into(), resends: 0, ambiguous: false, receipt: None };
        let copies = vec![copy("in:0:1"), copy("in:1:1")];
        let (prefix, processes) = (prefix.to_owned(), processes.clone());
        Self { prefix, key, processes, owners, copies, accepted: 0, counted_only: 0, late: Late::default() }
    }

    fn process(&self, index: usize) -> Rc<Dedupe> {
        self.processes.borrow()[index].clone()
    }

    fn kill(&mut self, process_index: usize) {
        self.owners[process_index] = None;
        self.processes.borrow_mut()[process_index] = process(&self.prefix);
    }

    /// The process was killed before this answer was settled.
    fn die(&mut self, process: usize, end: Ending) {
        if self.owners[process].take().is_some() && end.is_acceptance() {
            self.accepted += 1;
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Wait => sleep(LEASE + Duration::from_millis(5)).await,
            Step::Claim { copy, process } => self.claim(copy, process).await,
            Step::Renew { process } => self.renew(process).await,
            Step::Answer { process, end } => self.answer(process, end).await,
        }
    }

    async fn renew(&mut self, process: usize) {
        let dedupe = self.process(process);
        if let Some(owner) = &mut self.owners[process]
            && !dedupe.renew(&owner.who, &mut owner.guard.claim).await.unwrap()
        {
            self.owners[process] = None;
        }
    }

    /// The first half of an attempt. A process that holds a claim makes no other, because the copy would wait for its
    /// turn.
    async fn claim(&mut self, copy: usize, process: usize) {
        if self.copies[copy].receipt.is_some() || self.owners[process].is_some() {
            return;
        }
        self.owners.iter_mut().flatten().filter(|o| o.copy == copy).for_each(|o| o.gone = true);
        let who = ClaimRequest { key: self.key, ..self.copies[copy].claim_request() };
        self.claim_as(copy, process, who).await;
    }

    async fn claim_as(&mut self, copy: usize, process: usize, mut who: ClaimRequest) {
        match self.process(process).claim(&mut who, &mut ClaimAttempt::default()).await.unwrap() {
            ClaimOutcome::Claim(guard) => {
                // At most one of them holds the key.
                self.owners.iter_mut().flatten().for_each(|o| o.overtaken = true);
                self.owners[process] = Some(Owner { copy, who, guard, gone: false, overtaken: false });
            }
            ClaimOutcome::Duplicate { resends, .. } => self.receipt(copy, false, resends),
            ClaimOutcome::Conflict | ClaimOutcome::Foreign => panic!("neither money nor type differs here"),
            // It is held, possibly after a refusal in the same visit. The copy in the tier carries what was declared,
            // and no further attempt.
            ClaimOutcome::Busy { .. } => {
                self.late.held += u32::from(who.own > self.copies[copy].resends);
                self.copies[copy].resends = who.own;
            }
        }
    }

    /// The second half of an attempt and the order of `settle`, with the fault at its place.
    async fn answer(&mut self, process: usize, end: Ending) {
        let Some(Owner { copy, mut who, mut guard, gone, overtaken }) = self.owners[process].take() else { return };
        let dedupe = self.process(process);
        if matches!(end, Ending::KilledBeforeSend) {
            return self.kill(process);
        }
        if guard.claim.declare() {
            who.own += 1;
        }
        if end.is_acceptance() {
            self.accepted += 1;
        }
        match end {
            Ending::KilledBeforeSend => {}
            Ending::Accepted | Ending::KilledAfterConfirm => {
                dedupe.confirm(&mut who, &guard.claim, 0, &mut ConfirmAttempt::default()).await.unwrap();
                self.late.confirms += u32::from(overtaken);
                if matches!(end, Ending::Accepted) {
                    self.receipt(copy, true, who.own);
                } else {
                    let receipt = self.copies[copy].receipt;
                    self.counted_only += receipt.map_or(0, |(_, resends)| who.own.saturating_sub(resends));
                    self.kill(process);
                }
            }
            Ending::KilledAfterAcceptance => self.kill(process),
            Ending::LostAnswer | Ending::KilledAfterMark => {
                dedupe.mark(&mut who, Some(&guard.claim), 0).await.unwrap();
                self.late.marks += u32::from(overtaken);
                match end {
                    Ending::KilledAfterMark => self.kill(process),
                    _ if gone => {}
                    _ => (self.copies[copy].resends, self.copies[copy].ambiguous) = (who.own, true),
                }
            }
            Ending::Throttled => {
                dedupe.release(&mut who, guard).await;
                self.late.releases += u32::from(overtaken);
                who.in_doubt |= who.own != 0;
                if !gone {
                    self.claim_as(copy, process, who).await;
                }
            }
            Ending::Refused | Ending::KilledBeforeRelease => {
                if !gone {
                    (self.copies[copy].resends, self.copies[copy].ambiguous) = (who.own, false);
                }
                if matches!(end, Ending::Refused) {
                    dedupe.release(&mut who, guard).await;
                    self.late.releases += u32::from(overtaken);
                } else {
                    self.kill(process);
                }
            }
        }
    }

    async fn walk(&mut self, copy: usize, process: usize, end: Ending) {
        self.claim(copy, process).await;
        self.answer(process, end).await;
    }

    fn receipt(&mut self, copy: usize, delivered: bool, resends: u32) {
        let before = self.copies[copy].receipt.map_or(0, |r| r.1);
        self.copies[copy].receipt = Some((delivered, resends.max(before)));
    }

    /// Without further faults every copy ends. Owners that still hold a claim answer after that, as late as possible.
    async fn finish(&mut self) {
        for copy in 0..self.copies.len() {
            for _ in 0..50 {
                self.walk(copy, HEALTHY, Ending::Accepted).await;
                if self.copies[copy].receipt.is_some() {
                    break;
                }
                // An `unknown` of the other lineage holds this copy until that lineage has ended.
                self.walk(1 - copy, HEALTHY, Ending::Accepted).await;
                sleep(LEASE / 4).await;
            }
        }
        for process in 0..HEALTHY {
            self.answer(process, Ending::Accepted).await;
        }
    }
}

fn some_steps(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let claim = (0..2_usize, 0..HEALTHY).prop_map(|(copy, process)| Step::Claim { copy, process });
    let answer = (0..HEALTHY, any_end()).prop_map(|(process, end)| Step::Answer { process, end });
    let renew = (0..HEALTHY).prop_map(|process| Step::Renew { process });
    proptest::collection::vec(prop_oneof![2 => Just(Step::Wait), 5 => claim, 2 => renew, 4 => answer], lengths)
}

fn any_end() -> impl Strategy<Value = Ending> {
    prop_oneof![
        3 => live_end(),
        1 => Just(Ending::KilledBeforeSend),
        1 => Just(Ending::KilledAfterAcceptance),
        1 => Just(Ending::KilledAfterConfirm),
        1 => Just(Ending::KilledAfterMark),
        1 => Just(Ending::KilledBeforeRelease),
    ]
}

fn live_end() -> impl Strategy<Value = Ending> {
    prop_oneof![Just(Ending::Accepted), Just(Ending::LostAnswer), Just(Ending::Refused), Just(Ending::Throttled)]
}

/// Any steps; and also any steps around a slow owner and the one that takes over from it, because few random schedules
/// contain that.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let owners = (0..2_usize, 0..2_usize, 0..2_usize, live_end(), any_end());
    let around = (some_steps(0..3), some_steps(0..3), some_steps(0..2), some_steps(0..5));
    let with_slow_owner =
        (owners, around).prop_map(|((copy, other, slow, late, end), (before, between, then, after))| {
            let next = 1 - slow;
            let taken_over =
                [Step::Claim { copy, process: slow }, Step::Wait, Step::Claim { copy: other, process: next }];
            let late = vec![Step::Answer { process: slow, end: late }];
            let end = vec![Step::Answer { process: next, end }];
            [before, taken_over.into(), between, late, then, end, after].concat()
        });
    prop_oneof![1 => some_steps(1..10), 2 => with_slow_owner, 1 => with_held_owner(), 1 => with_refused_owner()]
}

/// An owner that declares a second send and is refused, and the visit after it. The declaration covers that visit once.
fn with_refused_owner() -> impl Strategy<Value = Vec<Step>> {
    let first = prop_oneof![Just(Ending::KilledAfterAcceptance), Just(Ending::LostAnswer)];
    let refused = prop_oneof![Just(Ending::Refused), Just(Ending::Throttled)];
    let next = prop_oneof![Just(Ending::KilledAfterAcceptance), any_end()];
    let owners = (0..2_usize, proptest::array::uniform3(0..2_usize), first, refused, next);
    (owners, some_steps(0..2), some_steps(0..4)).prop_map(|((copy, by, first, refused, next), between, after)| {
        let taken = [
            Step::Claim { copy, process: by[0] },
            Step::Answer { process: by[0], end: first },
            Step::Wait,
            Step::Claim { copy, process: by[1] },
            Step::Answer { process: by[1], end: refused },
        ];
        let next = vec![Step::Claim { copy, process: by[2] }, Step::Answer { process: by[2], end: next }, Step::Wait];
        [taken.into(), between, next, after].concat()
    })
}

/// Any steps around an owner that declares a second send, is refused, and then finds that the other copy holds the key.
/// It goes to a tier with its declaration.
fn with_held_owner() -> impl Strategy<Value = Vec<Step>> {
    let first = prop_oneof![Just(Ending::KilledAfterAcceptance), Just(Ending::LostAnswer)];
    let owners = (0..2_usize, 0..2_usize, 0..2_usize, first, any_end());
    let around = (some_steps(0..2), some_steps(0..2), some_steps(0..5));
    (owners, around).prop_map(|((copy, before, slow, first, end), (between, then, after))| {
        let next = 1 - slow;
        let held = [
            Step::Claim { copy, process: before },
            Step::Answer { process: before, end: first },
            Step::Wait,
            Step::Claim { copy, process: slow },
            Step::Wait,
            Step::Claim { copy: 1 - copy, process: next },
        ];
        let refused = vec![Step::Answer { process: slow, end: Ending::Throttled }];
        let end = vec![Step::Answer { process: next, end }];
        [held.into(), between, refused, then, end, after].concat()
    })
}

/// One step for all conversions of a batch. Each is claimed separately, all are sent in one request, and each has its
/// own answer. A kill between two answers stops all conversions that are not settled.
async fn step_together(worlds: &mut [World], step: Step, ends: &[Ending]) {
    let Step::Answer { process, .. } = step else {
        let conversions = if matches!(step, Step::Wait) { 1 } else { worlds.len() };
        for world in &mut worlds[..conversions] {
            world.step(step).await;
        }
        return;
    };
    let mut is_killed = false;
    for (world, end) in worlds.iter_mut().zip(ends) {
        if is_killed {
            world.die(process, *end);
            continue;
        }
        is_killed = end.is_kill() && world.owners[process].is_some();
        world.answer(process, *end).await;
    }
    if is_killed {
        // The throttled ones had claimed again.
        worlds.iter_mut().for_each(|world| world.owners[process] = None);
    }
}

fn keeps_the_promise(world: &World) -> Result<(), TestCaseError> {
    let declared: u32 = world.copies.iter().filter_map(|c| c.receipt).map(|r| r.1).sum();
    prop_assert!(world.copies.iter().all(|c| c.receipt.is_some()), "a copy never ended: {:?}", world.copies);
    prop_assert!(world.accepted >= 1, "lost: {:?}", world.copies);
    prop_assert!(
        world.accepted <= 1 + declared + world.counted_only,
        "{} accepted, {declared} declared: {:?}",
        world.accepted,
        world.copies
    );
    Ok(())
}

/// Tries schedules of batches of these sizes. The schedule draws how one answer of a batch ends; the other answers of
/// the batch are drawn here.
fn promise_is_kept(cases: u32, sizes: std::ops::RangeInclusive<usize>) {
    let mut runner = TestRunner::new(Config { cases, ..Config::default() });
    let late = Cell::new(Late::default());
    let beside = proptest::collection::vec(live_end(), 8);
    runner
        .run(&(steps(), sizes, beside), |(steps, size, beside)| {
            run(async {
                let mut worlds = World::several(size).await;
                for (n, step) in steps.iter().enumerate() {
                    let mut ends: Vec<_> = beside.iter().cycle().skip(n).take(size).copied().collect();
                    if let Step::Answer { end, .. } = step {
                        ends[n % size] = *end;
                    }
                    step_together(&mut worlds, *step, &ends).await;
                }
                for world in &mut worlds {
                    let (before, sum) = (world.late, late.get());
                    world.finish().await;
                    keeps_the_promise(world)?;
                    late.set(Late {
                        confirms: sum.confirms + before.confirms,
                        marks: sum.marks + before.marks,
                        releases: sum.releases + before.releases,
                        held: sum.held + before.held,
                    });
                }
                Ok(())
            })
        })
        .unwrap();
    let Late { confirms, marks, releases, held } = late.get();
    assert!(confirms.min(marks).min(releases).min(held) > 0, "no slow owner was drawn: {:?}", late.get());
}

fn whatever_fails_every_send_that_could_be_a_second_one_is_declared_and_none_is_lost() {
    promise_is_kept(CASES, 1..=1);
}

fn whatever_fails_in_a_batch_each_of_its_items_keeps_the_promise_by_itself() {
    promise_is_kept(CASES_OF_BATCHES, 2..=5);
}

/// Four faults at once are more than the pairs that the rules cover: a slow owner, the loss of the next owner's record
/// while it sends, and a kill of each between its confirm and its receipt. Then both copies find a confirm of the
/// other's lineage. Redis still says what was declared.
fn two_owners_killed_after_their_confirms_leave_a_declared_send_to_the_counter_alone() {
    run(async {
        let mut world = World::new().await;
        world.step(Step::Claim { copy: 1, process: 1 }).await;
        world.step(Step::Wait).await;
        world.step(Step::Claim { copy: 0, process: 0 }).await;
        world.step(Step::Answer { process: 1, end: Ending::KilledAfterConfirm }).await;
        world.step(Step::Claim { copy: 0, process: 1 }).await;
        world.step(Step::Answer { process: 0, end: Ending::KilledAfterConfirm }).await;
        world.finish().await;
        assert_eq!(world.accepted, 2);
        assert_eq!(world.copies.iter().map(|c| c.receipt).collect::<Vec<_>>(), [Some((false, 0)); 2]);
        assert_eq!(world.counted_only, 3);
        let (key, mut store) = (claim_request("", 0, false).key.name(&world.prefix), redis());
        let found: Vec<u8> = redis::cmd("GET").arg(key).query(&mut store).unwrap();
        assert_eq!(Value::parse(&found).resends(), 3);
    });
}

fn a_claim_is_not_taken_over_before_its_lease_and_is_after_it() {
    run(async {
        let world = World::new().await;
        let (a, b) = (&world.process(0), &world.process(1));
        let mut first = claim_request("in:0:1", 0, false);
        let guard = claimed(a, &mut first).await;
        assert!(!guard.claim.resend);
        let mut second = claim_request("in:0:1", 0, false);
        assert!(is_busy(b, &mut second).await);
        sleep(LEASE + Duration::from_millis(5)).await;
        let taken = claimed(b, &mut second).await;
        assert!(taken.claim.resend && taken.claim.taken_over());
        // A late confirm of the first copy is a fact, and counts one possible duplicate.
        a.confirm(&mut first, &guard.claim, 0, &mut ConfirmAttempt::default()).await.unwrap();
        assert_eq!((first.own, first.possible), (2, 1));
        // The second copy's confirm finds that.
        second.own += 1;
        b.confirm(&mut second, &taken.claim, 0, &mut ConfirmAttempt::default()).await.unwrap();
        assert_eq!((second.own, second.possible), (3, 1));
    });
}

fn a_release_puts_back_what_the_claim_replaced_stale_at_once() {
    run(async {
        let world = World::new().await;
        let (a, b) = (&world.process(0), &world.process(1));
        let mut dead = claim_request("in:0:1", 0, false);
        drop(claimed(a, &mut dead).await);
        sleep(LEASE + Duration::from_millis(5)).await;
        let mut next = claim_request("in:0:1", 0, false);
        let taken = claimed(b, &mut next).await;
        b.release(&mut next, taken).await;
        let again = claimed(a, &mut claim_request("in:0:1", 0, false)).await;
        assert!(again.claim.taken_over(), "a send that may have been accepted was forgotten");
    });
}

/// A take-over from a killed owner that is refused again and again: by answers that lead back to the lane's head, and
/// by answers that lead through a tier, where only the headers know of it.
fn what_is_taken_over_is_declared_once_however_often_the_platform_refuses_it() {
    run(async {
        let mut world = World::new().await;
        world.walk(0, 0, Ending::KilledAfterAcceptance).await;
        for end in [Ending::Throttled, Ending::Throttled, Ending::Refused, Ending::Refused, Ending::Throttled] {
            sleep(LEASE + Duration::from_millis(5)).await;
            world.walk(0, HEALTHY, end).await;
        }
        world.answer(HEALTHY, Ending::Refused).await;
        assert_eq!(world.copies[0].resends, 1);
        // A send in between that may have been accepted uses up the declaration, and so does a lost answer.
        world.walk(0, 0, Ending::KilledAfterAcceptance).await;
        sleep(LEASE + Duration::from_millis(5)).await;
        world.walk(0, HEALTHY, Ending::LostAnswer).await;
        assert_eq!(world.copies[0].resends, 2);
        world.walk(0, HEALTHY, Ending::Refused).await;
        world.walk(0, HEALTHY, Ending::Accepted).await;
        assert_eq!((world.accepted, world.copies[0].receipt), (4, Some((true, 3))));
    });
}

/// A 429, then held by another copy, then a tier: only the headers know that a send was declared.
fn a_refused_send_whose_next_claim_is_held_takes_its_count_into_the_tier() {
    run(async {
        let mut world = World::new().await;
        world.walk(0, 0, Ending::KilledAfterAcceptance).await;
        world.step(Step::Wait).await;
        world.step(Step::Claim { copy: 0, process: 1 }).await;
        world.step(Step::Wait).await;
        world.step(Step::Claim { copy: 1, process: 0 }).await;
        world.step(Step::Answer { process: 1, end: Ending::Throttled }).await;
        assert_eq!((world.copies[0].resends, world.late.held), (1, 1));
        world.step(Step::Answer { process: 0, end: Ending::KilledAfterAcceptance }).await;
        world.step(Step::Wait).await;
        world.finish().await;
        // The value in the key was the other copy's, so the refused send covers nothing.
        let declared: u32 = world.copies.iter().filter_map(|c| c.receipt).map(|r| r.1).sum();
        assert!(world.accepted == 3 && declared >= 2, "{:?}", world.copies);
    });
}

/// A failover loses the value that a release put back. The other copy, which knows of no send, is accepted and killed;
/// its claim counts less than the first copy has declared.
fn a_refused_send_does_not_cover_what_another_wrote_meanwhile() {
    run(async {
        let world = World::new().await;
        let (a, b) = (&world.process(0), &world.process(1));
        drop(claimed(b, &mut claim_request("in:0:1", 0, false)).await);
        sleep(LEASE + Duration::from_millis(5)).await;
        let mut first = claim_request("in:0:1", 0, false);
        let mut taken = claimed(a, &mut first).await;
        assert!(taken.claim.declare());
        first.own += 1;
        a.release(&mut first, taken).await;
        let mut store = redis().get_multiplexed_async_connection().await.unwrap();
        let () = redis::cmd("DEL").arg(first.key.name(&world.prefix)).query_async(&mut store).await.unwrap();
        let second = claimed(b, &mut claim_request("in:1:1", 0, false)).await;
        assert!(!second.claim.resend);
        sleep(LEASE + Duration::from_millis(5)).await;
        let mut again = claimed(a, &mut first).await;
        assert!(again.claim.declare(), "the second copy's send is covered by nothing");
    });
}

fn a_renewed_claim_is_young_again_and_one_that_was_taken_over_is_not_renewed() {
    run(async {
        let world = World::new().await;
        let (a, b) = (&world.process(0), &world.process(1));
        let (mut first, mut other) = (claim_request("in:0:1", 0, false), claim_request("in:1:1", 0, false));
        let mut guard = claimed(a, &mut first).await;
        for _ in 0..3 {
            sleep(LEASE * 3 / 4).await;
            assert!(a.renew(&first, &mut guard.claim).await.unwrap());
            assert!(a.lease_left(&guard.claim) > LEASE / 2);
        }
        assert!(is_busy(b, &mut other).await);
        sleep(LEASE + Duration::from_millis(5)).await;
        // Past its lease it is still ours as long as nobody else has claimed.
        assert!(a.renew(&first, &mut guard.claim).await.unwrap() && is_busy(b, &mut other).await);
        sleep(LEASE + Duration::from_millis(5)).await;
        let taken = claimed(b, &mut other).await;
        assert!(!a.renew(&first, &mut guard.claim).await.unwrap());
        b.confirm(&mut other, &taken.claim, 0, &mut ConfirmAttempt::default()).await.unwrap();
        let mut taken = taken;
        assert!(!b.renew(&other, &mut taken.claim).await.unwrap(), "what is confirmed is no claim");
    });
}

fn a_released_fresh_claim_leaves_nothing() {
    run(async {
        let world = World::new().await;
        let (a, b) = (&world.process(0), &world.process(1));
        let mut who = claim_request("in:0:1", 0, false);
        let guard = claimed(a, &mut who).await;
        a.release(&mut who, guard).await;
        assert!(!claimed(b, &mut claim_request("in:1:1", 0, false)).await.claim.resend);
    });
}

fn an_unknown_is_its_own_lineages_and_keeps_its_count_through_a_release() {
    run(async {
        let world = World::new().await;
        let (a, b) = (&world.process(0), &world.process(1));
        let mut who = claim_request("in:0:1", 2, true);
        let guard = claimed(a, &mut who).await;
        who.own += 1;
        a.mark(&mut who, Some(&guard.claim), 0).await.unwrap();
        drop(guard);
        let mut other = claim_request("in:1:1", 0, false);
        let busy = b.claim(&mut other, &mut ClaimAttempt::default()).await.unwrap();
        assert!(matches!(busy, ClaimOutcome::Busy { unknown: true }));
        let mut own = claim_request("in:0:1", 0, false);
        let taken = claimed(b, &mut own).await;
        assert_eq!(own.own, 3);
        b.release(&mut own, taken).await;
        let mut again = claim_request("in:0:1", 0, false);
        claimed(a, &mut again).await;
        assert_eq!(again.own, 3);
        let mut forced = ClaimRequest { force: true, ..claim_request("in:1:1", 0, false) };
        sleep(LEASE + Duration::from_millis(5)).await;
        assert!(claimed(b, &mut forced).await.claim.taken_over());
    });
}

fn a_claim_repeated_with_its_token_finds_itself() {
    run(async {
        let world = World::new().await;
        let mut attempt = ClaimAttempt::default();
        let mut who = claim_request("in:0:1", 0, false);
        drop(world.process(0).claim(&mut who, &mut attempt).await.unwrap());
        match world.process(0).claim(&mut who, &mut attempt).await.unwrap() {
            ClaimOutcome::Claim(guard) => assert!(!guard.claim.resend),
            _ => panic!("our own claim was taken for another's"),
        };
    });
}

fn a_confirm_repeated_across_a_change_of_the_primary_is_counted_before_the_change_is_noticed() {
    run(async {
        let prefix = prefix();
        set_epoch(&prefix).await;
        let mut c = redis().get_multiplexed_async_connection().await.unwrap();
        let info: String = redis::cmd("INFO").arg("replication").query_async(&mut c).await.unwrap();
        let present = info.lines().find_map(|l| l.strip_prefix("master_replid:")).unwrap().trim();
        for (known, counted) in [(present, 0), ("", 0), ("the one before", 1)] {
            let health = Arc::new(Health::default());
            health.set_primary(known);
            let a = process_with(&prefix, health);
            let mut who = claim_request("in:0:1", 0, false);
            who.key = Key::new("qihoo360", "acme", "ORDER", known);
            let guard = claimed(&a, &mut who).await;
            let mut attempt = ConfirmAttempt::default();
            // It was carried out, but its reply was lost. Repeated with the same attempt it finds its own value.
            for _ in 0..2 {
                a.confirm(&mut who, &guard.claim, 0, &mut attempt).await.unwrap();
            }
            assert_eq!((who.own, who.possible), (counted, counted), "known: {known:?}");
        }
    });
}

fn two_copies_in_one_process_take_turns_and_the_second_is_a_duplicate() {
    run(async {
        let world = World::new().await;
        let a = world.process(0);
        let mut who = claim_request("in:0:1", 0, false);
        let guard = claimed(&a, &mut who).await;
        let waiting = {
            let a = a.clone();
            tokio::task::spawn_local(async move {
                let mut copy = claim_request("in:1:1", 0, false);
                matches!(
                    a.claim(&mut copy, &mut ClaimAttempt::default()).await.unwrap(),
                    ClaimOutcome::Duplicate { resends: 0, .. }
                )
            })
        };
        sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        a.confirm(&mut who, &guard.claim, 0, &mut ConfirmAttempt::default()).await.unwrap();
        drop(guard);
        assert!(waiting.await.unwrap());
    });
}

fn a_flushed_store_grants_nothing_and_keeps_nothing_of_it() {
    run(async {
        let prefix = prefix();
        let health = Arc::new(Health::default());
        let (batcher, work) = Batcher::new(redis(), format!("{prefix}:epoch"), health.clone());
        tokio::task::spawn_local(work);
        let dedupe = Dedupe::new(batcher, &prefix, WINDOW, LEASE);
        let mut who = claim_request("in:0:1", 0, false);
        assert!(dedupe.claim(&mut who, &mut ClaimAttempt::default()).await.is_err());
        assert!(health.has_forgotten() && health.hold().unwrap().contains("unblock dedupe"));
        // What no worker wrote is no epoch.
        plant_list(format!("{prefix}:epoch").as_bytes()).await;
        health.remembered();
        assert!(dedupe.claim(&mut who, &mut ClaimAttempt::default()).await.is_err());
        assert!(health.has_forgotten());
        set_epoch(&prefix).await;
        assert!(!claimed(&dedupe, &mut claim_request("in:1:1", 0, false)).await.claim.resend);
    });
}

fn a_failover_is_answered_by_writing_the_last_minute_again() {
    run(async {
        let world = World::new().await;
        let a = &world.process(0);
        let mut who = claim_request("in:0:1", 0, false);
        let guard = claimed(a, &mut who).await;
        a.confirm(&mut who, &guard.claim, 3, &mut ConfirmAttempt::default()).await.unwrap();
        drop(guard);
        let mut c = redis().get_multiplexed_async_connection().await.unwrap();
        let key = [format!("{}:", world.prefix).as_bytes(), &who.key.0].concat();
        let kept: i64 = redis::cmd("GET").arg(&key).query_async(&mut c).await.unwrap();
        let () = redis::cmd("DEL").arg(&key).query_async(&mut c).await.unwrap();
        let rewrite = async || {
            let possible = RefCell::new(Vec::new());
            a.write_recent(Instant::now(), |account| possible.borrow_mut().push(account)).await;
            possible.into_inner()
        };
        assert_eq!(rewrite().await, Vec::<usize>::new());
        let again: i64 = redis::cmd("GET").arg(&key).query_async(&mut c).await.unwrap();
        assert_eq!(again, kept);
        // The value of another claim in the key counts one possible duplicate of the account.
        let () = redis::cmd("SET").arg(&key).arg("u|in:9:9|0000000007|0").query_async(&mut c).await.unwrap();
        assert_eq!(rewrite().await, [3]);
    });
}

/// Puts a list where a claim belongs.
async fn plant_list(key: &[u8]) -> redis::aio::MultiplexedConnection {
    let mut c = redis().get_multiplexed_async_connection().await.unwrap();
    let () = redis::cmd("DEL").arg(key).query_async(&mut c).await.unwrap();
    let () = redis::cmd("LPUSH").arg(key).arg("x").query_async(&mut c).await.unwrap();
    c
}

async fn is_list(c: &mut redis::aio::MultiplexedConnection, key: &[u8]) -> bool {
    redis::cmd("GET").arg(key).query_async::<Option<Vec<u8>>>(c).await.is_err_and(|e| e.code() == Some("WRONGTYPE"))
}

fn a_key_of_another_type_stops_its_own_claim_alone() {
    run(async {
        let prefix = prefix();
        set_epoch(&prefix).await;
        let health = Arc::new(Health::default());
        let a = process_with(&prefix, health.clone());
        let (mut held, mut other) = (claim_request("in:0:1", 0, false), claim_request("in:0:2", 0, false));
        other.key = key(2);
        let name = held.key.name(&prefix);
        let mut c = plant_list(&name).await;
        // Both are in one pipeline.
        let (mut first, mut second) = (ClaimAttempt::default(), ClaimAttempt::default());
        let (foreign, free) = tokio::join!(a.claim(&mut held, &mut first), a.claim(&mut other, &mut second));
        assert!(matches!(foreign, Ok(ClaimOutcome::Foreign)) && matches!(free, Ok(ClaimOutcome::Claim(_))));
        assert!(health.is_up() && health.trouble().is_none());
        assert_eq!(health.foreign.names(), [name.escape_ascii().to_string()]);
        assert!(is_list(&mut c, &name).await, "it is not ours");

        // A text that no worker wrote is judged alike, and every text is left alone.
        let () = redis::cmd("SET").arg(&name).arg("whatever").query_async(&mut c).await.unwrap();
        let foreign = a.claim(&mut held, &mut ClaimAttempt::default()).await;
        assert!(matches!(foreign, Ok(ClaimOutcome::Foreign)));

        let () = redis::cmd("DEL").arg(&name).query_async(&mut c).await.unwrap();
        let mut guard = claimed(&a, &mut held).await;
        plant_list(&name).await;
        assert!(!a.renew(&held, &mut guard.claim).await.unwrap(), "it is not ours any more");
        a.release(&mut held, guard).await;
        assert!(is_list(&mut c, &name).await && health.is_up());
    });
}

fn an_acceptance_replaces_a_key_of_another_type_and_a_lost_answer_does_not() {
    run(async {
        let world = World::new().await;
        let a = &world.process(0);
        let mut who = claim_request("in:0:1", 0, false);
        let name = who.key.name(&world.prefix);
        let guard = claimed(a, &mut who).await;
        let mut c = plant_list(&name).await;
        a.mark(&mut who, Some(&guard.claim), 3).await.unwrap();
        assert_eq!((who.own, who.possible), (1, 1), "what stands there is not ours: one possible duplicate");
        assert!(is_list(&mut c, &name).await);

        a.confirm(&mut who, &guard.claim, 3, &mut ConfirmAttempt::default()).await.unwrap();
        assert_eq!((who.own, who.possible), (2, 2));
        drop(guard);
        let found: Vec<u8> = redis::cmd("GET").arg(&name).query_async(&mut c).await.unwrap();
        assert_eq!(Value::parse(&found).resends(), 2);
        let life: i64 = redis::cmd("PTTL").arg(&name).query_async(&mut c).await.unwrap();
        assert!((1..=WINDOW.as_millis() as i64).contains(&life), "{life}");

        // The same after a failover.
        plant_list(&name).await;
        let possible = RefCell::new(Vec::new());
        a.write_recent(Instant::now(), |account| possible.borrow_mut().push(account)).await;
        assert_eq!(possible.into_inner(), [3]);
        let again: Vec<u8> = redis::cmd("GET").arg(&name).query_async(&mut c).await.unwrap();
        assert_eq!(again, found);
    });
}

fn every_key_has_an_expiry() {
    run(async {
        let mut world = World::new().await;
        for end in [Ending::LostAnswer, Ending::Refused, Ending::Accepted] {
            world.walk(0, 0, end).await;
            let mut c = redis().get_multiplexed_async_connection().await.unwrap();
            // The embedded store cannot list keys. There, the key of the conversion has to expire.
            let all = redis::cmd("KEYS").arg(format!("{}:*", world.prefix)).query_async(&mut c).await;
            let own = [format!("{}:", world.prefix).as_bytes(), &world.copies[0].claim_request().key.0].concat();
            let keys: Vec<Vec<u8>> = all.unwrap_or_else(|_: redis::RedisError| vec![own]);
            for key in keys.iter().filter(|k| !k.ends_with(b":epoch")) {
                let ttl: i64 = redis::cmd("PTTL").arg(key).query_async(&mut c).await.unwrap();
                assert!(ttl > 0 || ttl == -2, "{key:?} never expires");
            }
        }
    });
}
