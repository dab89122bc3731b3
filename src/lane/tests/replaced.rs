//! A lane whose account gets other settings while it sends.

use std::borrow::Cow;
use std::sync::Arc;

use super::*;
use crate::account::Account;
use crate::event::ConversionEvent;
use crate::lane::state::LaneParts;
use crate::platforms::reading::{HttpAnswer, Reading};
use crate::platforms::{Context, Prepared, Request, Sender};
use crate::send::Dispatcher;
use crate::send::quota::Quota;
use crate::stub::{Plain, prepared};

/// From now on the lane sends with these settings.
fn replace(bench: &Bench, edit: impl FnOnce(&mut Account)) {
    let old = &bench.lane;
    let mut account = Account::clone(&old.account);
    edit(&mut account);
    let account = Arc::new(account);
    let dispatcher = Rc::new(Dispatcher::new(account.clone(), old.context.health.clone()).unwrap());
    dispatcher.take_over(&old.dispatcher);
    let quota = Quota::of(bench.batcher.clone(), "pb", &account);
    old.replace(old.with(LaneParts { account, dispatcher, limiter: old.limiter.clone(), quota, tokens: None }));
}

fn paths(bench: &Bench) -> Vec<(String, String)> {
    let path = |request: &String| request.split(' ').nth(1).unwrap_or_default().to_owned();
    let id = |request: &String| request.split_once("\r\n\r\n").unwrap().1.to_owned();
    bench.server.requests().iter().map(|request| (id(request), path(request))).collect()
}

#[test]
fn what_has_gone_out_ends_with_the_old_settings_and_what_waits_for_its_slot_is_sent_with_the_new_ones() {
    run(async {
        let mut bench = Bench::new(|s| s.account.limits.rps = 0.5).await;
        bench.start();
        let mut out = bench.send(TopicKind::Input, "hang-1");
        eventually("it is sent", async || bench.sent().len() == 1).await;
        let mut waiting = bench.send(TopicKind::Input, "ok-2");
        eventually("it has its claim", async || bench.value("ok-2").await.is_some()).await;
        replace(&bench, |account| account.path = Some("/new".into()));
        assert_eq!(waiting.wait().await, End::Finished(Outcome::Delivered));
        bench.let_go();
        assert_eq!(out.wait().await, End::Finished(Outcome::Delivered));
        let paths = paths(&bench);
        let of = |id: &str| paths.iter().find(|(sent, _)| sent == id).unwrap().1.as_str();
        assert!(
            of("hang-1").starts_with("/postback?") && of("ok-2").starts_with("/new?") && paths.len() == 2,
            "{paths:?}"
        );
        for published in bench.published(RECEIPTS) {
            let receipt: serde_json::Value = serde_json::from_slice(&published.value).unwrap();
            assert_eq!((&receipt["attempts"], &receipt["resends"]), (&1.into(), &0.into()), "{receipt}");
        }
    });
}

#[test]
fn more_permits_apply_at_once() {
    run(async {
        let mut bench = Bench::new(|s| s.account.limits.concurrency = 1).await;
        bench.start();
        let mut ends = ["hang-1", "hang-2", "hang-3"].map(|id| bench.send(TopicKind::Input, id));
        eventually("one permit is taken", async || bench.sent().len() == 1).await;
        replace(&bench, |account| account.limits.concurrency = 3);
        eventually("all are sent", async || bench.sent().len() == 3).await;
        bench.let_go();
        all_delivered(&mut ends).await;
    });
}

#[test]
fn an_answer_to_the_old_settings_halts_nothing_and_its_record_begins_anew() {
    run(async {
        let bench = Bench::new(|_| {}).await;
        let halt = || Err(DeliveryError::Halt(Answer { status: Some(401), ..Answer::default() }));
        assert_eq!(bench.lane.with_present_settings(halt()).err().unwrap().disposition(), Disposition::Halt);
        replace(&bench, |_| {});
        assert_eq!(bench.lane.with_present_settings(halt()).err().unwrap(), DeliveryError::Replaced);
        assert_eq!(bench.lane.with_present_settings(permanent()).err().unwrap(), permanent().err().unwrap());
        bench.lane.halt("the old credential is refused");
        assert!(bench.handle.is_open());
    });
}

/// Makes something else of an event, and refuses some.
struct Other;

impl Sender for Other {
    fn natives(&self) -> Vec<Cow<'static, str>> {
        Plain.natives()
    }

    fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError> {
        if event.trans_id.starts_with("ok-refused") {
            return Err(DeliveryError::Invalid(Fault::new("click.id", "missing")));
        }
        Ok(prepared(&format!("{}-anew", event.trans_id)))
    }

    fn request(&self, items: &[&Prepared], context: &Context<'_>) -> Result<Request, Fault> {
        Plain.request(items, context)
    }

    fn read(&self, items: &[&Prepared], http: &HttpAnswer<'_>) -> Reading {
        Plain.read(items, http)
    }
}

#[test]
fn what_waits_is_prepared_anew_with_the_new_settings_and_what_they_refuse_is_a_dead_letter() {
    run(async {
        let mut bench = Bench::new(|s| s.account.limits.concurrency = 1).await;
        bench.start();
        let mut out = bench.send(TopicKind::Input, "hang-1");
        eventually("it is sent", async || bench.sent().len() == 1).await;
        let mut waiting = bench.send(TopicKind::Input, "ok-2");
        let mut refused = bench.send(TopicKind::Input, "ok-refused-3");
        replace(&bench, |account| account.sender = Some(Arc::new(Other)));
        assert_eq!(refused.wait().await, End::Finished(Outcome::DeadLettered));
        bench.let_go();
        assert_eq!(out.wait().await, End::Finished(Outcome::Delivered));
        assert_eq!(waiting.wait().await, End::Finished(Outcome::Delivered));
        // It was examined with the settings before.
        assert_eq!(bench.send(TopicKind::Input, "ok-4").wait().await, End::Finished(Outcome::Delivered));
        assert_eq!(bench.sent(), ["hang-1", "ok-2-anew", "ok-4-anew"]);
        let dead = bench.published(DEAD);
        assert!(dead.len() == 1 && dead[0].is_of("ok-refused-3"), "{}", dead.len());
    });
}
