//! Tests every disposition, step by step: where the record goes, and that no step comes before the steps that it
//! depends on.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use rdkafka::bindings::rd_kafka_resp_err_t as Refusal;
use sha2::{Digest as _, Sha256};
use tokio::time::{sleep, timeout};

use super::*;
use crate::account::OnAmbiguous;
use crate::claim::rules::Value;
use crate::delivery::progress::End;
use crate::delivery::{Refused, TopicKind};
use crate::envelope::LastAttempt;
use crate::error::{Answer, Fault};
use crate::kafka::refusals::Turn;
use crate::lane::{AttemptedDelivery, Lane};
use crate::platforms::Receipt;
use crate::stub::bench::{
    Alone, Bench, DEAD, Ended, PARKED, Published, RECEIPTS, TIER_5S, TIER_30S, TOPICS, eventually, ready as ready_of,
    run,
};

/// A step that is visible from outside.
#[derive(Clone, Copy, Debug)]
enum Step {
    Confirmed,
    Marked,
    Published(&'static str),
    Released,
    Receipt,
    Finished(End),
}

use Step::{Confirmed, Finished, Marked, Released};

const RETRIED: Step = Finished(End::Retried);
const PARKS: Step = Finished(End::Parked);
const RETURNED: Step = Finished(End::Returned);
const DELIVERED: Step = Finished(End::Finished(Outcome::Delivered));
const DUPLICATE: Step = Finished(End::Finished(Outcome::Duplicate));
const DEAD_LETTERED_END: End = End::Finished(Outcome::DeadLettered);
const DEAD_LETTERED: Step = Finished(DEAD_LETTERED_END);

/// Settles as the lane does.
async fn settle(
    lane: &Rc<Lane>,
    delivery: Box<Delivery>,
    guard: Option<ClaimGuard>,
    result: Attempted,
) -> Option<Box<Delivery>> {
    lane.clone().settle(AttemptedDelivery { delivery, key: None, guard, result }).await.back
}

fn answer() -> Answer {
    Answer { status: Some(500), code: "7".into(), sent: true, ..Answer::default() }
}

fn fault() -> Fault {
    Fault::new("some.field", "why")
}

struct Case<'a> {
    bench: &'a Bench,
    id: String,
    delivery: Box<Delivery>,
    guard: Option<ClaimGuard>,
    ended: Ended,
}

impl<'a> Case<'a> {
    /// A record that was claimed and attempted once.
    async fn new(bench: &'a Bench, topic_kind: TopicKind, id: &str) -> Self {
        let mut case = Self::unclaimed(bench, topic_kind, id);
        case.guard = Some(bench.claim(&mut case.delivery).await);
        case
    }

    fn unclaimed(bench: &'a Bench, topic_kind: TopicKind, id: &str) -> Self {
        let (mut delivery, ended) = bench.delivery(topic_kind, id);
        delivery.envelope.attempts = 1;
        delivery.envelope.first_attempt_ms = Some(now_ms());
        delivery.attempted = true;
        Self { bench, id: id.into(), delivery, guard: None, ended }
    }

    fn with(mut self, edit: impl FnOnce(&mut Delivery)) -> Self {
        edit(&mut self.delivery);
        self
    }

