//! An account's tokens over several replicas (core.md section 9): one refresh for all, stored before it is used,
//! encrypted; with Redis away, and with refusals.
//!
//! The tests run on the embedded store and on a real Redis. Every case uses its own keys.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod gate;
mod stores;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use postback::error::{Answer, DeliveryError, Fault};
use postback::platforms::reading::HttpAnswer;
use postback::platforms::tokens::{Grant, Issued, Seed, TokenSource};
use postback::platforms::{Context, Request};
use postback::redis::batcher::Batcher;
use postback::redis::health::Health;
use postback::secret::SecretString;
use postback::send::token::seal::Seal;
use postback::send::token::{Reply, Setup, Token, Tokens, Turn};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use gate::Gate;
use stores::{on_both_stores, redis};

on_both_stores! {
    three_replicas_refused_at_once_refresh_once
    the_seed_is_used_until_it_is_refused_and_its_successor_by_every_replica_after
    a_token_is_refreshed_ahead_of_its_end_and_the_old_one_goes_on_meanwhile
    a_pair_is_stored_before_anybody_uses_it_and_nothing_of_it_can_be_read_there
    a_pair_that_redis_does_not_take_holds_the_lane_and_is_stored_later_without_another_refresh
    with_redis_away_the_token_in_memory_goes_on_and_a_refused_one_holds
    a_second_refusal_in_a_row_halts_and_names_the_account
    a_refresh_that_is_refused_halts_until_the_configured_values_change
    a_late_answer_of_a_stopped_replica_is_kept_where_the_others_were_refused
    a_late_answer_of_a_stopped_replica_never_replaces_a_newer_pair
    what_redis_lost_is_written_back_by_who_knows_it
    an_emptied_store_without_its_epoch_uses_no_worn_out_seed
    a_failing_token_endpoint_is_not_asked_once_per_event
    a_lock_that_nobody_gives_back_ends
    a_permanent_token_needs_no_store_and_its_refusal_halts
    no_token_is_ever_printed
}

const EPOCH_MS: i64 = 1_700_000_000_000;
/// Long enough for a loaded machine. No test waits until it has passed.
const PATIENCE: Duration = Duration::from_secs(30);

thread_local! {
    /// Every test has its own thread, and so its own time of day.
    static NOW_MS: Cell<i64> = const { Cell::new(EPOCH_MS) };
}

fn now_ms() -> i64 {
    NOW_MS.get()
}

/// A platform whose refresh tokens are valid once.
struct Platform {
    /// The number of issued pairs.
    issued: Cell<u32>,
    asked: Cell<u32>,
    /// Refresh tokens that are still accepted.
    valid: RefCell<BTreeSet<String>>,
    life_ms: Cell<Option<i64>>,
    /// The status that it answers with instead.
    status: Cell<u16>,
    /// The next answer waits for this.
    delay: RefCell<Option<Rc<Notify>>>,
}

impl Platform {
    fn new(refresh: &str) -> Rc<Self> {
        Rc::new(Self {
            issued: Cell::new(0),
            asked: Cell::new(0),
            valid: RefCell::new(BTreeSet::from([refresh.to_owned()])),
            life_ms: Cell::new(None),
            status: Cell::new(200),
            delay: RefCell::default(),
        })
    }

    /// Makes the platform accept this refresh token as well.
    fn accept(&self, refresh: &str) {
        self.valid.borrow_mut().insert(refresh.to_owned());
    }

    async fn answer(self: Rc<Self>, request: Request) -> Result<Reply, DeliveryError> {
        self.asked.set(self.asked.get() + 1);
        let grant = String::from_utf8(request.body.to_vec()).unwrap();
        let known = self.valid.borrow_mut().remove(&grant);
        let body = if known && self.status.get() == 200 {
            let n = self.issued.get() + 1;
            self.issued.set(n);
            let refresh = format!("refresh-{n}");
            self.accept(&refresh);
            let end = self.life_ms.get().map_or(0, |life| now_ms() + life);
            format!("access-{n} {refresh} {end}")
        } else {
            String::new()
        };
        let status = if known { self.status.get() } else { 401 };
        let delay = self.delay.borrow_mut().take();
        match delay {
            Some(delay) => delay.notified().await,
            // Other events come meanwhile.
            None => sleep(Duration::from_millis(20)).await,
        }
        Ok(Reply { status, retry_after: None, headers: http::HeaderMap::new(), body: Bytes::from(body) })
    }
}

/// Its token answer is `access refresh end`.
struct Plain;

