//! Claim, confirm, mark and release a conversion in Redis: `core.md` section 3, rule by rule.
//!
//! One value per runtime thread. An account lives on one thread, so that two copies of one conversion in this process
//! always meet here. What the states mean is in `claim.rs`; this file only carries it out.

mod granted;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use ::redis::Value as Reply;
use tokio::time::Instant;

use crate::pipeline::claim::{
    Applicant, CLAIM_LIFE_MS, Claim, Done, Judgement, Key, Replaced, Token, Value, judge, judge_confirm,
};
use crate::pipeline::recent::{Mark, Recent, Remembered};
use crate::pipeline::tries::TakingOver;
pub use crate::pipeline::tries::{ClaimTry, ConfirmTry};
use crate::pipeline::turns::{Turn, Turns};
use crate::redis::batcher::{Batcher, StoreError};
use crate::redis::scripts::Script;

use granted::settled;
pub use granted::{Granted, Held};

/// The claims of one runtime thread.
pub struct Dedupe {
    pub(super) batcher: Batcher,
    prefix: Box<str>,
    pub(super) window_ms: u64,
    lease: Duration,
    turns: Turns,
    pub(super) recent: RefCell<Recent>,
    /// How often the primary has changed.
    pub(super) changes: Cell<u64>,
}

impl Dedupe {
    /// Over one batcher; `window` and `lease` as configured.
    pub fn new(batcher: Batcher, prefix: &str, window: Duration, lease: Duration) -> Self {
        Self {
            batcher,
            prefix: prefix.into(),
            window_ms: window.as_millis() as u64,
            lease,
            turns: Turns::default(),
            recent: RefCell::default(),
            changes: Cell::new(0),
        }
    }

    /// How much of the lease is left; without a claim in Redis there is none to outlive.
    pub fn lease_left(&self, claim: &Claim) -> Duration {
        if claim.unclaimed { Duration::MAX } else { self.lease.saturating_sub(claim.since.elapsed()) }
    }

    /// Claims at the head of the lane. `applicant.own` grows to what a take-over found, or by a possible duplicate.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing is known; claim again with the same `attempt`. [`StoreError::Forgotten`]: the
    /// store was flushed; what this claim wrote is released.
    pub async fn claim(&self, applicant: &mut Applicant, attempt: &mut ClaimTry) -> Result<Granted, StoreError> {
        let turn = Turn::take(&self.turns, applicant.key).await;
        let remembered = self.recent.borrow().done(&applicant.key).map(Value::Done);
        if remembered.is_some() {
            return Ok(settled(judge(remembered.as_ref(), attempt.token, applicant), applicant));
        }
        let key = self.redis_key(applicant.key);
        attempt.sent = true;
        let (resend, replaced) = loop {
            let mut cmd = ::redis::cmd("SET");
            cmd.arg(&key).arg(applicant.claimed(attempt.token, applicant.in_doubt));
            cmd.arg("PX").arg(CLAIM_LIFE_MS).arg("NX").arg("GET");
            let found = match self.batcher.claim(cmd).await {
                Err(StoreError::Forgotten) => {
                    let _ = self.give_back(&key, attempt.token, &Replaced::Nothing).await;
                    return Err(StoreError::Forgotten);
                }
                reply => bytes(reply?)?,
            };
            let value = found.as_deref().map(Value::parse);
            match judge(value.as_ref(), attempt.token, applicant) {
                Judgement::Fresh => break (applicant.in_doubt, Replaced::Nothing),
                Judgement::OwnToken => match attempt.taking_over.take() {
                    Some(taken) => break taken.succeeded(applicant),
                    None => break (applicant.in_doubt, Replaced::Nothing),
                },
                verdict @ (Judgement::TakeOver | Judgement::TakeOverIfStale) => {
                    let own = applicant.own.max(value.as_ref().map_or(0, Value::resends));
                    let new = Applicant { own, ..applicant.clone() }.claimed(attempt.token, true);
                    let stale = verdict == Judgement::TakeOverIfStale;
                    let old = found.unwrap_or_default();
                    let min_age = if stale { self.lease.as_millis() as i64 } else { -1 };
                    attempt.taking_over = Some(TakingOver { old: old.clone(), stale, own });
                    let args = [&old[..], new.as_bytes(), &number(CLAIM_LIFE_MS), &number(min_age)];
                    let reply = self.batcher.script(Script::TakeOver, &key, &args).await?;
                    match (reply, attempt.taking_over.take()) {
                        (Reply::Int(1), Some(taken)) => break taken.succeeded(applicant),
                        (Reply::Int(_), _) => return Ok(Granted::Busy { unknown: false }),
                        // Somebody changed it in between: judged afresh.
                        _ => {}
                    }
                }
                verdict => return Ok(settled(verdict, applicant)),
            }
        };
        let claim = Claim {
            token: attempt.token,
            resend,
            declared: false,
            replaced,
            since: attempt.since,
            unclaimed: false,
            may_stand: true,
        };
        Ok(Granted::Claim(Held { claim, _turn: turn }))
    }