    /// Settles the record while each first write is refused, and checks that no step is done before the steps that it
    /// depends on.
    async fn settles(mut self, result: Attempted, steps: &[Step]) -> Option<Box<Delivery>> {
        let counts = |bench: &Bench| BTreeMap::from(TOPICS.map(|topic| (topic, bench.count(topic))));
        let before = counts(self.bench);
        let is_written = |topic| self.bench.count(topic) > before[topic];
        let publishes = steps.iter().any(|s| matches!(s, Step::Published(_) | Step::Receipt));
        if publishes {
            self.bench.broker.refuse_writes(&[Refusal::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED]);
        }
        let lane = self.bench.lane.clone();
        let (delivery, guard) = (self.delivery, self.guard.take());
        let work = tokio::task::spawn_local(async move { settle(&lane, delivery, guard, result).await });
        loop {
            let is_over = work.is_finished();
            // Looks at the last step first, because the steps that it depends on may be done in between.
            let mut stands = Vec::new();
            for step in steps.iter().rev() {
                stands.push(match step {
                    Confirmed => matches!(self.bench.value(&self.id).await, Some(Value::Done(_))),
                    Marked => matches!(self.bench.value(&self.id).await, Some(Value::Unknown { .. })),
                    Released => self.bench.value(&self.id).await.is_none(),
                    Step::Published(topic) => is_written(*topic),
                    Step::Receipt => is_written(RECEIPTS),
                    Finished(end) => self.ended.now().is_some_and(|found| found == *end),
                });
            }
            stands.reverse();
            assert!(stands.is_sorted_by(|a, b| a >= b), "{}: {steps:?} stand as {stands:?}", self.id);
            if is_over {
                assert!(stands.iter().all(|s| *s), "{}: {steps:?} stand as {stands:?}", self.id);
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        let written = counts(self.bench).values().sum::<i64>() - before.values().sum::<i64>();
        let expected = steps.iter().filter(|s| matches!(s, Step::Published(_) | Step::Receipt)).count();
        assert_eq!(written, expected as i64, "{}: written once each", self.id);
        work.await.unwrap()
    }

    fn copy(bench: &Bench, topic: &str, id: &str) -> Published {
        bench.published(topic).into_iter().rfind(|p| p.is_of(id)).unwrap()
    }
}

#[test]
fn what_was_accepted_is_confirmed_then_receipted_then_finished() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        let accepted = || Ok(Progress::Accepted(Receipt { platform_id: Some("p-9".into()) }));
        let case = Case::new(&bench, TopicKind::Input, "delivered").await;
        case.settles(accepted(), &[Confirmed, Step::Receipt, DELIVERED]).await;
        let receipt = Case::copy(&bench, RECEIPTS, "delivered");
        assert_eq!(receipt.key.as_deref(), Some(&b"delivered"[..]));
        let receipt: serde_json::Value = serde_json::from_slice(&receipt.value).unwrap();
        assert_eq!((&receipt["outcome"], &receipt["platform_id"]), (&"delivered".into(), &"p-9".into()));

        // Another claim's confirm came first, so this send was a possible duplicate.
        let case = Case::new(&bench, TopicKind::Input, "twice").await;
        bench.put("twice", "12345").await;
        case.settles(accepted(), &[Confirmed, Step::Receipt, DELIVERED]).await;
        assert_eq!(bench.resends_counted(), 1);
        let receipt: serde_json::Value = serde_json::from_slice(&Case::copy(&bench, RECEIPTS, "twice").value).unwrap();
        assert_eq!(receipt["resends"], 1);

        let case = Case::unclaimed(&bench, TopicKind::Tier, "duplicate");
        case.settles(Ok(Progress::Duplicate { resends: 3 }), &[Step::Receipt, DUPLICATE]).await;
        assert_eq!(bench.value("duplicate").await, None);
    });
}

#[test]
fn a_copy_is_acknowledged_before_its_claim_is_released_and_that_before_it_is_finished() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        let to = |topic, end| [Step::Published(topic), Released, end];
        let case = Case::new(&bench, TopicKind::Input, "retry").await;
        case.settles(Err(DeliveryError::Retry(answer())), &to(TIER_5S, RETRIED)).await;
        let copy = Case::copy(&bench, TIER_5S, "retry");
        assert_eq!((copy.key.as_deref(), copy.text("own")), (Some(&b"key"[..]), "kept"));
        assert_eq!((copy.text("pb-pass"), copy.text("pb-origin-topic")), ("1", "in"));
        assert!(!copy.text("pb-due").is_empty() && !copy.text("pb-retry-since").is_empty());

        let case = Case::new(&bench, TopicKind::Tier, "second-pass").await.with(|d| d.envelope.pass = 1);
        case.settles(Err(DeliveryError::Retry(answer())), &to(TIER_30S, RETRIED)).await;
        let asks = Answer { retry_after: Some(Duration::from_secs(20)), ..answer() };
        let case = Case::new(&bench, TopicKind::Input, "asks-for-20s").await;
        case.settles(Err(DeliveryError::Retry(asks)), &to(TIER_30S, RETRIED)).await;

        let case = Case::unclaimed(&bench, TopicKind::Input, "held");
        case.settles(Err(DeliveryError::Held { unknown: false }), &[Step::Published(TIER_30S), RETRIED]).await;
        let until_ms = now_ms() + 7 * 3600 * 1000;
        let case = Case::new(&bench, TopicKind::Input, "midnight").await;
        case.settles(Err(DeliveryError::Later { until_ms }), &to(TIER_30S, RETRIED)).await;
        assert_eq!(Case::copy(&bench, TIER_30S, "midnight").text("pb-due"), until_ms.to_string());
        let case = Case::new(&bench, TopicKind::Input, "closed").await;
        case.settles(Err(DeliveryError::Closed), &to(PARKED, PARKS)).await;
        let copy = Case::copy(&bench, PARKED, "closed");
        assert!(!copy.text("pb-parked-at").is_empty() && copy.text("pb-due").is_empty());
        for (id, error) in [("returned", DeliveryError::Returned), ("away", DeliveryError::Unavailable("x".into()))] {
            let case = Case::new(&bench, TopicKind::Input, id).await;
            case.settles(Err(error), &[Released, RETURNED]).await;
        }
    });
}