impl TokenSource for Plain {
    fn token_request(&self, grant: Grant<'_>, _: &Context<'_>) -> Result<Request, Fault> {
        let (Grant::Refresh(secret) | Grant::Code(secret)) = grant;
        Ok(Request { path: "/token".into(), body: Bytes::from(secret.expose().to_owned()), ..Request::default() })
    }

    fn token_from(&self, http: &HttpAnswer<'_>) -> Result<Issued, DeliveryError> {
        let answer =
            |detail: &str| Answer { status: Some(http.status), detail: detail.into(), sent: true, ..Answer::default() };
        match http.status {
            200 => {}
            401 => return Err(DeliveryError::Halt(answer("invalid grant"))),
            _ => return Err(DeliveryError::Retry(answer("the platform failed"))),
        }
        let text = String::from_utf8(http.body.to_vec()).unwrap();
        let parts: Vec<&str> = text.split(' ').collect();
        Ok(Issued {
            access: SecretString::new(parts[0]),
            refresh: Some(SecretString::new(parts[1])),
            access_ends_ms: parts[2].parse().ok().filter(|end| *end > 0),
            refresh_ends_ms: None,
        })
    }
}

fn seed(access: &str, refresh: &str) -> Seed {
    let secret = |text: &str| (!text.is_empty()).then(|| SecretString::new(text));
    Seed { access: secret(access), refresh: secret(refresh), code: None }
}

fn seal() -> Seal {
    Seal::new(&SecretString::new(base64::engine::general_purpose::STANDARD.encode([9; 32]))).unwrap()
}

/// The keys and the platform of one test.
struct World {
    prefix: String,
    platform: Rc<Platform>,
}

impl World {
    /// Sets an epoch, like a store that has lost nothing.
    async fn new(platform: Rc<Platform>) -> Self {
        let world = Self { prefix: format!("tokens-{}-{:x}", std::process::id(), rand::random::<u64>()), platform };
        world.run(&["SET", &world.key("epoch"), "one"]).await;
        world
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    async fn run(&self, words: &[&str]) -> redis::Value {
        let mut connection = redis().get_multiplexed_async_connection().await.unwrap();
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.unwrap()
    }

    async fn stored(&self) -> String {
        redis::from_redis_value(self.run(&["GET", &self.key("token:acme")]).await).unwrap_or_default()
    }

    fn replica(&self, seed: Seed) -> Rc<Tokens> {
        self.replica_over(redis(), seed)
    }

    fn replica_over(&self, redis: redis::Client, seed: Seed) -> Rc<Tokens> {
        self.replica_with(redis, seed, seal())
    }

    fn replica_with(&self, redis: redis::Client, seed: Seed, seal: Seal) -> Rc<Tokens> {
        let (batcher, work) = Batcher::new(redis, self.key("epoch"), Arc::new(Health::default()));
        spawn_local(work);
        let platform = self.platform.clone();
        let setup = Setup {
            account: "acme".into(),
            credentials: Vec::new(),
            source: Arc::new(Plain),
            seed,
            exchange: Box::new(move |request| Box::pin(platform.clone().answer(request))),
            timeout: Duration::from_secs(3),
            now_ms,
        };
        let tokens = Tokens::new(setup, batcher, &self.key("token:acme"), seal);
        spawn_local(tokens.clone().run());
        tokens
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

async fn access(tokens: &Tokens) -> String {
    tokens.token().await.unwrap().access.expose().to_owned()
}

/// One event whose token is refused once. Returns the token that it is sent with then.
async fn refused_once(tokens: &Tokens, token: &Token) -> Result<Token, DeliveryError> {
    tokens.refused(&mut Turn::default(), token, &Answer::default()).await?;
    tokens.token().await
}

fn halted<T: std::fmt::Debug>(result: Result<T, DeliveryError>) -> String {
    match result {
        Err(DeliveryError::Halt(answer)) => answer.detail,
        other => panic!("no halt: {other:?}"),
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn three_replicas_refused_at_once_refresh_once() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        let replicas: Vec<_> = (0..3).map(|_| world.replica(seed("access-0", "refresh-0"))).collect();
        let mut events = Vec::new();
        for tokens in &replicas {
            for _ in 0..20 {
                let tokens = tokens.clone();
                events.push(spawn_local(async move {
                    let token = tokens.token().await.unwrap();
                    if token.access.expose() == "access-0" { refused_once(&tokens, &token).await } else { Ok(token) }
                }));
            }
        }
        for event in events {
            assert_eq!(event.await.unwrap().unwrap().access.expose(), "access-1");
        }
        assert_eq!(world.platform.asked.get(), 1);
    });
}

fn the_seed_is_used_until_it_is_refused_and_its_successor_by_every_replica_after() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        let first = world.replica(seed("access-0", "refresh-0"));
        assert_eq!(access(&first).await, "access-0");
        assert_eq!(world.stored().await, "");
        let token = first.token().await.unwrap();
        assert_eq!(refused_once(&first, &token).await.unwrap().access.expose(), "access-1");
        // The configuration still states the old values, and another access token. The store holds a newer pair.
        let later = world.replica(seed("access-x", "refresh-0"));
        assert_eq!(access(&later).await, "access-1");
        // Without an access token, one is requested at once.
        let world = World::new(Platform::new("refresh-0")).await;
        assert_eq!(access(&world.replica(seed("", "refresh-0"))).await, "access-1");
    });
}

