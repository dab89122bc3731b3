//! One refresh: read, lock, read again, request, store.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::error::{Answer, DeliveryError};
use crate::platforms::headers::Headers;
use crate::platforms::reading::HttpAnswer;
use crate::platforms::tokens::{Grant, Issued};
use crate::platforms::{Context, Credential};
use crate::redis::batcher::StoreError;
use crate::secret::SecretString;
use crate::send::token::record::{Found, Refusal, TokenRecord};
use crate::send::token::store::{Lock, Saved};
use crate::send::token::{Pending, Tokens, rules};

/// How long the lock of a replica that refreshes lives.
const LOCK_LIFE: Duration = Duration::from_secs(30);
/// The lock has to last for the request and, in addition, this long for storing the answer.
const LOCK_MARGIN: Duration = Duration::from_secs(5);
/// How often to check whether another replica's refresh has ended.
const LOCK_PAUSE: Duration = Duration::from_millis(200);

/// Why nothing was issued.
enum Failure {
    /// The platform refuses the grant.
    Refused(Answer),
    /// The request may be repeated.
    Other(DeliveryError),
}

impl Tokens {
    /// Puts a usable token in force that is newer than this generation. With `ahead` the one in force is still valid.
    pub(super) async fn obtain(&self, newer_than: u64, ahead: bool) -> Result<(), DeliveryError> {
        let mut lock = None;
        let result = match self.save_pending().await {
            Ok(()) => self.refresh(newer_than, ahead, &mut lock).await,
            Err(error) => Err(error),
        };
        // While a pair waits to be stored, no other replica may use up the earlier one. So the lock is left to end by
        // itself.
        let is_stored = self.pending.borrow().is_none();
        if let (Some(lock), Some(store), true) = (lock, &self.store, is_stored) {
            store.unlock(lock).await;
        }
        self.note(&result);
        result
    }

    async fn refresh(&self, newer_than: u64, ahead: bool, lock: &mut Option<Lock>) -> Result<(), DeliveryError> {
        let Some(store) = &self.store else { return Ok(()) };
        let life = LOCK_LIFE.max(self.setup.timeout + 2 * LOCK_MARGIN);
        let mut refused = Answer::default();
        loop {
            let found = self.read().await?;
            let record = self.begin.choose(&found).map_err(|why| self.reauthorise(why, &Answer::default()))?;
            let now_ms = (self.setup.now_ms)();
            if record.generation > newer_than && record.usable(now_ms).is_some() {
                self.adopt(&found, record);
                return Ok(());
            }
            if rules::is_refused_now(&record, now_ms) {
                self.adopt(&found, record);
                let why = format!("the platform refuses to refresh its token {}", refused.detail);
                return Err(self.reauthorise(why.trim_end(), &refused));
            }
            let Some(grant) = record.tokens.grant(now_ms) else {
                return Err(self.reauthorise("there is nothing left to refresh its token with", &refused));
            };
            match lock.take() {
                // Read again under the lock, because another replica may just have refreshed.
                None => {
                    *lock = store.lock(life).await.map_err(|error| self.unavailable(&error))?;
                    if lock.is_none() {
                        sleep(LOCK_PAUSE).await;
                    }
                    continue;
                }
                // The process was stopped meanwhile, and another replica may have the lock by now.
                Some(old) if old.left() < self.setup.timeout + LOCK_MARGIN => {
                    store.unlock(old).await;
                    continue;
                }
                taken => *lock = taken,
            }
            match self.ask(grant, record.tokens.access.as_ref()).await {
                Ok(issued) => {
                    let asked = record.tokens.next(issued, now_ms);
                    let generation = record.generation.max(newer_than) + 1;
                    let record = TokenRecord { generation, refusal: None, tokens: asked, seeds: record.seeds };
                    *self.pending.borrow_mut() = Some(Pending { replaces: found.generation(), record });
                    if let Err(error) = self.save_pending().await {
                        let account = &*self.setup.account;
                        tracing::error!(account, "redis does not take a new token: nothing is sent until it does");
                        return Err(error);
                    }
                }
                Err(Failure::Refused(answer)) => {
                    let access = !ahead || record.usable(now_ms).is_none();
                    let refusal = Some(Refusal { at_ms: (self.setup.now_ms)(), access });
                    let marked = TokenRecord { refusal, ..record };
                    // A record that another replica has stored meanwhile stays and is read next, and so are new values
                    // of the configuration.
                    store.save(found.generation(), &marked).await.map_err(|error| self.unavailable(&error))?;
                    let detail = format!("({})", answer.detail);
                    refused = Answer { detail, ..of_the_token_request(answer) };
                }
                Err(Failure::Other(error)) => return Err(error),
            }
        }
    }