#[test]
fn a_dead_letter_is_acknowledged_and_its_claim_released_before_its_receipt() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        let old = |d: &mut Delivery| d.envelope.retry_since_ms = Some(now_ms() - 25 * 3600 * 1000);
        type Edit<'a> = &'a dyn Fn(&mut Delivery);
        let rows: [(&str, DeliveryError, Edit<'_>, Reason); 5] = [
            ("rejected", DeliveryError::Permanent(answer()), &|_| {}, Reason::Rejected),
            ("too-late", DeliveryError::Expired(fault()), &|_| {}, Reason::Expired),
            ("invalid", DeliveryError::Invalid(fault()), &|_| {}, Reason::Invalid),
            ("tired", DeliveryError::Retry(answer()), &|d| d.envelope.attempts = 20, Reason::AttemptsExhausted),
            ("too-old", DeliveryError::Retry(answer()), &old, Reason::Expired),
        ];
        for (id, error, edit, reason) in rows {
            let field = error.fault().map_or("", |f| &*f.field).to_owned();
            let case = Case::new(&bench, TopicKind::Tier, id).await.with(edit);
            case.settles(Err(error), &[Step::Published(DEAD), Released, Step::Receipt, DEAD_LETTERED]).await;
            let dead = Case::copy(&bench, DEAD, id);
            assert_eq!((dead.reason(), dead.text("pb-field")), (Some(reason), &*field), "{id}");
        }
    });
}

#[test]
fn a_topic_that_refuses_is_named_with_what_is_held_for_it_until_it_takes_it() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        bench.broker.break_topic(PARKED, Refusal::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
        let refusals = bench.lane.context.refusals.clone();
        let mut parked = Vec::new();
        for id in ["one", "two"] {
            let (delivery, ended) = bench.delivery(TopicKind::Input, id);
            let lane = bench.lane.clone();
            parked.push((ended, tokio::task::spawn_local(async move { lane.outbox.park(delivery, None).await })));
        }
        let named = || refusals.all().into_iter().map(|r| (r.topic, r.records)).collect::<Vec<_>>();
        eventually("both are held", async || named() == [(PARKED.to_owned(), 2)]).await;
        assert!(refusals.all()[0].why.contains("uthorization"), "{:?}", refusals.all());
        // A refusing parking topic does not hold a record of another account.
        let (delivery, mut ended) = bench.delivery(TopicKind::Input, "other");
        settle(&bench.lane, delivery, None, Err(DeliveryError::Permanent(answer()))).await;
        assert_eq!(ended.now(), Some(DEAD_LETTERED_END));

        bench.broker.break_topic(PARKED, Refusal::RD_KAFKA_RESP_ERR_NO_ERROR);
        for (mut ended, work) in parked {
            work.await.unwrap();
            assert_eq!(ended.now(), Some(End::Parked));
        }
        assert_eq!((named(), bench.count(PARKED)), (Vec::new(), 2));
    });
}