fn a_token_is_refreshed_ahead_of_its_end_and_the_old_one_goes_on_meanwhile() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        world.platform.life_ms.set(Some(7_200_000));
        let replicas = [(); 3].map(|()| world.replica(seed("", "refresh-0")));
        for tokens in &replicas {
            assert_eq!(access(tokens).await, "access-1");
        }
        // Ten minutes before its end, with an answer that takes long.
        let answer = Rc::new(Notify::new());
        *world.platform.delay.borrow_mut() = Some(answer.clone());
        NOW_MS.set(EPOCH_MS + 6_600_000);
        eventually("asked ahead", async || world.platform.asked.get() == 2).await;
        for tokens in &replicas {
            assert_eq!(access(tokens).await, "access-1");
        }
        answer.notify_one();
        eventually("every replica has it", async || {
            let mut all = true;
            for tokens in &replicas {
                all &= access(tokens).await == "access-2";
            }
            all
        })
        .await;
        assert_eq!(world.platform.asked.get(), 2);
    });
}

fn a_pair_is_stored_before_anybody_uses_it_and_nothing_of_it_can_be_read_there() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        let tokens = world.replica(seed("access-0", "refresh-0"));
        let token = tokens.token().await.unwrap();
        let next = refused_once(&tokens, &token).await.unwrap();
        assert_eq!(next.access.expose(), "access-1");
        let stored = world.stored().await;
        assert!(stored.starts_with("t1|2|-|"), "{stored}");
        assert!(!stored.contains("access-") && !stored.contains("refresh-"), "{stored}");
        assert_eq!(world.run(&["PTTL", &world.key("token:acme")]).await, redis::Value::Int(-1));
        // A replica with another key cannot read the tokens, and says which key is meant.
        let other = world.replica_with(redis(), seed("access-0", "refresh-0"), Seal::of_this_process().unwrap());
        assert!(halted(other.token().await).contains("redis.token_key"));
        assert_eq!(world.stored().await, stored);
        assert_eq!(world.platform.asked.get(), 1);
    });
}

fn a_pair_that_redis_does_not_take_holds_the_lane_and_is_stored_later_without_another_refresh() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        let gate = Gate::before(&redis());
        let tokens = world.replica_over(gate.redis(), seed("access-0", "refresh-0"));
        let token = tokens.token().await.unwrap();
        let answer = Rc::new(Notify::new());
        *world.platform.delay.borrow_mut() = Some(answer.clone());
        let event = spawn_local({
            let tokens = tokens.clone();
            async move { refused_once(&tokens, &token).await }
        });
        eventually("asked", async || world.platform.asked.get() == 1).await;
        gate.close();
        answer.notify_one();
        assert!(matches!(event.await.unwrap(), Err(DeliveryError::Unavailable(_))));
        assert!(matches!(tokens.token().await, Err(DeliveryError::Unavailable(_))));
        let settled = tokio::time::timeout(Duration::from_millis(50), tokens.settled()).await;
        assert!(settled.is_err(), "a shutdown would lose the pair");
        assert_eq!(world.stored().await, "");
        gate.open();
        tokens.settled().await;
        assert!(world.stored().await.starts_with("t1|2|-|"));
        assert_eq!(access(&tokens).await, "access-1");
        assert_eq!(world.platform.asked.get(), 1);
    });
}

