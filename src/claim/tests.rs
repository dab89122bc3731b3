//! Tests of one process's claims against a store. `tests/claims.rs` tests the protocol over two processes and under
//! faults.

use std::rc::Rc;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;

use super::*;
use crate::embedded::store::Store;
use crate::redis::health::Health;
use crate::stub::bench::{eventually, run};

struct Process {
    dedupe: Rc<Dedupe>,
    answers: watch::Sender<Answers>,
    connection: ::redis::aio::MultiplexedConnection,
    _store: Store,
}

impl Process {
    async fn new() -> Self {
        let store = Store::start().unwrap();
        let client = |url| crate::redis::Config::stub(url).client().unwrap();
        let mut connection = crate::redis::connect(&client(store.url())).await.unwrap();
        let () = ::redis::cmd("SET").arg("pb:epoch").arg("e1").query_async(&mut connection).await.unwrap();
        let (answers, url) = wire(&store).await;
        let (batcher, work) = Batcher::new(client(url), "pb:epoch".into(), Arc::new(Health::default()));
        spawn_local(work);
        let dedupe = Dedupe::new(batcher, "pb", Duration::from_secs(600), Duration::from_secs(30));
        Self { dedupe: Rc::new(dedupe), answers, connection, _store: store }
    }

    async fn value(&self, claim_request: &ClaimRequest) -> Option<String> {
        let mut get = ::redis::cmd("GET");
        get.arg(claim_request.key.name("pb")).query_async(&mut self.connection.clone()).await.unwrap()
    }

    async fn put(&self, claim_request: &ClaimRequest, value: &str) {
        self.put_aged(claim_request, value, Duration::ZERO).await;
    }

    /// Puts a value as if it had been there for `age`.
    async fn put_aged(&self, claim_request: &ClaimRequest, value: &str, age: Duration) {
        let mut set = ::redis::cmd("SET");
        let life = CLAIM_LIFE_MS - age.as_millis() as u64;
        set.arg(claim_request.key.name("pb")).arg(value).arg("PX").arg(life);
        let () = set.query_async(&mut self.connection.clone()).await.unwrap();
    }

    async fn delete(&self, claim_request: &ClaimRequest) {
        let mut del = ::redis::cmd("DEL");
        let () = del.arg(claim_request.key.name("pb")).query_async(&mut self.connection.clone()).await.unwrap();
    }

    async fn claim(&self, claim_request: &mut ClaimRequest) -> ClaimOutcome {
        self.dedupe.claim(claim_request, &mut ClaimAttempt::default()).await.unwrap()
    }

    async fn claimed(&self, claim_request: &mut ClaimRequest) -> ClaimGuard {
        let ClaimOutcome::Claim(guard) = self.claim(claim_request).await else { panic!("not granted") };
        guard
    }

    async fn confirm(&self, claim_request: &mut ClaimRequest, guard: &ClaimGuard) {
        self.dedupe.confirm(claim_request, &guard.claim, 0, &mut ConfirmAttempt::default()).await.unwrap();
    }
}

/// What happens to the store's answers on their way to the process.
#[derive(Clone, Copy, PartialEq)]
enum Answers {
    Come,
    AreHeld,
    /// Holds back numbers: the answers of scripts. The answer to a claim is text.
    NumbersAreHeld,
    /// Holds back texts: the old values of keys. Answers on a new connection pass.
    TextsAreHeld,
    AreLost,
    /// Redis refuses every write and carries none out.
    Refuse,
}

impl Answers {
    fn let_through(self, reply: &[u8]) -> bool {
        match self {
            Answers::Come | Answers::AreLost | Answers::Refuse => true,
            Answers::AreHeld => false,
            Answers::NumbersAreHeld => reply[0] != b':',
            Answers::TextsAreHeld => reply[0] != b'$',
        }
    }
}