#[test]
fn what_a_parking_topic_has_refused_for_long_waits_in_a_tier_and_one_record_at_a_time_tries_the_topic() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        let refusals = bench.lane.context.refusals.clone();
        let park = |delivery| {
            let lane = bench.lane.clone();
            tokio::task::spawn_local(async move { lane.outbox.park(delivery, None).await })
        };
        let named = || refusals.all().into_iter().map(|r| (r.topic, r.records)).collect::<Vec<_>>();
        bench.broker.break_topic(PARKED, Refusal::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
        let (first, mut ended) = bench.delivery(TopicKind::Input, "first");
        let work = park(first);
        eventually("it is held", async || named() == [(PARKED.to_owned(), 1)]).await;

        // Records that are held go to a tier once the topic has refused for long, and later records are not held at
        // all.
        refusals.age(PARKED, Duration::from_secs(10));
        assert_eq!(ended.wait().await, End::Retried);
        work.await.unwrap();
        let copy = Case::copy(&bench, TIER_30S, "first");
        let [attempts, pass, since, last] = ["pb-attempts", "pb-pass", "pb-retry-since", "pb-last-error"];
        assert_eq!([attempts, pass, since, last].map(|name| copy.text(name)), ["0", "0", "", ""]);
        let number = |copy: &Published, name| copy.text(name).parse::<i64>().unwrap();
        assert!(number(&copy, "pb-due") >= number(&copy, "pb-parked-at") + 30_000);
        let why = &refusals.all()[0].why;
        assert!(named() == [(PARKED.to_owned(), 0)] && why.contains("waits in the retry tiers"), "{why}");

        // The copy is acknowledged before the claim is released, and the claim is released before the record is
        // finished.
        bench.broker.break_topic(PARKED, Refusal::RD_KAFKA_RESP_ERR_NO_ERROR);
        refusals.age(PARKED, Duration::from_secs(5));
        let Turn::Try(trying) = refusals.turn(PARKED) else { panic!("5 s have passed") };
        let (asked_ms, parked_ms) = (now_ms(), now_ms() - 60_000);
        let since_ms = asked_ms - 3_600_000;
        let case = Case::new(&bench, TopicKind::Tier, "claimed").await.with(|d| {
            (d.envelope.retry_since_ms, d.envelope.parked_at_ms) = (Some(since_ms), Some(parked_ms));
        });
        case.settles(Err(DeliveryError::Closed), &[Step::Published(TIER_30S), Released, RETRIED]).await;
        let copy = Case::copy(&bench, TIER_30S, "claimed");
        let waits = number(&copy, "pb-retry-since") - since_ms;
        assert!((30_000..=number(&copy, "pb-due") - asked_ms).contains(&waits), "{waits} ms are not counted");
        assert_eq!((number(&copy, "pb-parked-at"), bench.count(PARKED)), (parked_ms, 0));

        // A record that was read from parking is held in place.
        park(bench.delivery(TopicKind::Parked, "parked").0).await.unwrap();
        assert!(bench.given_back.try_recv().is_ok());

        // The next try finds that the topic takes records again.
        drop(trying);
        refusals.age(PARKED, Duration::from_secs(5));
        for id in ["tries", "follows"] {
            let (delivery, mut ended) = bench.delivery(TopicKind::Tier, id);
            park(delivery).await.unwrap();
            assert_eq!((ended.now(), named()), (Some(End::Parked), Vec::new()), "{id}");
        }
        assert_eq!((bench.count(PARKED), bench.count(TIER_30S)), (2, 2));
    });
}

#[test]
fn what_a_parking_topic_never_acknowledges_is_put_off_after_ten_seconds() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        bench.broker.break_topic(PARKED, Refusal::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
        let (delivery, mut ended) = bench.delivery(TopicKind::Input, "waits");
        bench.lane.outbox.park(delivery, None).await;
        assert_eq!((ended.now(), bench.count(TIER_30S)), (Some(End::Retried), 1));
    });
}

