//! Claim, confirm, mark and release a conversion in Redis: `core.md` section 3, rule by rule.
//!
//! One value per runtime thread. An account lives on one thread, so that two copies of one conversion in this process
//! always meet here. What the states mean is in `claim.rs`; this file only carries it out.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use ::redis::Value as Reply;
use futures_util::{StreamExt, stream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::pipeline::claim::{
    Applicant, CLAIM_LIFE_MS, Claim, Done, Judgement, Key, Replaced, Token, Value, judge, judge_confirm,
};
use crate::pipeline::claim_scripts::{MARK, RELEASE, TAKE_OVER};
use crate::pipeline::recent::{Recent, Remembered};
use crate::redis::batcher::{Batcher, Script, StoreError};

/// Values written again at once after a failover.
const UNDER_WAY: usize = 256;

/// How a claim was answered.
pub enum Granted {
    /// The conversion is ours to send.
    Claim(Held),
    /// Accepted before.
    Duplicate {
        /// What its receipt says.
        resends: u32,
    },
    /// The same identity with other money.
    Conflict,
    /// Another copy is being sent, or was sent by another lineage with an unknown end.
    Busy {
        /// It is the latter: nobody will ever know.
        unknown: bool,
    },
}

/// A claim, and the promise that no other copy in this process goes on before it ends.
pub struct Held {
    /// The claim.
    pub claim: Claim,
    _turn: Turn,
}

/// One claim over all its tries: a claim whose reply was lost is repeated with the same token.
pub struct ClaimTry {
    token: Token,
    since: Instant,
    /// A take-over that went out; whether it was carried out shows when our own token is found.
    taking_over: Option<TakingOver>,
    /// A command went out: it may have been carried out although no reply came.
    sent: bool,
}

struct TakingOver {
    old: Vec<u8>,
    stale: bool,
    own: u32,
}

impl ClaimTry {
    /// What its claim would have replaced, had it been made.
    fn replaced(&self) -> Replaced {
        match &self.taking_over {
            Some(TakingOver { old, stale: true, .. }) => Replaced::Stale(old.clone()),
            Some(TakingOver { old, .. }) => Replaced::Unknown(old.clone()),
            None => Replaced::Nothing,
        }
    }
}

/// One confirm over all its tries.
pub struct ConfirmTry {
    changes: u64,
    repeated: bool,
    counted: bool,
}

impl Default for ClaimTry {
    fn default() -> Self {
        Self { token: Token::random(), since: Instant::now(), taking_over: None, sent: false }
    }
}

/// The claims of one runtime thread.
pub struct Dedupe {
    batcher: Batcher,
    prefix: Box<[u8]>,
    window_ms: u64,
    lease: Duration,
    take_over: Script,
    release: Script,
    mark: Script,
    turns: Turns,
    recent: RefCell<Recent>,
    /// How often the primary has changed.
    changes: Cell<u64>,
}

/// Copies of one conversion take turns within a process.
type Turns = Rc<RefCell<HashMap<Key, Rc<Notify>>>>;

struct Turn {
    turns: Turns,
    key: Key,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(waiting) = self.turns.borrow_mut().remove(&self.key) {
            waiting.notify_waiters();
        }
    }
}

impl Dedupe {
    /// Over one batcher; `window` and `lease` as configured.
    pub fn new(batcher: Batcher, prefix: &str, window: Duration, lease: Duration) -> Self {
        Self {
            batcher,
            prefix: format!("{prefix}:").into_bytes().into(),
            window_ms: window.as_millis() as u64,
            lease,
            take_over: Script::new(TAKE_OVER),
            release: Script::new(RELEASE),
            mark: Script::new(MARK),
            turns: Turns::default(),
            recent: RefCell::new(Recent::new()),
            changes: Cell::new(0),
        }
    }