async fn wire(store: &Store) -> (watch::Sender<Answers>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let to = store.url().trim_start_matches("redis://").trim_end_matches('/').to_owned();
    let (answers, seen) = watch::channel(Answers::Come);
    spawn_local(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (mut far, mut seen, states) = (TcpStream::connect(&to).await.unwrap(), seen.clone(), seen.clone());
            spawn_local(async move {
                let (mut from_far, mut to_far) = far.split();
                let (mut from_near, to_near) = near.split();
                let to_near = Mutex::new(to_near);
                let forth = async {
                    let mut buffer = [0; 65_536];
                    loop {
                        let read = from_near.read(&mut buffer).await.unwrap_or(0);
                        let text = String::from_utf8_lossy(&buffer[..read]);
                        let writes =
                            ["\r\nSET\r\n", "\r\nEVALSHA\r\n", "\r\nEVAL\r\n"].iter().any(|c| text.contains(c));
                        if read == 0 {
                            return;
                        } else if writes && *states.borrow() == Answers::Refuse {
                            let commands = text.split("\r\n").filter(|line| line.starts_with('*')).count();
                            let refusal = "-NOREPLICAS Not enough good replicas to write.\r\n".repeat(commands);
                            to_near.lock().await.write_all(refusal.as_bytes()).await.unwrap();
                        } else {
                            to_far.write_all(&buffer[..read]).await.unwrap();
                        }
                    }
                };
                let back = async {
                    let mut buffer = [0; 4096];
                    loop {
                        let read = from_far.read(&mut buffer).await.unwrap_or(0);
                        let state = *seen.wait_for(|answers| answers.let_through(&buffer)).await.unwrap();
                        if read == 0 || state == Answers::AreLost {
                            return;
                        }
                        to_near.lock().await.write_all(&buffer[..read]).await.unwrap();
                    }
                };
                tokio::select! {
                    () = back => {}
                    () = forth => {}
                }
            });
        }
    });
    (answers, url)
}

fn claim_request(trans_id: &str) -> ClaimRequest {
    ClaimRequest {
        key: Key::new("baizhu", "acme", "ORDER", trans_id),
        origin: "in:0:7".into(),
        fingerprint: 5,
        own: 0,
        in_doubt: false,
        spare: Spare::None,
        force: false,
        possible: 0,
    }
}

fn shown(claim_outcome: &ClaimOutcome) -> String {
    match claim_outcome {
        ClaimOutcome::Claim(guard) if guard.claim.taken_over() => "taken over".into(),
        ClaimOutcome::Claim(guard) => format!("fresh, resend {}", guard.claim.resend),
        ClaimOutcome::Duplicate { resends, .. } => format!("duplicate {resends}"),
        ClaimOutcome::Conflict => "conflict".into(),
        ClaimOutcome::Busy { unknown } => format!("held, unknown {unknown}"),
        ClaimOutcome::Foreign => "foreign".to_owned(),
    }
}

#[test]
fn what_a_claim_finds_decides_and_only_a_claim_of_ours_changes_it() {
    run(async {
        let process = Process::new().await;
        let ours = claim_request("");
        let theirs = ClaimRequest { origin: "in:0:8".into(), ..ours.clone() };
        let dear = ClaimRequest { fingerprint: 6, ..ours.clone() };
        let token = Token::random();
        let done = |of: &ClaimRequest, own| Done::new(&ClaimRequest { own, ..of.clone() }, token).to_int().to_string();
        let doubt = |own| ClaimRequest { own, in_doubt: true, ..ours.clone() };
        let forced = ClaimRequest { force: true, ..ours.clone() };
        // The claim request, what it finds, and the outcome; then `own` after it.
        let rows = [
            (ours.clone(), None, "fresh, resend false", 0),
            (doubt(2), None, "fresh, resend true", 2),
            (ours.clone(), Some(theirs.claimed(token, false)), "held, unknown false", 0),
            (ours.clone(), Some(theirs.unknown()), "held, unknown true", 0),
            (ours.clone(), Some(ours.unknown()), "taken over", 0),
            (forced.clone(), Some(theirs.unknown()), "taken over", 0),
            (ours.clone(), Some(ClaimRequest { own: 3, ..ours.clone() }.unknown()), "taken over", 3),
            (ours.clone(), Some(dear.unknown()), "conflict", 0),
            (forced.clone(), Some(done(&dear, 0)), "conflict", 0),
            (doubt(0), Some(done(&dear, 0)), "conflict", 1),
            (ours.clone(), Some(done(&ours, 2)), "duplicate 2", 0),
            (ours.clone(), Some(done(&theirs, 2)), "duplicate 0", 0),
            (forced, Some(done(&theirs, 0)), "duplicate 0", 0),
            (doubt(1), Some(done(&ours, 1)), "duplicate 1", 1),
            (doubt(2), Some(done(&ours, 1)), "duplicate 3", 3),
            (doubt(0), Some(done(&theirs, 1)), "duplicate 1", 1),
            (ours.clone(), Some("somebody else's".into()), "foreign", 0),
        ];
        for (n, (who, found, expected, own)) in rows.into_iter().enumerate() {
            let mut who = ClaimRequest { key: claim_request(&n.to_string()).key, ..who };
            if let Some(found) = &found {
                process.put(&who, found).await;
            }
            let before = who.own;
            let claim_outcome = process.claim(&mut who).await;
            assert_eq!((&*shown(&claim_outcome), who.own), (expected, own), "{n}: {found:?}");
            let possible = if matches!(claim_outcome, ClaimOutcome::Claim(_)) { 0 } else { own - before };
            assert_eq!(who.possible, possible, "{n}: {found:?}");
            let value = process.value(&who).await;
            match claim_outcome {
                ClaimOutcome::Claim(guard) => {
                    assert!(value.unwrap().starts_with(&guard.claim.token.holder()), "{n}");
                    process.dedupe.release(&mut who, guard).await;
                    assert_eq!(process.value(&who).await, found, "{n}: a release puts back what was there");
                }
                _ => assert_eq!(value, found, "{n}"),
            }
        }
    });
}