    /// The claim of an account that delivers while Redis is away: nothing is held there, and the send is declared.
    pub async fn unclaimed(&self, applicant: &mut Applicant, attempt: &ClaimTry) -> Granted {
        let turn = Turn::take(&self.turns, applicant.key).await;
        let token = attempt.token;
        let remembered = self.recent.borrow().done(&applicant.key).map(Value::Done);
        if remembered.is_some() {
            return settled(judge(remembered.as_ref(), token, applicant), applicant);
        }
        let claim = Claim {
            token,
            resend: true,
            declared: false,
            replaced: attempt.replaced(),
            since: Instant::now(),
            unclaimed: true,
            may_stand: attempt.sent,
        };
        Granted::Claim(Held { claim, _turn: turn })
    }

    /// Gives a claim up that may or may not have been made: its reply never came. Best effort.
    pub async fn abandon(&self, applicant: &Applicant, attempt: &ClaimTry) {
        let _ = self.give_back(&self.redis_key(applicant.key), attempt.token, &attempt.replaced()).await;
    }

    /// Releases: puts back what the claim replaced, if the key still holds our token. Best effort: a claim that stays
    /// behind is found stale.
    pub async fn release(&self, applicant: &Applicant, held: Held) {
        if held.claim.may_stand {
            let key = self.redis_key(applicant.key);
            let _ = self.give_back(&key, held.claim.token, &held.claim.replaced).await;
        }
    }

    async fn give_back(&self, key: &[u8], token: Token, replaced: &Replaced) -> Result<Reply, StoreError> {
        let (old, life): (&[u8], u64) = match replaced {
            Replaced::Nothing => (b"", 0),
            // Stale at once: as old as the lease.
            Replaced::Stale(old) => (old, CLAIM_LIFE_MS - self.lease.as_millis() as u64),
            Replaced::Unknown(old) => (old, self.window_ms),
        };
        self.batcher.script(Script::Release, key, &[holder(token).as_bytes(), old, &number(life)]).await
    }

    /// Begins a confirm.
    pub fn confirm_try(&self) -> ConfirmTry {
        ConfirmTry::new(self.changes.get(), self.batcher.known_primary())
    }

    /// Confirms an acceptance, unconditionally. What it replaces and is not ours counts one possible duplicate.
    ///
    /// # Errors
    /// Repeat with the same `attempt` until it works: the record stays unfinished.
    pub async fn confirm(
        &self,
        applicant: &mut Applicant,
        claim: &Claim,
        account: usize,
        attempt: &mut ConfirmTry,
    ) -> Result<(), StoreError> {
        if claim.unclaimed {
            self.remember(applicant, Remembered::Done(Done::new(applicant, claim.token)), account, true);
            return Ok(());
        }
        let key = self.redis_key(applicant.key);
        loop {
            let done = Done::new(applicant, claim.token);
            let first = attempt.first;
            attempt.first.get_or_insert(applicant.own);
            let old = bytes(self.batcher.call(self.set_done(&key, done)).await?)?;
            let found = judge_confirm(old.as_deref().map(Value::parse).as_ref(), claim.token, applicant, first);
            // Our own value may hide what the try before this one replaced on another primary.
            let hides = found.is_none() && first.is_some() && !attempt.counted && self.spans_a_change(attempt).await?;
            match found {
                None if hides => {
                    attempt.counted = true;
                    applicant.count_possible(0);
                }
                None => {
                    self.remember(applicant, Remembered::Done(done), account, false);
                    return Ok(());
                }
                // Written again with the new count; that write finds our own value.
                Some(count) => applicant.count_possible(count),
            }
        }
    }