/// Refuses by size the next `records` records. A write that is refused by size is tried once more, alone.
fn refuse_by_size(bench: &Bench, records: usize) {
    bench.broker.refuse_writes(&vec![Refusal::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 2 * records]);
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn a_dead_letter_that_shared_its_batch_with_one_that_is_too_large_is_whole() {
    run(async {
        let bench = Bench::new(|s| s.receipts = false).await;
        bench.broker.refuse_writes(&[Refusal::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
        let (delivery, mut ended) = bench.delivery(TopicKind::Input, "in-a-batch");
        let value = delivery.record.value.clone().unwrap();
        settle(&bench.lane, delivery, None, Err(DeliveryError::Permanent(answer()))).await;
        assert_eq!(ended.now(), Some(End::Finished(Outcome::DeadLettered)));
        let dead = Case::copy(&bench, DEAD, "in-a-batch");
        assert_eq!((dead.value, dead.headers.get("pb-truncated")), (value.to_vec(), None));
    });
}

#[test]
fn a_dead_letter_that_is_refused_by_size_even_alone_leaves_out_its_value_then_headers_then_its_key() {
    run(async {
        let bench = Bench::new(|s| s.receipts = false).await;
        for (id, refused) in [("value", 1), ("headers", 2), ("key", 3)] {
            refuse_by_size(&bench, refused);
            let (delivery, mut ended) = bench.delivery(TopicKind::Input, id);
            let value = delivery.record.value.clone().unwrap();
            settle(&bench.lane, delivery, None, Err(DeliveryError::Permanent(answer()))).await;
            assert_eq!(ended.now(), Some(End::Finished(Outcome::DeadLettered)), "{id}");
            let dead = Case::copy(&bench, DEAD, id);
            assert_eq!(dead.value, hex(&value).as_bytes(), "{id}");
            let (own, key, told) = match refused {
                1 => ("kept", "key".to_owned(), format!("{}", value.len())),
                2 => ("", "key".to_owned(), format!("{} headers=own:4", value.len())),
                _ => ("", hex(b"key"), format!("{} headers=own:4 key=3", value.len())),
            };
            assert_eq!((dead.text("own"), dead.text("pb-truncated")), (own, &*told), "{id}");
            assert_eq!(dead.key.as_deref(), Some(key.as_bytes()), "{id}");
            assert_eq!((dead.text("pb-origin-topic"), dead.reason()), ("in", Some(Reason::Rejected)), "{id}");
        }
    });
}

#[test]
fn a_copy_that_tier_or_parking_refuses_by_size_ends_in_the_dead_letters_and_says_which_topic_refused_it() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        let doubt = |d: &mut Delivery| {
            d.envelope.last = Some(LastAttempt { class: "ambiguous".into(), ..LastAttempt::default() });
        };
        type Edit<'a> = &'a dyn Fn(&mut Delivery);
        let rows: [(&str, DeliveryError, Edit<'_>, &str, Reason); 4] = [
            ("retried", DeliveryError::Retry(answer()), &|_| {}, TIER_5S, Reason::AttemptsExhausted),
            ("parked", DeliveryError::Closed, &|_| {}, PARKED, Reason::AttemptsExhausted),
            ("ambiguous", DeliveryError::Ambiguous(answer()), &doubt, TIER_5S, Reason::UnknownOutcome),
            ("in-doubt", DeliveryError::Retry(answer()), &doubt, TIER_5S, Reason::UnknownOutcome),
        ];
        for (id, error, edit, topic, reason) in rows {
            let case = Case::new(&bench, TopicKind::Input, id).await.with(edit);
            let (before, value) = (bench.count(topic), case.delivery.record.value.clone().unwrap());
            refuse_by_size(&bench, 1);
            let (delivery, guard, mut ended) = (case.delivery, case.guard, case.ended);
            let back = timeout(Duration::from_secs(20), settle(&bench.lane, delivery, guard, Err(error))).await;
            assert!(back.is_ok_and(|back| back.is_none()), "{id}: held for ever");
            assert_eq!(ended.now(), Some(End::Finished(Outcome::DeadLettered)), "{id}");
            assert_eq!(bench.count(topic), before, "{id}");
            let dead = Case::copy(&bench, DEAD, id);
            assert_eq!((dead.reason(), dead.value.as_slice()), (Some(reason), &*value), "{id}");
            assert!(dead.text("pb-detail").contains(&format!("{topic} refuses its copy by size")), "{id}");
            match reason {
                Reason::UnknownOutcome => assert!(matches!(bench.value(id).await, Some(Value::Unknown { .. })), "{id}"),
                _ => assert_eq!(bench.value(id).await, None, "{id}: its claim is released, so that a replay works"),
            }
        }
        assert_eq!(bench.resends_counted(), 0);
    });
}

#[test]
fn a_copy_that_shared_its_batch_with_one_that_is_too_large_waits_where_it_belongs() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        let rows = [
            ("retried", DeliveryError::Retry(answer()), TIER_5S, End::Retried),
            ("parked", DeliveryError::Closed, PARKED, End::Parked),
        ];
        for (id, error, topic, end) in rows {
            bench.broker.refuse_writes(&[Refusal::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
            let (delivery, mut ended) = bench.delivery(TopicKind::Input, id);
            settle(&bench.lane, delivery, None, Err(error)).await;
            assert_eq!((ended.now(), bench.count(topic)), (Some(end), 1), "{id}");
        }
    });
}