    /// Reads the store to see what other replicas did, and refreshes ahead if it is time.
    pub(super) async fn look(&self) {
        if self.pending.borrow().is_some() {
            // The warning was logged when the store did not take it.
            let _ = self.save_pending().await;
            return;
        }
        let Ok(found) = self.read().await else { return };
        let Ok(record) = self.begin.choose(&found) else { return };
        let (generation, is_refused) = (record.generation, record.refusal.is_some());
        let at_ms = rules::refresh_at_ms(&*self.setup.source, &record.tokens.life);
        self.adopt(&found, record);
        let is_due = at_ms.is_some_and(|at| at <= (self.setup.now_ms)()) && !is_refused;
        let is_paused = self.failed.borrow().as_ref().is_some_and(|(until, _)| Instant::now() < *until);
        if is_due && !is_paused {
            // A failure is logged, and the token in force stays in use.
            let _ = self.obtain(generation, true).await;
        }
    }

    /// Reads the store. A pair that the store has lost and this process knows is put back first.
    async fn read(&self) -> Result<Found, DeliveryError> {
        let Some(store) = &self.store else { return Ok(Found::Absent) };
        loop {
            let found = store.read().await.map_err(|error| self.unavailable(&error))?;
            let stored = self.known.borrow().as_ref().filter(|known| known.stored).map(|known| known.record.clone());
            let Some(record) = stored.filter(|record| rules::is_lost(&found, Some(record))) else { return Ok(found) };
            tracing::warn!(account = &*self.setup.account, "redis has lost tokens of the account: written back");
            let replaces = found.generation();
            store.save(replaces, &record).await.map_err(|error| self.unavailable(&error))?;
        }
    }

    /// Stores the pair that the platform issued. Nothing uses it before.
    async fn save_pending(&self) -> Result<(), DeliveryError> {
        let Some(store) = &self.store else { return Ok(()) };
        loop {
            let Some(Pending { replaces, record }) = self.pending.borrow().clone() else { return Ok(()) };
            match store.save(replaces, &record).await.map_err(|error| self.unavailable(&error))? {
                Saved::Done => {
                    self.pending.take();
                    tracing::info!(
                        account = &*self.setup.account,
                        generation = record.generation,
                        "the access token was refreshed"
                    );
                    self.keep(record, true);
                }
                // A replica that came after us was refused, so our pair is the valid one.
                Saved::Other(Found::Record(other)) if other.refusal.is_some() => {
                    let record = TokenRecord { generation: other.generation.max(record.generation) + 1, ..record };
                    *self.pending.borrow_mut() = Some(Pending { replaces: Some(other.generation), record });
                }
                // That replica refreshed after us, and a platform accepts only its latest pair.
                Saved::Other(Found::Record(other)) => {
                    self.pending.take();
                    self.keep(other, true);
                }
                Saved::Other(_) => {
                    let text =
                        format!("account {}: redis holds tokens that cannot be read, ours wait", self.setup.account);
                    return Err(DeliveryError::Unavailable(text));
                }
            }
        }
    }