fn with_redis_away_the_token_in_memory_goes_on_and_a_refused_one_holds() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        let gate = Gate::before(&redis());
        let tokens = world.replica_over(gate.redis(), seed("access-0", "refresh-0"));
        let token = tokens.token().await.unwrap();
        gate.close();
        assert_eq!(access(&tokens).await, "access-0");
        assert!(matches!(refused_once(&tokens, &token).await, Err(DeliveryError::Unavailable(_))));
        // A token that was just refused is not sent again, and the platform is asked for no token that could not be
        // kept.
        assert!(matches!(tokens.token().await, Err(DeliveryError::Unavailable(_))));
        assert_eq!(world.platform.asked.get(), 0);
        gate.open();
        eventually("refreshed", async || tokens.token().await.is_ok_and(|t| t.access.expose() == "access-1")).await;
        // A replica that never read the store does not guess what it holds.
        gate.close();
        let blind = world.replica_over(gate.redis(), seed("access-0", "refresh-0"));
        assert!(matches!(blind.token().await, Err(DeliveryError::Unavailable(_))));
        assert_eq!(world.platform.asked.get(), 1);
    });
}

fn a_second_refusal_in_a_row_halts_and_names_the_account() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        let tokens = world.replica(seed("access-0", "refresh-0"));
        let mut turn = Turn::default();
        let answer = Answer { code: "11000".into(), status: Some(200), sent: true, ..Answer::default() };
        let first = tokens.token().await.unwrap();
        tokens.refused(&mut turn, &first, &answer).await.unwrap();
        let second = tokens.token().await.unwrap();
        let text = halted(tokens.refused(&mut turn, &second, &answer).await);
        assert!(text.contains("re-authorise account acme") && text.contains("accounts.acme.token"), "{text}");
        assert!(world.stored().await.starts_with("t1|2|a"), "it is remembered as refused");
        // When it is resumed later, the token is refreshed again before anything is sent.
        NOW_MS.set(EPOCH_MS + 300_000);
        assert_eq!(world.platform.asked.get(), 1);
        let other = world.replica(seed("access-0", "refresh-0"));
        assert_eq!(access(&other).await, "access-2");
        eventually("known to both", async || tokens.token().await.is_ok_and(|t| t.access.expose() == "access-2")).await;
        assert_eq!(world.platform.asked.get(), 2);
        // Another class of answer in between starts the count again.
        turn.answered();
        let third = tokens.token().await.unwrap();
        tokens.refused(&mut turn, &third, &answer).await.unwrap();
        assert_eq!(access(&tokens).await, "access-3");
    });
}

fn a_refresh_that_is_refused_halts_until_the_configured_values_change() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        let tokens = world.replica(seed("access-0", "revoked"));
        let token = tokens.token().await.unwrap();
        let text = halted(refused_once(&tokens, &token).await);
        assert!(text.contains("re-authorise account acme") && text.contains("invalid grant"), "{text}");
        // All requests in flight learn of it without asking again, here and in other replicas.
        halted(refused_once(&tokens, &token).await);
        halted(tokens.token().await);
        halted(world.replica(seed("access-0", "revoked")).token().await);
        assert_eq!(world.platform.asked.get(), 1);
        let changed = world.replica(seed("", "refresh-0"));
        assert_eq!(access(&changed).await, "access-1");
        // A replica that still has the old values goes on with what the store holds now.
        eventually("adopted", async || tokens.token().await.is_ok_and(|t| t.access.expose() == "access-1")).await;
        assert_eq!(world.platform.asked.get(), 2);
    });
}

/// Two replicas. The first was stopped between the platform's answer and storing it, until its lock had ended.
async fn one_stopped(world: &World) -> (Rc<Tokens>, tokio::task::JoinHandle<Result<Token, DeliveryError>>, Rc<Notify>) {
    let stopped = world.replica(seed("access-0", "refresh-0"));
    let token = stopped.token().await.unwrap();
    let wakes = Rc::new(Notify::new());
    *world.platform.delay.borrow_mut() = Some(wakes.clone());
    let event = spawn_local({
        let stopped = stopped.clone();
        async move { refused_once(&stopped, &token).await }
    });
    eventually("asked", async || world.platform.asked.get() == 1).await;
    world.run(&["DEL", &world.key("token:acme:lock")]).await;
    (stopped, event, wakes)
}

fn a_late_answer_of_a_stopped_replica_is_kept_where_the_others_were_refused() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        let (stopped, event, wakes) = one_stopped(&world).await;
        let other = world.replica(seed("access-0", "refresh-0"));
        let token = other.token().await.unwrap();
        halted(refused_once(&other, &token).await);
        wakes.notify_one();
        assert_eq!(event.await.unwrap().unwrap().access.expose(), "access-1");
        eventually("the other has it", async || other.token().await.is_ok_and(|t| t.access.expose() == "access-1"))
            .await;
        stopped.settled().await;
        assert_eq!(world.platform.asked.get(), 2);
    });
}