#[test]
fn a_receipt_that_is_refused_by_size_leaves_out_long_texts_and_then_holds_nothing_back() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        for (id, refused) in [("first", 1), ("second", 2)] {
            let long = id.repeat(100);
            let (delivery, mut ended) = bench.delivery(TopicKind::Input, &long);
            let before = bench.count(RECEIPTS);
            refuse_by_size(&bench, refused);
            let settled = settle(&bench.lane, delivery, None, Ok(Progress::Duplicate { resends: 0 }));
            assert!(timeout(Duration::from_secs(20), settled).await.is_ok(), "{id}: held for ever");
            assert_eq!(ended.now(), Some(End::Finished(Outcome::Duplicate)), "{id}");
            assert_eq!(bench.count(RECEIPTS) - before, i64::from(refused == 1), "{id}");
        }
        let receipt = bench.published(RECEIPTS).pop().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&receipt.value).unwrap();
        assert_eq!(
            (receipt.key, &value["trans_id"], &value["account"]),
            (None, &serde_json::Value::Null, &"acme".into())
        );
        assert_eq!((&value["origin"]["offset"], &value["outcome"]), (&7.into(), &"duplicate".into()));
    });
}

#[test]
fn what_may_have_been_accepted_is_marked_before_anything_is_published() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        let ambiguous = || Err(DeliveryError::Ambiguous(answer()));
        let to_tier = [Marked, Step::Published(TIER_5S), RETRIED];
        let to_dead = [Marked, Step::Published(DEAD), Step::Receipt, DEAD_LETTERED];
        Case::new(&bench, TopicKind::Input, "silent").await.settles(ambiguous(), &to_tier).await;
        let tired = Case::new(&bench, TopicKind::Input, "tired").await.with(|d| d.envelope.attempts = 20);
        tired.settles(ambiguous(), &to_dead).await;
        // A record that has been in doubt since an earlier visit never ends as expired or as attempts_exhausted.
        let doubt = |d: &mut Delivery| {
            d.envelope.last = Some(LastAttempt { class: "ambiguous".into(), ..LastAttempt::default() });
        };
        let late = Case::new(&bench, TopicKind::Tier, "late").await.with(doubt);
        late.settles(Err(DeliveryError::Expired(fault())), &to_dead).await;
        for id in ["tired", "late"] {
            assert_eq!(Case::copy(&bench, DEAD, id).reason(), Some(Reason::UnknownOutcome), "{id}");
        }
        // A claim that was taken over may belong to a send that was accepted, as the headers of an earlier visit may.
        bench.put("dead-owner", "c|0123456789abcdef|in:0:7|0000000000|0").await;
        let case = Case::new(&bench, TopicKind::Input, "dead-owner").await;
        case.settles(Err(DeliveryError::Expired(fault())), &to_dead).await;
        assert_eq!(Case::copy(&bench, DEAD, "dead-owner").reason(), Some(Reason::UnknownOutcome));
        // But a refusal, or a conflict with another event, is certain.
        let refused = [Step::Published(DEAD), Released, Step::Receipt, DEAD_LETTERED];
        let case = Case::new(&bench, TopicKind::Tier, "refused").await.with(doubt);
        case.settles(Err(DeliveryError::Permanent(answer())), &refused).await;
        assert_eq!(Case::copy(&bench, DEAD, "refused").reason(), Some(Reason::Rejected));
        // The mark of another lineage stays as it is.
        let theirs = "u|in:0:99|0000000000|0";
        bench.put("theirs", theirs).await;
        let old = |d: &mut Delivery| d.envelope.retry_since_ms = Some(now_ms() - 25 * 3600 * 1000);
        let case = Case::unclaimed(&bench, TopicKind::Tier, "theirs").with(old);
        let error = Err(DeliveryError::Held { unknown: true });
        case.settles(error, &[Step::Published(DEAD), Step::Receipt, DEAD_LETTERED]).await;
        assert_eq!(bench.value("theirs").await, Some(Value::parse(theirs.as_bytes())));
        assert_eq!(Case::copy(&bench, DEAD, "theirs").reason(), Some(Reason::UnknownOutcome));
    });
}