/// Begins a confirm, holds its reply back, and continues once the store has carried it out.
async fn confirm_without_reply(
    process: &Process,
    mut who: ClaimRequest,
    guard: ClaimGuard,
) -> tokio::task::JoinHandle<(Result<(), StoreError>, ClaimRequest, ClaimGuard, ConfirmAttempt)> {
    process.answers.send(Answers::AreHeld).unwrap();
    let (dedupe, key) = (process.dedupe.clone(), who.clone());
    let confirming = spawn_local(async move {
        let mut attempt = ConfirmAttempt::default();
        let result = dedupe.confirm(&mut who, &guard.claim, 0, &mut attempt).await;
        (result, who, guard, attempt)
    });
    eventually("it is confirmed", async || process.value(&key).await.is_some_and(|v| !v.starts_with('c'))).await;
    confirming
}

#[test]
fn a_confirm_whose_reply_was_lost_after_a_change_since_its_claim_counts() {
    run(async {
        for changes in [0, 1] {
            let process = Process::new().await;
            let mut who = claim_request("t");
            let guard = process.claimed(&mut who).await;
            // The change is noticed before the confirm begins: in between, another may have claimed, sent and
            // confirmed.
            process.dedupe.changes.set(changes);
            let confirming = confirm_without_reply(&process, who, guard).await;
            process.answers.send(Answers::AreLost).unwrap();
            let (result, mut who, guard, mut attempt) = confirming.await.unwrap();
            assert!(result.is_err());
            process.answers.send(Answers::Come).unwrap();
            process.dedupe.confirm(&mut who, &guard.claim, 0, &mut attempt).await.unwrap();
            assert_eq!((who.own, who.possible), (changes as u32, changes as u32));
        }
    });
}

#[test]
fn a_confirm_that_did_not_go_out_is_not_repeated_by_the_next_try() {
    run(async {
        let process = Process::new().await;
        let mut who = claim_request("t");
        let guard = process.claimed(&mut who).await;
        process.dedupe.changes.set(1);
        process.answers.send(Answers::AreLost).unwrap();
        process.dedupe.batcher.primary().await.unwrap_err();
        let mut attempt = ConfirmAttempt::default();
        let error = process.dedupe.confirm(&mut who, &guard.claim, 0, &mut attempt).await.unwrap_err();
        assert!(matches!(error, StoreError::Unreached(_)), "{error:?}");
        process.answers.send(Answers::Come).unwrap();
        process.dedupe.confirm(&mut who, &guard.claim, 0, &mut attempt).await.unwrap();
        assert_eq!((who.own, who.possible), (0, 0));
    });
}

