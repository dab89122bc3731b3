//! Access tokens: one set per account for all replicas, kept encrypted in Redis (core.md section 9).
//!
//! Every lane of a platform with tokens has one [`Tokens`]. An attempt asks it for the token in force before it takes
//! its slot. If an answer refuses that token, the attempt reports this, waits for a newer token and sends once more.
//! One task per account does the rest: it refreshes ahead of the end. Only one request at a time is made in the process
//! and, by a lock with a lifetime, over all replicas.
//!
//! Do not reorder this: a new pair is stored before anything uses it. Most platforms accept a refresh token once, so a
//! lost pair locks the account out until an operator authorises it again. A pair that Redis does not take therefore
//! stays in this process, which stores it as soon as Redis answers, and nothing is sent until then. The lock only saves
//! requests. What protects from a late writer is the generation, which each write compares. If a process is killed
//! between the platform's answer and the write, the pair is lost; nothing can prevent that.

pub mod exchange;
pub mod record;
mod refresh;
pub mod rules;
pub mod seal;
mod setup;
mod store;
mod turn;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};

use crate::error::{Answer, DeliveryError};
use crate::redis::batcher::Batcher;
use crate::secret::SecretString;
use crate::send::token::record::{Refusal, TokenRecord};
use crate::send::token::rules::Begin;
use crate::send::token::seal::Seal;
pub use crate::send::token::setup::{Exchange, Reply, Setup};
use crate::send::token::store::Store;
pub use crate::send::token::turn::Turn;

/// How often the store and the clock are checked. A refresh by another replica is known here this much later.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A token in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The token that requests carry.
    pub access: SecretString,
    generation: u64,
}

/// The tokens of one account, in one lane.
pub struct Tokens {
    setup: Setup,
    begin: Begin,
    /// `None`: the configured token is permanent.
    store: Option<Store>,
    /// The latest known record, and whether it is in the store.
    known: RefCell<Option<Known>>,
    /// A pair that the platform issued and that the store has not taken yet.
    pending: RefCell<Option<Pending>>,
    /// The access tokens up to this generation were refused.
    refused_generation: Cell<u64>,
    failures: Cell<u32>,
    /// Until this time nobody asks the token endpoint again; this error is the answer.
    failed: RefCell<Option<(Instant, DeliveryError)>>,
    waiters: RefCell<Vec<Waiter>>,
    wake: Notify,
    busy: Cell<bool>,
    idle: Notify,
}

#[derive(Clone)]
struct Known {
    record: TokenRecord,
    stored: bool,
}

#[derive(Clone)]
struct Pending {
    /// The generation that it replaces in the store.
    replaces: Option<u64>,
    record: TokenRecord,
}

struct Waiter {
    newer_than: u64,
    reply: oneshot::Sender<Result<Token, DeliveryError>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("account", &self.setup.account).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Keeps the tokens at `key` in Redis, encrypted by `seal`. [`Tokens::run`] has to run on the same thread.
    pub fn new(setup: Setup, batcher: Batcher, key: &str, seal: Seal) -> Rc<Self> {
        let store = setup.seed.rotates().then(|| Store::new(batcher, setup.account.clone(), key, seal));
        let begin = Begin::new(&setup.account, setup.seed.clone());
        Rc::new(Self {
            setup,
            begin,
            store,
            known: RefCell::default(),
            pending: RefCell::default(),
            refused_generation: Cell::default(),
            failures: Cell::default(),
            failed: RefCell::default(),
            waiters: RefCell::default(),
            wake: Notify::new(),
            busy: Cell::default(),
            idle: Notify::new(),
        })
    }

    /// The token to send with: at once if one is in force, else after it was read or refreshed. It is called after the
    /// claim and before the slot, so that no slot is lost to waiting. Cancel-safe: the refresh continues.
    ///
    /// # Errors
    /// `Unavailable`: Redis is away, or does not take a new pair, and the lane holds. `Halt`: the account has to be
    /// authorised again. `Retry`, `Throttled`: the token endpoint failed, and nothing was sent for the event.
    pub async fn token(&self) -> Result<Token, DeliveryError> {
        match self.in_force() {
            Some(token) => Ok(token),
            None => self.demand(0).await,
        }
    }

    /// Reports that an answer refused this token, and waits for a newer one. Then the event is sent once more.
    /// Cancel-safe, like [`Tokens::token`].
    ///
    /// # Errors
    /// `Halt` at the second refusal in a row; and the errors of [`Tokens::token`].
    pub async fn refused(&self, turn: &mut Turn, token: &Token, answer: &Answer) -> Result<(), DeliveryError> {
        if self.store.is_none() {
            return Err(self.reauthorise("its permanent token was refused", answer));
        }
        self.refused_generation.set(self.refused_generation.get().max(token.generation));
        if turn.refuse() {
            self.note_refused_twice(token.generation).await;
            return Err(self.reauthorise("a token that was just refreshed was refused again", answer));
        }
        match self.in_force() {
            Some(_) => Ok(()),
            None => self.demand(token.generation).await.map(drop),
        }
    }

