//! A platform's own limits of a day and a minute.

use std::borrow::Cow;

use super::*;
use crate::event::ConversionEvent;
use crate::metrics::LaneState;
use crate::platforms::reading::{HttpAnswer, Reading};
use crate::platforms::{Context, Prepared, Request, Sender};
use crate::stub::Plain;
use crate::stub::bench::Setting;

const SIX_HOURS: Duration = Duration::from_secs(6 * 3600);

/// A status 400 says that the limit of the day is used up, a 404 that this was the last request of the minute.
struct Limited;

impl Sender for Limited {
    fn natives(&self) -> Vec<Cow<'static, str>> {
        Plain.natives()
    }

    fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError> {
        Plain.prepare(event)
    }

    fn request(&self, items: &[&Prepared], context: &Context<'_>) -> Result<Request, Fault> {
        Plain.request(items, context)
    }

    fn read(&self, items: &[&Prepared], http: &HttpAnswer<'_>) -> Reading {
        match http.status {
            400 => Reading::All(Err(DeliveryError::Throttled(Answer { quota_wait: Some(SIX_HOURS), ..http.answer() }))),
            _ => Plain.read(items, http),
        }
    }

    fn pause(&self, http: &HttpAnswer<'_>) -> Option<Duration> {
        (http.status == 404).then_some(Duration::from_secs(30))
    }
}

fn limited(setting: &mut Setting) {
    setting.account.sender = Some(std::sync::Arc::new(Limited));
}

#[test]
fn a_limit_of_the_day_parks_everything_until_its_end_even_after_a_restart_and_then_one_record_is_tried() {
    run(async {
        let mut bench = Bench::new(limited).await;
        bench.start();
        assert_eq!(bench.send(TopicKind::Input, "400-1").wait().await, End::Parked, "it is no attempt and no end");
        assert_eq!(bench.value("400-1").await, None, "its claim is released");
        assert_eq!(bench.send(TopicKind::Input, "ok-2").wait().await, End::Parked);
        assert_eq!(bench.handle.state(), LaneState::Throttled);
        let parked = bench.published(PARKED);
        assert!(parked.iter().all(|record| record.text("pb-attempts") == "0"), "{parked:?}");
        let life: u64 = bench.redis(&["PTTL", "pb:rate:acme"]).await;
        assert!(life > 5 * 3_600_000, "all replicas wait for hours: {life} ms");

        // A new process learns it from its first question for a slot.
        bench.restart(limited);
        bench.start();
        assert!(bench.handle.is_open());
        assert_eq!(bench.send(TopicKind::Input, "ok-3").wait().await, End::Parked);
        assert_eq!(bench.value("ok-3").await, None);
        assert!(!bench.handle.is_open() && bench.handle.take_probe(TopicKind::Parked).is_none());
        assert!(bench.handle.explain().2.contains("own limit"), "{:?}", bench.handle.explain());
        assert_eq!(bench.sent(), ["400-1"], "nothing is sent before its end");

        // The new day: one record at first, whose answer opens the lane.
        bench.forget_push_back().await;
        let mut tried = bench.send(TopicKind::Input, "hang-4");
        eventually("it is tried", async || bench.sent().len() == 2).await;
        assert_eq!(bench.send(TopicKind::Input, "ok-5").wait().await, End::Parked, "one at a time");
        bench.let_go();
        assert_eq!(tried.wait().await, End::Finished(Outcome::Delivered));
        all_delivered(&mut ["ok-6", "ok-7"].map(|id| bench.send(TopicKind::Input, id))).await;
    });
}

#[test]
fn an_answer_that_arrives_after_the_limit_of_the_day_does_not_end_it() {
    run(async {
        let mut bench = Bench::new(limited).await;
        bench.start();
        let mut earlier = bench.send(TopicKind::Input, "hang-1");
        eventually("it is sent", async || bench.sent().len() == 1).await;
        assert_eq!(bench.send(TopicKind::Input, "400-2").wait().await, End::Parked);
        bench.let_go();
        assert_eq!(earlier.wait().await, End::Finished(Outcome::Delivered));
        let (_, _, why) = bench.handle.explain();
        assert!(why.contains("own limit") && !bench.handle.is_open(), "{why}");
        bench.handle.throttle.forget();
        assert!(
            !bench.handle.is_open() && bench.handle.offers_probe(TopicKind::Parked),
            "one record has to be tried first"
        );
    });
}

#[test]
fn an_answer_may_pause_the_whole_account_whatever_it_says_of_its_record() {
    run(async {
        let mut bench = Bench::new(limited).await;
        bench.start();
        assert_eq!(bench.send(TopicKind::Input, "404-1").wait().await, End::Finished(Outcome::DeadLettered));
        assert_eq!(bench.handle.state(), LaneState::Throttled);
        assert_eq!(bench.send(TopicKind::Input, "ok-2").wait().await, End::Parked);
        let life: u64 = bench.redis(&["PTTL", "pb:rate:acme"]).await;
        assert!((80_000..=91_000).contains(&life), "all replicas wait: {life} ms");
        bench.forget_push_back().await;
        assert!(bench.handle.is_open(), "no record has to be tried first");
    });
}

#[test]
fn whatever_a_platform_says_nothing_waits_longer_than_a_day_and_no_pause_longer_than_a_quarter_of_an_hour() {
    run(async {
        let bench = Bench::new(limited).await;
        let lane = &bench.lane;
        lane.pause(SIX_HOURS).await;
        let life: u64 = bench.redis(&["PTTL", "pb:rate:acme"]).await;
        assert!(life <= 961_000, "{life} ms");
        lane.limiter.push_back(100 * SIX_HOURS).await.unwrap();
        let life: u64 = bench.redis(&["PTTL", "pb:rate:acme"]).await;
        assert!(life < 25 * 3_600_000, "{life} ms");
    });
}