/// A promoted primary refuses writes until a replica follows it. The earlier primary lost nothing.
#[test]
fn what_redis_refuses_did_not_run_and_counts_nothing() {
    run(async {
        let process = Process::new().await;
        let (mut before, mut late) = (claim_request("before"), claim_request("late"));
        let guard = process.claimed(&mut before).await;
        process.confirm(&mut before, &guard).await;
        let guard = process.claimed(&mut late).await;
        process.answers.send(Answers::Refuse).unwrap();
        let possible = Rc::new(RefCell::new(Vec::new()));
        let (dedupe, told) = (process.dedupe.clone(), possible.clone());
        let rewriting = spawn_local(async move {
            dedupe.write_recent(std::time::Instant::now(), |account| told.borrow_mut().push(account)).await;
        });
        let mut attempt = ConfirmAttempt::default();
        for _ in 0..3 {
            let error = process.dedupe.confirm(&mut late, &guard.claim, 0, &mut attempt).await.unwrap_err();
            assert!(matches!(&error, StoreError::Refused(_)) && !error.may_have_run(), "{error:?}");
        }
        let refused = process.dedupe.claim(&mut claim_request("new"), &mut ClaimAttempt::default()).await.map(drop);
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
        assert!(!rewriting.is_finished(), "all of it has to stand there");
        process.answers.send(Answers::Come).unwrap();
        process.dedupe.confirm(&mut late, &guard.claim, 0, &mut attempt).await.unwrap();
        rewriting.await.unwrap();
        assert_eq!((late.own, late.possible, possible.borrow().len()), (0, 0, 0));
    });
}

/// Their replies are lost with the connection, like those of the earlier primary.
#[test]
fn what_is_written_again_and_stands_there_counts_nothing_however_often_it_is_tried() {
    run(async {
        let process = Process::new().await;
        let theirs = ClaimRequest { origin: "in:0:8".into(), ..claim_request("") };
        // What the new primary holds, and whether that counts.
        let rows = [("kept", None, 0), ("lost", Some(None), 0), ("theirs", Some(Some(theirs.unknown())), 1)];
        let possible = Rc::new(RefCell::new(Vec::new()));
        for (account, (id, ..)) in rows.iter().enumerate() {
            let mut who = claim_request(id);
            let guard = process.claimed(&mut who).await;
            process.dedupe.confirm(&mut who, &guard.claim, account, &mut ConfirmAttempt::default()).await.unwrap();
        }
        for (id, stands, _) in &rows {
            match stands {
                None => {}
                Some(None) => process.delete(&claim_request(id)).await,
                Some(Some(value)) => process.put(&claim_request(id), value).await,
            }
        }
        let rewrite = || {
            let (dedupe, told) = (process.dedupe.clone(), possible.clone());
            spawn_local(async move {
                dedupe.write_recent(std::time::Instant::now(), |account| told.borrow_mut().push(account)).await;
            })
        };
        process.answers.send(Answers::TextsAreHeld).unwrap();
        let both = [rewrite(), rewrite()];
        let done = async |id: &str| process.value(&claim_request(id)).await.is_some_and(|v| v.parse::<u64>().is_ok());
        eventually("it was written", async || done("lost").await).await;
        process.answers.send(Answers::AreLost).unwrap();
        sleep(Duration::from_millis(100)).await;
        process.answers.send(Answers::Come).unwrap();
        for rewriting in both {
            rewriting.await.unwrap();
        }
        let counted = |account| possible.borrow().iter().filter(|a| **a == account).count();
        for (account, (id, _, counts)) in rows.iter().enumerate() {
            assert!(done(id).await, "{id}");
            assert_eq!(counted(account), *counts, "{id}");
        }
    });
}

/// The earlier primary may have carried it out while the recent values were written again without it.
#[test]
fn a_confirm_under_way_while_the_primary_changes_is_written_again() {
    run(async {
        for (found, own) in [(None, 0), (Some(claim_request("t").claimed(Token::random(), false)), 1)] {
            let process = Process::new().await;
            let mut who = claim_request("t");
            let guard = process.claimed(&mut who).await;
            let confirming = confirm_without_reply(&process, who.clone(), guard).await;
            process.dedupe.changes.set(1);
            match &found {
                Some(found) => process.put(&who, found).await,
                None => process.delete(&who).await,
            }
            process.answers.send(Answers::Come).unwrap();
            let (result, now, ..) = confirming.await.unwrap();
            assert_eq!((result, now.own, now.possible), (Ok(()), own, own), "{found:?}");
            let value = process.value(&who).await.unwrap();
            assert!(matches!(Value::parse(value.as_bytes()), Value::Done(done) if done.resends() == own), "{value}");
        }
    });
}