    /// Whether the primary may have changed since the first try. It is asked: the look of each second may be yet to come.
    async fn spans_a_change(&self, attempt: &ConfirmTry) -> Result<bool, StoreError> {
        if self.changes.get() != attempt.changes {
            return Ok(true);
        }
        let now = self.batcher.primary().await?;
        Ok(!attempt.primary.is_empty() && !now.is_empty() && now != attempt.primary)
    }

    /// Marks: sent, no answer. Before anything is published. What stands there and is not ours stays, and counts one
    /// possible duplicate. Without a claim only an absent key is marked.
    ///
    /// # Errors
    /// Repeat until it works.
    pub async fn mark(
        &self,
        applicant: &mut Applicant,
        claim: Option<&Claim>,
        account: usize,
    ) -> Result<(), StoreError> {
        let value: Box<str> = applicant.unknown().into();
        let mark = Remembered::Unknown(Box::new(Mark { value: value.clone(), origin: applicant.origin.clone() }));
        if claim.is_some_and(|c| c.unclaimed) {
            self.remember(applicant, mark, account, true);
            return Ok(());
        }
        let holder = claim.map_or_else(String::new, |c| holder(c.token));
        let args = [holder.as_bytes(), value.as_bytes(), &number(self.window_ms)];
        let reply = self.batcher.script(Script::Mark, &self.redis_key(applicant.key), &args).await?;
        if reply == Reply::Int(1) {
            self.remember(applicant, mark, account, false);
        } else if claim.is_some() {
            applicant.count_possible(0);
        }
        Ok(())
    }

    fn remember(&self, applicant: &Applicant, what: Remembered, account: usize, pending: bool) {
        self.recent.borrow_mut().insert(applicant.key, what, account, pending);
    }

    pub(super) fn set_done(&self, key: &[u8], done: Done) -> ::redis::Cmd {
        let mut cmd = ::redis::cmd("SET");
        cmd.arg(key).arg(done.to_int()).arg("PX").arg(self.window_ms).arg("GET");
        cmd
    }

    pub(super) fn redis_key(&self, key: Key) -> Vec<u8> {
        key.name(&self.prefix)
    }
}

/// The beginning of every claim with this token.
fn holder(token: Token) -> String {
    format!("c|{token}|")
}

fn number(n: impl ToString) -> Vec<u8> {
    n.to_string().into_bytes()
}