fn a_late_answer_of_a_stopped_replica_never_replaces_a_newer_pair() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        let (_stopped, event, wakes) = one_stopped(&world).await;
        // This platform accepts the old token once more.
        world.platform.accept("refresh-0");
        let other = world.replica(seed("access-0", "refresh-0"));
        let token = other.token().await.unwrap();
        assert_eq!(refused_once(&other, &token).await.unwrap().access.expose(), "access-2");
        let stored = world.stored().await;
        wakes.notify_one();
        assert_eq!(event.await.unwrap().unwrap().access.expose(), "access-2");
        assert_eq!(world.stored().await, stored);
    });
}

fn what_redis_lost_is_written_back_by_who_knows_it() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        let tokens = world.replica(seed("", "refresh-0"));
        assert_eq!(access(&tokens).await, "access-1");
        let older = world.stored().await;
        let token = tokens.token().await.unwrap();
        assert_eq!(refused_once(&tokens, &token).await.unwrap().access.expose(), "access-2");
        let newest = world.stored().await;
        let begins = newest.split('|').take(2).collect::<Vec<_>>().join("|");
        // The store failed over to a replica that was behind, and was then emptied.
        world.run(&["SET", &world.key("token:acme"), &older]).await;
        eventually("written over", async || world.stored().await.starts_with(&begins)).await;
        world.run(&["DEL", &world.key("token:acme")]).await;
        eventually("written back", async || world.stored().await.starts_with(&begins)).await;
        let later = world.replica(seed("", "refresh-0"));
        assert_eq!(access(&later).await, "access-2");
        assert_eq!(world.platform.asked.get(), 2);
    });
}

fn an_emptied_store_without_its_epoch_uses_no_worn_out_seed() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        world.run(&["DEL", &world.key("epoch")]).await;
        let tokens = world.replica(seed("", "refresh-0"));
        assert!(matches!(tokens.token().await, Err(DeliveryError::Unavailable(_))));
        assert_eq!(world.platform.asked.get(), 0);
        world.run(&["SET", &world.key("epoch"), "two"]).await;
        assert_eq!(access(&tokens).await, "access-1");
    });
}

fn a_failing_token_endpoint_is_not_asked_once_per_event() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        world.platform.status.set(503);
        let tokens = world.replica(seed("access-0", "refresh-0"));
        let token = tokens.token().await.unwrap();
        for _ in 0..50 {
            world.platform.accept("refresh-0");
            match refused_once(&tokens, &token).await {
                Err(DeliveryError::Retry(answer)) => assert!(!answer.sent && answer.status.is_none(), "{answer:?}"),
                other => panic!("{other:?}"),
            }
        }
        // The pauses are 1, 2 and 4 seconds, so fifty events at once cause only a few requests.
        assert!(world.platform.asked.get() < 10, "{}", world.platform.asked.get());
        world.platform.status.set(200);
        world.platform.accept("refresh-0");
        eventually("refreshed", async || tokens.token().await.is_ok_and(|t| t.access.expose() == "access-1")).await;
    });
}

fn a_lock_that_nobody_gives_back_ends() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        let key = world.key("token:acme:lock");
        world.run(&["SET", &key, "of a replica that was killed", "PX", "600"]).await;
        assert_eq!(access(&world.replica(seed("", "refresh-0"))).await, "access-1");
        assert_eq!(world.platform.asked.get(), 1);
        eventually("given back", async || world.run(&["EXISTS", &key]).await == redis::Value::Int(0)).await;
    });
}

fn a_permanent_token_needs_no_store_and_its_refusal_halts() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        let gate = Gate::before(&redis());
        gate.close();
        let tokens = world.replica_over(gate.redis(), seed("for-ever", ""));
        let token = tokens.token().await.unwrap();
        assert_eq!(token.access.expose(), "for-ever");
        let text = halted(refused_once(&tokens, &token).await);
        assert!(text.contains("re-authorise account acme"), "{text}");
        assert_eq!(world.platform.asked.get(), 0);
    });
}

fn no_token_is_ever_printed() {
    run(async {
        let world = World::new(Platform::new("refresh-0")).await;
        let tokens = world.replica(seed("access-0", "refresh-0"));
        let token = tokens.token().await.unwrap();
        let seed = seed("access-0", "refresh-0");
        let mut shown = format!("{tokens:?} {token:?} {seed:?} {:?}", Grant::Refresh(&token.access));
        world.platform.valid.borrow_mut().clear();
        shown += &halted(refused_once(&tokens, &token).await);
        assert!(!shown.contains("access-0") && !shown.contains("refresh-0"), "{shown}");
    });
}