    /// Returns when no request is in flight and every pair is stored. A shutdown waits for it, within its own limit,
    /// because a dropped pair is lost.
    pub async fn settled(&self) {
        loop {
            let idle = self.idle.notified();
            if !self.busy.get() && self.pending.borrow().is_none() {
                return;
            }
            idle.await;
        }
    }

    /// Reads, refreshes and stores. It runs for ever, and must not be dropped before [`Tokens::settled`] has returned.
    pub async fn run(self: Rc<Self>) {
        if self.store.is_none() {
            return std::future::pending().await;
        }
        loop {
            let watches = self.known.borrow().is_some() || self.pending.borrow().is_some();
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep(LOOK_EVERY), if watches => {}
            }
            self.busy.set(true);
            if self.is_wanted() {
                self.serve().await
            } else {
                self.look().await
            }
            self.busy.set(false);
            self.idle.notify_waiters();
        }
    }

    /// The token in force, if there is one without waiting.
    pub fn in_force(&self) -> Option<Token> {
        if self.store.is_none() {
            let access = self.setup.seed.access.clone()?;
            return Some(Token { access, generation: 0 });
        }
        if self.pending.borrow().is_some() {
            return None;
        }
        let known = self.known.borrow();
        let record = &known.as_ref()?.record;
        let access =
            record.usable((self.setup.now_ms)()).filter(|_| record.generation > self.refused_generation.get())?;
        Some(Token { access: access.clone(), generation: record.generation })
    }

    async fn demand(&self, newer_than: u64) -> Result<Token, DeliveryError> {
        if self.store.is_none() {
            return Err(self.reauthorise("no token is configured", &Answer::default()));
        }
        if let Some((until, error)) = &*self.failed.borrow()
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let (reply, answer) = oneshot::channel();
        self.waiters.borrow_mut().push(Waiter { newer_than, reply });
        self.wake.notify_one();
        let gone = || DeliveryError::Unavailable("the task that refreshes tokens has ended".into());
        answer.await.map_err(|_| gone())?
    }

    fn is_wanted(&self) -> bool {
        let mut waiters = self.waiters.borrow_mut();
        waiters.retain(|waiter| !waiter.reply.is_closed());
        !waiters.is_empty()
    }

    /// Makes one refresh for all that wait, including those that come while it runs.
    async fn serve(&self) {
        while self.is_wanted() {
            let newest = self.waiters.borrow().iter().map(|waiter| waiter.newer_than).max().unwrap_or_default();
            let result = self.obtain(newest.max(self.refused_generation.get()), false).await;
            let waiters = self.waiters.take();
            for waiter in waiters {
                let answer = match &result {
                    Err(error) => Err(error.clone()),
                    Ok(()) => match self.in_force().filter(|token| token.generation > waiter.newer_than) {
                        Some(token) => Ok(token),
                        // A token that was refused while this one was fetched.
                        None => {
                            self.waiters.borrow_mut().push(waiter);
                            continue;
                        }
                    },
                };
                let _ = waiter.reply.send(answer);
            }
        }
    }

    /// The platform refused the account with a fresh token. This is stored, so that changed values in the configuration
    /// win.
    async fn note_refused_twice(&self, generation: u64) {
        let Some(store) = &self.store else { return };
        let known = self.known.borrow().clone().filter(|known| known.record.generation == generation);
        let Some(Known { record, stored: true }) = known else { return };
        let refusal = Some(Refusal { at_ms: (self.setup.now_ms)(), access: true });
        let refused = TokenRecord { refusal, ..record };
        if let Ok(store::Saved::Done) = store.save(Some(generation), &refused).await
            && self.known.borrow().as_ref().is_some_and(|known| known.record.generation == generation)
        {
            self.keep(refused, true);
        }
    }

    fn keep(&self, record: TokenRecord, stored: bool) {
        *self.known.borrow_mut() = Some(Known { record, stored });
    }

    fn reauthorise(&self, why: &str, answer: &Answer) -> DeliveryError {
        DeliveryError::Halt(Answer {
            code: answer.code.clone(),
            status: answer.status,
            detail: format!(
                "re-authorise account {}: {why}; state new values in accounts.{}.token, reload, then resume it",
                self.setup.account, self.setup.account
            ),
            sent: answer.sent,
            ..Answer::default()
        })
    }
}