pub(super) fn bytes(reply: Reply) -> Result<Option<Vec<u8>>, StoreError> {
    match reply {
        Reply::Nil => Ok(None),
        Reply::BulkString(bytes) => Ok(Some(bytes)),
        Reply::Int(n) => Ok(Some(number(n))),
        _ => Err(StoreError::Unavailable("gave an answer of another type".into())),
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use tokio::task::{spawn_local, yield_now};

    use super::*;
    use crate::embedded::store::Store;
    use crate::pipeline::stub::bench::run;
    use crate::redis::health::Health;
    use crate::senders::SecretString;

    /// Tests of the protocol over two processes and under faults are in `tests/claims.rs`.
    struct Process {
        dedupe: Rc<Dedupe>,
        connection: ::redis::aio::MultiplexedConnection,
        _store: Store,
    }

    impl Process {
        async fn new() -> Self {
            let store = Store::start().unwrap();
            let url = SecretString::new(store.url());
            let client = crate::redis::Config { url, prefix: "pb".into() }.client().unwrap();
            let mut connection = crate::redis::connect(&client).await.unwrap();
            let () = ::redis::cmd("SET").arg("pb:epoch").arg("e1").query_async(&mut connection).await.unwrap();
            let (batcher, work) = Batcher::new(client, "pb:epoch".into(), Arc::new(Health::default()));
            spawn_local(work);
            let dedupe = Dedupe::new(batcher, "pb", Duration::from_secs(600), Duration::from_secs(30));
            Self { dedupe: Rc::new(dedupe), connection, _store: store }
        }

        async fn value(&self, applicant: &Applicant) -> Option<String> {
            let mut get = ::redis::cmd("GET");
            get.arg(applicant.key.name("pb")).query_async(&mut self.connection.clone()).await.unwrap()
        }

        async fn put(&self, applicant: &Applicant, value: &str) {
            let mut set = ::redis::cmd("SET");
            set.arg(applicant.key.name("pb")).arg(value).arg("PX").arg(CLAIM_LIFE_MS);
            let () = set.query_async(&mut self.connection.clone()).await.unwrap();
        }

        async fn claim(&self, applicant: &mut Applicant) -> Granted {
            self.dedupe.claim(applicant, &mut ClaimTry::default()).await.unwrap()
        }

        async fn confirm(&self, applicant: &mut Applicant, held: &Held) {
            self.dedupe.confirm(applicant, &held.claim, 0, &mut self.dedupe.confirm_try()).await.unwrap();
        }
    }

    fn applicant(trans_id: &str) -> Applicant {
        Applicant {
            key: Key::new("baizhu", "acme", "ORDER", trans_id),
            origin: "in:0:7".into(),
            fingerprint: 5,
            own: 0,
            in_doubt: false,
            force: false,
            possible: 0,
        }
    }

    fn shown(granted: &Granted) -> String {
        match granted {
            Granted::Claim(held) if held.claim.taken_over() => "taken over".into(),
            Granted::Claim(held) => format!("fresh, resend {}", held.claim.resend),
            Granted::Duplicate { resends } => format!("duplicate {resends}"),
            Granted::Conflict => "conflict".into(),
            Granted::Busy { unknown } => format!("held, unknown {unknown}"),
        }
    }

    #[test]
    fn what_a_claim_finds_decides_and_only_a_claim_of_ours_changes_it() {
        run(async {
            let process = Process::new().await;
            let ours = applicant("");
            let theirs = Applicant { origin: "in:0:8".into(), ..ours.clone() };
            let dear = Applicant { fingerprint: 6, ..ours.clone() };
            let token = Token::random();
            let done = |of: &Applicant, own| Done::new(&Applicant { own, ..of.clone() }, token).to_int().to_string();
            let doubt = |own| Applicant { own, in_doubt: true, ..ours.clone() };
            let forced = Applicant { force: true, ..ours.clone() };
            // Who, finds what, and is told what; `own` after it.
            let rows = [
                (ours.clone(), None, "fresh, resend false", 0),
                (doubt(2), None, "fresh, resend true", 2),
                (ours.clone(), Some(theirs.claimed(token, false)), "held, unknown false", 0),
                (ours.clone(), Some(theirs.unknown()), "held, unknown true", 0),
                (ours.clone(), Some(ours.unknown()), "taken over", 0),
                (forced.clone(), Some(theirs.unknown()), "taken over", 0),
                (ours.clone(), Some(Applicant { own: 3, ..ours.clone() }.unknown()), "taken over", 3),
                (ours.clone(), Some(dear.unknown()), "conflict", 0),
                (forced.clone(), Some(done(&dear, 0)), "conflict", 0),
                (doubt(0), Some(done(&dear, 0)), "conflict", 1),
                (ours.clone(), Some(done(&ours, 2)), "duplicate 2", 0),
                (ours.clone(), Some(done(&theirs, 2)), "duplicate 0", 0),
                (forced, Some(done(&theirs, 0)), "duplicate 0", 0),
                (doubt(1), Some(done(&ours, 1)), "duplicate 1", 1),
                (doubt(2), Some(done(&ours, 1)), "duplicate 3", 3),
                (doubt(0), Some(done(&theirs, 1)), "duplicate 1", 1),
                (ours.clone(), Some("somebody else's".into()), "held, unknown true", 0),
            ];
            for (n, (who, found, expected, own)) in rows.into_iter().enumerate() {
                let mut who = Applicant { key: applicant(&n.to_string()).key, ..who };
                if let Some(found) = &found {
                    process.put(&who, found).await;
                }
                let before = who.own;
                let granted = process.claim(&mut who).await;
                assert_eq!((&*shown(&granted), who.own), (expected, own), "{n}: {found:?}");
                let possible = if matches!(granted, Granted::Claim(_)) { 0 } else { own - before };
                assert_eq!(who.possible, possible, "{n}: {found:?}");
                let value = process.value(&who).await;
                match granted {
                    Granted::Claim(held) => {
                        assert!(value.unwrap().starts_with(&holder(held.claim.token)), "{n}");
                        process.dedupe.release(&who, held).await;
                        assert_eq!(process.value(&who).await, found, "{n}: a release puts back what was there");
                    }
                    _ => assert_eq!(value, found, "{n}"),
                }
            }
        });
    }

    /// Overtaken while it was slow; the other, of the same lineage, has confirmed under a token with the same tag.
    #[test]
    fn a_late_confirm_counts_a_confirm_that_only_looks_like_its_own() {
        run(async {
            let process = Process::new().await;
            let mut late = applicant("t");
            let Granted::Claim(held) = process.claim(&mut late).await else { panic!("not granted") };
            let theirs = Done::new(&Applicant { own: 1, ..applicant("t") }, held.claim.token);
            process.put(&late, &theirs.to_int().to_string()).await;
            process.confirm(&mut late, &held).await;
            assert_eq!((late.own, late.possible), (2, 1));
        });
    }

    #[test]
    fn what_was_confirmed_here_is_known_without_redis() {
        run(async {
            let process = Process::new().await;
            let mut first = applicant("t");
            let Granted::Claim(held) = process.claim(&mut first).await else { panic!("not granted") };
            process.confirm(&mut first, &held).await;
            drop(held);
            // As if it had forgotten.
            process.put(&first, "somebody else's").await;
            assert_eq!(shown(&process.claim(&mut applicant("t")).await), "duplicate 0");
            let mut dear = Applicant { fingerprint: 6, ..applicant("t") };
            assert_eq!(shown(&process.claim(&mut dear).await), "conflict");
            assert_eq!(process.value(&first).await.as_deref(), Some("somebody else's"), "nothing was asked of it");
        });
    }

    #[test]
    fn a_second_copy_waits_for_the_first_and_after_a_release_it_claims_for_itself() {
        run(async {
            let process = Process::new().await;
            let mut first = applicant("t");
            let Granted::Claim(held) = process.claim(&mut first).await else { panic!("not granted") };
            let dedupe = process.dedupe.clone();
            let second = spawn_local(async move {
                let mut second = Applicant { origin: "in:0:8".into(), ..applicant("t") };
                dedupe.claim(&mut second, &mut ClaimTry::default()).await.unwrap()
            });
            // One of another conversion goes on meanwhile.
            assert!(matches!(process.claim(&mut applicant("u")).await, Granted::Claim(_)));
            yield_now().await;
            assert!(!second.is_finished());
            process.dedupe.release(&first, held).await;
            let Granted::Claim(second) = second.await.unwrap() else { panic!("not granted") };
            let value = process.value(&first).await.unwrap();
            assert!(value.starts_with(&holder(second.claim.token)), "{value}");

            // And after a confirm it is a duplicate: the value that stands by then decides.
            let dedupe = process.dedupe.clone();
            let third =
                spawn_local(async move { dedupe.claim(&mut applicant("t"), &mut ClaimTry::default()).await.unwrap() });
            yield_now().await;
            process.confirm(&mut Applicant { origin: "in:0:8".into(), ..applicant("t") }, &second).await;
            drop(second);
            assert_eq!(shown(&third.await.unwrap()), "duplicate 0");
        });
    }
}