    /// How much of the lease is left; without a claim in Redis there is none to outlive.
    pub fn lease_left(&self, claim: &Claim) -> Duration {
        if claim.unclaimed { Duration::MAX } else { self.lease.saturating_sub(claim.since.elapsed()) }
    }

    /// Waits for the copies of this conversion that are under way in this process.
    async fn turn(&self, key: Key) -> Turn {
        loop {
            let waiting = match self.turns.borrow_mut().entry(key) {
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(Rc::new(Notify::new()));
                    return Turn { turns: self.turns.clone(), key };
                }
                std::collections::hash_map::Entry::Occupied(other) => other.get().clone(),
            };
            // Single-threaded: nothing can end between the look and the registration.
            waiting.notified().await;
        }
    }

    /// Claims at the head of the lane. `applicant.own` grows to what a take-over found, or by a possible duplicate.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: nothing is known; claim again with the same `attempt`. [`StoreError::Forgotten`]: the
    /// store was flushed; what this claim wrote is released.
    pub async fn claim(&self, applicant: &mut Applicant, attempt: &mut ClaimTry) -> Result<Granted, StoreError> {
        let turn = self.turn(applicant.key).await;
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
                    let reply = self.batcher.script(&self.take_over, &key, &args).await?;
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
        let turn = self.turn(applicant.key).await;
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
        self.batcher.script(&self.release, key, &[holder(token).as_bytes(), old, &number(life)]).await
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
            let repeated = std::mem::replace(&mut attempt.repeated, true);
            let old = bytes(self.batcher.call(self.set_done(&key, done)).await?)?;
            match judge_confirm(old.as_deref().map(Value::parse).as_ref(), claim.token, applicant) {
                // Our own value may hide what the try before this one replaced on another primary.
                None if repeated && self.changes.get() != attempt.changes && !attempt.counted => {
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
        let mark = Remembered::Unknown { value: value.clone(), origin: applicant.origin.clone() };
        if claim.is_some_and(|c| c.unclaimed) {
            self.remember(applicant, mark, account, true);
            return Ok(());
        }
        let holder = claim.map_or_else(String::new, |c| holder(c.token));
        let args = [holder.as_bytes(), value.as_bytes(), &number(self.window_ms)];
        let reply = self.batcher.script(&self.mark, &self.redis_key(applicant.key), &args).await?;
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

    fn set_done(&self, key: &[u8], done: Done) -> ::redis::Cmd {
        let mut cmd = ::redis::cmd("SET");
        cmd.arg(key).arg(done.to_int()).arg("PX").arg(self.window_ms).arg("GET");
        cmd
    }

    fn redis_key(&self, key: Key) -> Vec<u8> {
        [&self.prefix[..], &key.0[..]].concat()
    }

    /// Writes what waits because Redis was away. Counts nothing: each of those sends was declared.
    ///
    /// # Errors
    /// Redis is still away; the rest waits on.
    pub async fn write_pending(&self) -> Result<(), StoreError> {
        let pending = self.recent.borrow().pending();
        for (key, entry) in pending {
            self.write_again(key, &entry.what).await?;
            self.recent.borrow_mut().written(&key, entry.sequence);
        }
        Ok(())
    }

    /// Begins a confirm.
    pub fn confirm_try(&self) -> ConfirmTry {
        ConfirmTry { changes: self.changes.get(), repeated: false, counted: false }
    }

    /// The primary has changed: writes again what was confirmed or marked in the last 60 s, until all of it stands there.
    /// `possible` is told the account of each value found there that was another's: one possible duplicate.
    pub async fn write_recent(&self, mut possible: impl FnMut(usize)) {
        self.changes.set(self.changes.get() + 1);
        self.batcher.reconnect();
        let mut left = self.recent.borrow().since(Duration::from_secs(60));
        let mut repeated = false;
        while !left.is_empty() {
            let writes = left.drain(..).map(|(key, entry)| async move {
                let found = self.write_again(key, &entry.what).await;
                (key, entry, found)
            });
            let mut writes = stream::iter(writes).buffer_unordered(UNDER_WAY);
            let mut failed = Vec::new();
            while let Some((key, entry, found)) = writes.next().await {
                match found {
                    // A repeated confirm may have replaced another's value with the try before it.
                    Ok(found) => {
                        let hidden = repeated && matches!(entry.what, Remembered::Done(_));
                        if hidden || !is_ours(&entry.what, found) {
                            possible(entry.account);
                        }
                    }
                    Err(_) => failed.push((key, entry)),
                }
            }
            drop(writes);
            left = failed;
            repeated = true;
            if !left.is_empty() {
                sleep(Duration::from_millis(500)).await;
            }
        }
    }

    /// A confirm always, a mark only where the key is absent. Returns what was found.
    async fn write_again(&self, key: Key, what: &Remembered) -> Result<Option<Value>, StoreError> {
        let key = self.redis_key(key);
        let cmd = match what {
            Remembered::Done(done) => self.set_done(&key, *done),
            Remembered::Unknown { value, .. } => {
                let mut cmd = ::redis::cmd("SET");
                cmd.arg(&key).arg(&**value).arg("PX").arg(self.window_ms).arg("NX").arg("GET");
                cmd
            }
        };
        Ok(bytes(self.batcher.call(cmd).await?)?.as_deref().map(Value::parse))
    }
}

impl TakingOver {
    fn succeeded(self, applicant: &mut Applicant) -> (bool, Replaced) {
        applicant.own = applicant.own.max(self.own);
        (true, if self.stale { Replaced::Stale(self.old) } else { Replaced::Unknown(self.old) })
    }
}

/// Whether what stands where we wrote is our own, or of the same lineage.
fn is_ours(what: &Remembered, found: Option<Value>) -> bool {
    match (what, found) {
        (_, None) => true,
        (Remembered::Done(done), Some(Value::Done(other))) => *done == other,
        (Remembered::Done(done), Some(Value::Claimed { token, origin, .. })) => done.is_of_claim(&token, &origin),
        (Remembered::Unknown { origin, .. }, Some(Value::Unknown { origin: other, .. }))
        | (Remembered::Unknown { origin, .. }, Some(Value::Claimed { origin: other, .. })) => **origin == *other,
        (Remembered::Unknown { origin, .. }, Some(Value::Done(done))) => done.is_of_origin(origin),
        _ => false,
    }
}

/// The beginning of every claim with this token.
fn holder(token: Token) -> String {
    format!("c|{token}|")
}

fn number(n: impl ToString) -> Vec<u8> {
    n.to_string().into_bytes()
}

fn bytes(reply: Reply) -> Result<Option<Vec<u8>>, StoreError> {
    match reply {
        Reply::Nil => Ok(None),
        Reply::BulkString(bytes) => Ok(Some(bytes)),
        Reply::Int(n) => Ok(Some(number(n))),
        _ => Err(StoreError::Unavailable("gave an answer of another type".into())),
    }
}

/// The answer where nothing is claimed.
fn settled(verdict: Judgement, applicant: &mut Applicant) -> Granted {
    match verdict {
        Judgement::Conflict { possible_duplicate } => {
            if possible_duplicate {
                applicant.count_possible(0);
            }
            Granted::Conflict
        }
        Judgement::Duplicate { possible_duplicate, own_lineage } => {
            if possible_duplicate {
                applicant.count_possible(0);
            }
            Granted::Duplicate { resends: applicant.own.max(own_lineage.unwrap_or(0)) }
        }
        Judgement::Held => Granted::Busy { unknown: true },
        Judgement::Fresh | Judgement::OwnToken | Judgement::TakeOver | Judgement::TakeOverIfStale => {
            // Not reachable from a remembered `done`; held is the answer that sends nothing.
            Granted::Busy { unknown: false }
        }
    }
}