#[test]
fn what_is_written_again_goes_back_to_a_minute_before_the_primary_was_last_seen() {
    run(async {
        let process = Process::new().await;
        let mut who = claim_request("t");
        let guard = process.claimed(&mut who).await;
        process.confirm(&mut who, &guard).await;
        let seconds = Duration::from_secs;
        // How much later, and for how long the primary has not been seen.
        for (later, unseen, written) in [(70, 0, false), (0, 15, true), (59, 0, true), (59, 0, true)] {
            process.delete(&who).await;
            process.dedupe.recent.borrow_mut().age(seconds(later));
            let seen = std::time::Instant::now() - seconds(unseen);
            process.dedupe.write_recent(seen, |_| panic!("nobody else's stands there")).await;
            assert_eq!(process.value(&who).await.is_some(), written, "{later} s later, unseen for {unseen} s");
        }
    });
}

#[test]
fn a_confirm_that_redis_has_forgotten_is_forgotten_here_too() {
    run(async {
        let mut process = Process::new().await;
        Rc::get_mut(&mut process.dedupe).unwrap().window_ms = 60_000;
        let mut who = claim_request("t");
        let guard = process.claimed(&mut who).await;
        process.confirm(&mut who, &guard).await;
        drop(guard);
        assert!(!matches!(process.claim(&mut who).await, ClaimOutcome::Claim(_)));
        process.delete(&who).await;
        process.dedupe.recent.borrow_mut().age(Duration::from_secs(61));
        process.claimed(&mut claim_request("t")).await;
    });
}

/// Takes over the claim of a dead owner; the reply is lost.
async fn take_over_without_reply(process: &Process, dead: &str) -> (ClaimRequest, ClaimAttempt) {
    process.put_aged(&claim_request("t"), dead, Duration::from_secs(31)).await;
    process.answers.send(Answers::NumbersAreHeld).unwrap();
    let dedupe = process.dedupe.clone();
    let claiming = spawn_local(async move {
        let (mut who, mut attempt) = (claim_request("t"), ClaimAttempt::default());
        let result = dedupe.claim(&mut who, &mut attempt).await.map(drop);
        (result, who, attempt)
    });
    let begins = async |text: &str| process.value(&claim_request("t")).await.is_some_and(|v| v.starts_with(text));
    eventually("it is taken over", async || !begins(dead).await).await;
    process.answers.send(Answers::AreLost).unwrap();
    let (result, who, attempt) = claiming.await.unwrap();
    assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    assert!(begins(&attempt.token.holder()).await);
    process.answers.send(Answers::Come).unwrap();
    (who, attempt)
}

#[test]
fn a_claim_that_ends_for_a_lost_epoch_puts_back_what_an_earlier_try_took_over() {
    run(async {
        let process = Process::new().await;
        let dead = claim_request("t").claimed(Token::random(), false);
        let (mut who, mut attempt) = take_over_without_reply(&process, &dead).await;
        let () = ::redis::cmd("DEL").arg("pb:epoch").query_async(&mut process.connection.clone()).await.unwrap();
        let result = process.dedupe.claim(&mut who, &mut attempt).await.map(drop);
        assert_eq!(result, Err(StoreError::Forgotten));
        assert_eq!(process.value(&who).await, Some(dead));
    });
}