#[test]
fn an_account_that_sends_nothing_twice_buries_what_got_no_answer() {
    run(async {
        let bench = Bench::new(|s| s.account.on_ambiguous = OnAmbiguous::DeadLetter).await;
        let steps = [Marked, Step::Published(DEAD), Step::Receipt, DEAD_LETTERED];
        let case = Case::new(&bench, TopicKind::Input, "silent").await;
        case.settles(Err(DeliveryError::Ambiguous(answer())), &steps).await;
        assert_eq!(Case::copy(&bench, DEAD, "silent").reason(), Some(Reason::UnknownOutcome));
    });
}

#[test]
fn a_short_push_back_leads_to_the_lanes_head_and_a_long_one_to_parking() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        let throttled = |seconds| {
            Err(DeliveryError::Throttled(Answer { retry_after: Some(Duration::from_secs(seconds)), ..answer() }))
        };
        let back = Case::new(&bench, TopicKind::Input, "short").await.settles(throttled(5), &[Released]).await;
        let back = back.expect("it goes on");
        assert_eq!((back.envelope.pass, back.attempted, bench.handle.is_open()), (0, true, true), "the same visit");
        back.ack.complete(End::Returned);
        let case = Case::new(&bench, TopicKind::Tier, "long").await;
        let to_parking = [Step::Published(PARKED), Released, PARKS];
        assert!(case.settles(throttled(60), &to_parking).await.is_none());
        assert!(!bench.handle.is_open());
    });
}

#[test]
fn a_record_that_is_throttled_for_the_eleventh_time_parks_and_so_does_one_past_its_last_tier() {
    run(async {
        let mut bench = Bench::new(|_| {}).await;
        let throttled =
            || Err(DeliveryError::Throttled(Answer { retry_after: Some(Duration::from_secs(1)), ..answer() }));
        let to_parking = [Step::Published(PARKED), Released, PARKS];
        for topic_kind in [TopicKind::Input, TopicKind::Parked] {
            let (mut delivery, mut ended) = bench.delivery(topic_kind, "again");
            for round in 1..=10 {
                let back = settle(&bench.lane, delivery, None, throttled()).await;
                delivery = back.unwrap_or_else(|| panic!("{topic_kind:?}: parked in round {round}"));
                assert!(ended.now().is_none());
            }
            assert!(settle(&bench.lane, delivery, None, throttled()).await.is_none());
            if topic_kind == TopicKind::Input {
                assert_eq!(ended.now(), Some(End::Parked));
            } else {
                let back = bench.alone().given_back.try_recv().expect("held in place");
                back.ack.complete(End::Returned);
            }
        }
        assert_eq!(bench.published(PARKED).iter().filter(|p| p.is_of("again")).count(), 1);
        // With two tiers, the record goes back after the first one, but not after the last one.
        let back = Case::new(&bench, TopicKind::Tier, "first").await.with(|d| d.envelope.pass = 1);
        let back = back.settles(throttled(), &[Released]).await.expect("it goes on");
        back.ack.complete(End::Returned);
        let past = Case::new(&bench, TopicKind::Tier, "last").await.with(|d| d.envelope.pass = 2);
        assert!(past.settles(throttled(), &to_parking).await.is_none());
        assert!(bench.handle.is_open());
    });
}