    /// `access` is the access token so far, also where it has ended or was refused.
    async fn ask(&self, grant: Grant<'_>, access: Option<&SecretString>) -> Result<Issued, Failure> {
        let now_ms = (self.setup.now_ms)();
        let credential = Credential::in_force(&self.setup.credentials, now_ms);
        let request = self.setup.source.token_request(grant, &Context { now_ms, credential, token: access }).map_err(
            |fault| Failure::Other(DeliveryError::Halt(unsent(&format!("{}: {}", fault.field, fault.detail)))),
        )?;
        let exchange = timeout(self.setup.timeout, (self.setup.exchange)(request));
        let reply = match exchange.await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => return Err(Failure::Other(for_the_event(error))),
            Err(_) => return Err(Failure::Other(DeliveryError::Retry(unsent("token request: no answer in time")))),
        };
        let http = HttpAnswer {
            status: reply.status,
            retry_after: reply.retry_after.as_deref(),
            headers: Headers::new(&reply.headers),
            body: &reply.body,
            now_ms: (self.setup.now_ms)(),
        };
        let read = self.setup.source.token_from(&http);
        read.map_err(|error| match error {
            DeliveryError::Halt(answer) | DeliveryError::Permanent(answer) | DeliveryError::Refresh(answer) => {
                Failure::Refused(answer)
            }
            other => Failure::Other(for_the_event(other)),
        })
    }

    fn adopt(&self, found: &Found, record: TokenRecord) {
        let known = self.known.borrow().as_ref().map(|known| known.record.generation);
        if known.is_some_and(|generation| generation < record.generation) {
            // Another replica succeeded.
            self.failures.set(0);
            self.failed.take();
        }
        let stored = matches!(found, Found::Record(found) if *found == record);
        self.keep(record, stored);
    }

    /// After failures of the token endpoint all events wait, for longer each time, so that it is not asked once per
    /// event.
    fn note(&self, result: &Result<(), DeliveryError>) {
        let account = &*self.setup.account;
        let pause = match result {
            Ok(()) => {
                self.failures.set(0);
                self.failed.take();
                return;
            }
            Err(DeliveryError::Throttled(answer) | DeliveryError::Retry(answer)) => {
                self.failures.set(self.failures.get().saturating_add(1));
                tracing::warn!(account, reason = answer.detail, "the access token was not refreshed");
                rules::pause(self.failures.get()).max(answer.retry_after.unwrap_or_default())
            }
            Err(DeliveryError::Halt(answer)) => {
                tracing::error!(account, reason = answer.detail, "the access token cannot be refreshed");
                rules::REFUSED_PAUSE
            }
            // Redis has reported this itself.
            Err(_) => return,
        };
        if let Err(error) = result {
            *self.failed.borrow_mut() = Some((Instant::now() + pause, error.clone()));
        }
    }

    fn unavailable(&self, error: &StoreError) -> DeliveryError {
        let why = match error {
            StoreError::Unavailable(why) | StoreError::Refused(why) | StoreError::Unreached(why) => why,
            StoreError::Foreign => "their key, or that of their lock, holds what no worker wrote: delete it",
            StoreError::Forgotten => "it has lost its epoch key",
        };
        DeliveryError::Unavailable(format!(
            "the tokens of account {} cannot be kept in redis: {why}",
            self.setup.account
        ))
    }
}

fn unsent(detail: &str) -> Answer {
    Answer { detail: detail.to_owned(), ..Answer::default() }
}

/// The class of a failed token request, for the event: nothing of the event went out, whatever happened to the token
/// request.
fn for_the_event(error: DeliveryError) -> DeliveryError {
    let unsent = |answer: Answer| {
        let detail = format!("token request: {}", answer.detail);
        Answer { detail, ..of_the_token_request(answer) }
    };
    match error {
        DeliveryError::Throttled(answer) => DeliveryError::Throttled(unsent(answer)),
        DeliveryError::Retry(answer) | DeliveryError::Ambiguous(answer) => DeliveryError::Retry(unsent(answer)),
        DeliveryError::Halt(answer) => DeliveryError::Halt(unsent(answer)),
        other => other,
    }
}

/// An answer that says nothing about the event.
fn of_the_token_request(answer: Answer) -> Answer {
    Answer { status: None, sent: false, unclassified: false, ..answer }
}