#[test]
fn a_take_over_whose_reply_was_lost_is_found_and_what_it_told_is_kept() {
    run(async {
        let process = Process::new().await;
        let dead = ClaimRequest { own: 2, ..claim_request("t") }.claimed(Token::random(), true);
        let (mut who, mut attempt) = take_over_without_reply(&process, &dead).await;
        // An account that delivers without Redis keeps what the take-over has found.
        let mut unclaimed = who.clone();
        let ClaimOutcome::Claim(guard) = process.dedupe.unclaimed(&mut unclaimed, &attempt).await else {
            panic!("not granted")
        };
        assert_eq!((unclaimed.own, guard.claim.taken_over(), guard.claim.is_second(false)), (3, true, true));
        drop(guard);
        // Any other account claims again, finds its own token, and puts back what it replaced.
        let ClaimOutcome::Claim(guard) = process.dedupe.claim(&mut who, &mut attempt).await.unwrap() else {
            panic!("not granted")
        };
        assert_eq!((who.own, guard.claim.resend, guard.claim.taken_over()), (3, true, true));
        process.dedupe.release(&mut who, guard).await;
        assert_eq!(process.value(&who).await, Some(dead));
    });
}

#[test]
fn a_take_over_that_was_carried_out_late_is_ours_when_it_is_repeated() {
    let (token, other) = (Token::random(), Token::random());
    let text = |token| Reply::BulkString(claim_request("t").claimed(token, true).into_bytes());
    let rows = [
        (Reply::Int(1), Took::Ours),
        (Reply::Int(0), Took::TooYoung),
        (text(token), Took::Ours),
        (text(other), Took::Changed),
        (Reply::BulkString(b"12".to_vec()), Took::Changed),
        (Reply::Nil, Took::Changed),
    ];
    for (reply, expected) in rows {
        assert_eq!(Took::by(&reply, token), expected, "{reply:?}");
    }
}

/// A slow confirm comes after another's: the other claim has the same lineage and a token with the same tag.
#[test]
fn a_late_confirm_counts_a_confirm_that_only_looks_like_its_own() {
    run(async {
        let process = Process::new().await;
        let mut late = claim_request("t");
        let guard = process.claimed(&mut late).await;
        let theirs = Done::new(&ClaimRequest { own: 1, ..claim_request("t") }, guard.claim.token);
        process.put(&late, &theirs.to_int().to_string()).await;
        process.confirm(&mut late, &guard).await;
        assert_eq!((late.own, late.possible), (2, 1));
    });
}

#[test]
fn what_was_confirmed_here_is_known_without_redis() {
    run(async {
        let process = Process::new().await;
        let mut first = claim_request("t");
        let guard = process.claimed(&mut first).await;
        process.confirm(&mut first, &guard).await;
        drop(guard);
        // The store forgets the key.
        process.put(&first, "somebody else's").await;
        assert_eq!(shown(&process.claim(&mut claim_request("t")).await), "duplicate 0");
        let mut dear = ClaimRequest { fingerprint: 6, ..claim_request("t") };
        assert_eq!(shown(&process.claim(&mut dear).await), "conflict");
        assert_eq!(process.value(&first).await.as_deref(), Some("somebody else's"), "nothing was asked of it");
    });
}

#[test]
fn a_second_copy_waits_for_the_first_and_after_a_release_it_claims_for_itself() {
    run(async {
        let process = Process::new().await;
        let mut first = claim_request("t");
        let guard = process.claimed(&mut first).await;
        let dedupe = process.dedupe.clone();
        let second = spawn_local(async move {
            let mut second = ClaimRequest { origin: "in:0:8".into(), ..claim_request("t") };
            dedupe.claim(&mut second, &mut ClaimAttempt::default()).await.unwrap()
        });
        // A copy of another conversion does not wait.
        assert!(matches!(process.claim(&mut claim_request("u")).await, ClaimOutcome::Claim(_)));
        yield_now().await;
        assert!(!second.is_finished());
        process.dedupe.release(&mut first, guard).await;
        let ClaimOutcome::Claim(second) = second.await.unwrap() else { panic!("not granted") };
        let value = process.value(&first).await.unwrap();
        assert!(value.starts_with(&second.claim.token.holder()), "{value}");

        // After a confirm it is a duplicate, because the value at that time decides.
        let dedupe = process.dedupe.clone();
        let third =
            spawn_local(
                async move { dedupe.claim(&mut claim_request("t"), &mut ClaimAttempt::default()).await.unwrap() },
            );
        yield_now().await;
        process.confirm(&mut ClaimRequest { origin: "in:0:8".into(), ..claim_request("t") }, &second).await;
        drop(second);
        assert_eq!(shown(&third.await.unwrap()), "duplicate 0");
    });
}