#[test]
fn a_halt_closes_the_lane_and_what_was_read_from_parking_is_held_in_place() {
    run(async {
        let mut bench = Bench::new(|_| {}).await;
        let halt = || Err(DeliveryError::Halt(Answer { detail: "key of 13812345678 refused".into(), ..answer() }));
        let case = Case::new(&bench, TopicKind::Input, "halts").await;
        case.settles(halt(), &[Step::Published(PARKED), Released, PARKS]).await;
        assert!(!bench.handle.is_open());
        let mut case = Case::new(&bench, TopicKind::Parked, "parked").await;
        let released = case.delivery.ack.open().clone();
        ready_of(&mut case.delivery).claim_request.own = 2;
        case.settles(halt(), &[Released]).await;
        let back = bench.given_back.try_recv().expect("back to the buffer of its partition");
        assert_eq!((released.stage(), back.envelope.resends), (Stage::Holding, 2));
        assert_eq!(back.refused, Refused { times: 1, halted: 1 }, "others go before it");
        let halts = &mut bench.alone().halts;
        assert_eq!(halts.try_recv().unwrap().reason, "key of 138****5678 refused");
        assert!(halts.try_recv().is_err(), "told once");
    });
}

#[tokio::test]
async fn nothing_is_finished_while_redis_or_kafka_is_away() {
    let alone = Alone::new(|_| {});
    let results: [Attempted; 7] = [
        Ok(Progress::Accepted(Receipt::default())),
        Ok(Progress::Duplicate { resends: 0 }),
        Err(DeliveryError::Retry(answer())),
        Err(DeliveryError::Permanent(answer())),
        Err(DeliveryError::Ambiguous(answer())),
        Err(DeliveryError::Held { unknown: false }),
        Err(DeliveryError::Closed),
    ];
    let (mut ends, mut settles) = (Vec::new(), Vec::new());
    for result in results {
        let (delivery, ended) = alone.delivery(TopicKind::Tier, "t-1");
        ends.push(ended);
        settles.push(settle(&alone.lane, delivery, None, result));
    }
    let mut all = std::pin::pin!(join_all(settles));
    assert!(timeout(Duration::from_millis(500), &mut all).await.is_err());
    assert!(ends.iter_mut().all(|e| e.now().is_none()), "finished though nobody has it");
}

#[tokio::test]
async fn what_belongs_to_another_member_by_now_is_published_nowhere() {
    let alone = Alone::new(|_| {});
    for error in [DeliveryError::Retry(answer()), DeliveryError::Permanent(answer()), DeliveryError::Closed] {
        let (delivery, mut ended) = alone.delivery(TopicKind::Tier, "t-1");
        delivery.ack.assignment().set_gone();
        // Kafka is away: a write would never return.
        settle(&alone.lane, delivery, None, Err(error)).await;
        assert_eq!(ended.now(), Some(End::Returned));
    }
}

/// Trap O9: a storm must not push its first error out of sight.
#[test]
fn a_storm_of_dead_letters_is_one_line_per_account_and_reason_and_none_goes_uncounted() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        let sink = crate::telemetry::tests::Sink::default();
        let guard = sink.listen();
        for (n, (id, reason)) in
            [("a", Reason::Invalid), ("b", Reason::Invalid), ("c", Reason::Rejected), ("d", Reason::Invalid)]
                .into_iter()
                .enumerate()
        {
            let (delivery, ended) = bench.delivery(TopicKind::Input, id);
            bench.lane.outbox.publish_dead(delivery, None, reason, &DeliveryError::Invalid(fault())).await;
            let mut ended = ended;
            assert_eq!(ended.wait().await, End::Finished(Outcome::DeadLettered), "{n}");
        }
        drop(guard);
        let text = sink.text();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("\"message\":\"dead letter\"")).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("\"trans_id\":\"a\"") && lines[1].contains("\"reason\":\"rejected\""), "{text}");
        let over = std::time::Instant::now() + std::time::Duration::from_secs(61);
        let left_out = bench.lane.context.quiet.left_out(over);
        assert_eq!(left_out.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [2]);
        assert_eq!(bench.count(DEAD), 4);
    });
}
