use super::*;
use crate::delivery::TopicKind;
use crate::envelope::Replay;
use crate::lane::handle::breaker::{FAILED, JUDGED, OPEN_FOR, STEP};
use crate::metrics::BreakerState;
use crate::platforms::Receipt;
use crate::platforms::reading::Verdict;
use crate::stub::bench::Alone;

fn replay() -> Replay {
    Replay { id: "r".into(), replays: 1, force: false }
}

fn failed() -> Verdict {
    Err(DeliveryError::Retry(Answer { status: Some(503), code: "77".into(), sent: true, ..Answer::default() }))
}

fn accepted() -> Verdict {
    Ok(Receipt::default())
}

fn report(alone: &Alone, times: u32, is_replayed: bool, verdict: &Verdict) {
    for _ in 0..times {
        let (mut delivery, _) = alone.delivery(TopicKind::Input, "t");
        if is_replayed {
            delivery.envelope.replay = Some(replay());
        }
        alone.lane.report_answer(&mut delivery, verdict.as_ref().map(drop));
    }
}

fn report_batch(alone: &Alone, verdicts: &[Verdict], replayed: &[bool]) {
    let mut items: Vec<_> = replayed
        .iter()
        .map(|is_replayed| {
            let (mut delivery, _) = alone.delivery(TopicKind::Input, "t");
            delivery.envelope.replay = is_replayed.then(replay);
            delivery
        })
        .collect();
    let said = verdicts.iter().map(|verdict| verdict.as_ref().map(drop));
    alone.lane.report_answers(items.iter_mut().map(|item| &mut **item).zip(said));
}

#[test]
fn each_class_says_of_the_platform_whether_it_works() {
    let answer = Answer::default;
    let rows = [
        (DeliveryError::Retry(answer()), Some(BreakerInput::Failed)),
        (DeliveryError::Ambiguous(answer()), Some(BreakerInput::Failed)),
        (DeliveryError::Permanent(answer()), Some(BreakerInput::Good)),
        (DeliveryError::Throttled(answer()), Some(BreakerInput::Other)),
        (DeliveryError::Refresh(answer()), Some(BreakerInput::Other)),
        (DeliveryError::Halt(answer()), Some(BreakerInput::Other)),
        (DeliveryError::Closed, None),
        (DeliveryError::Held { unknown: false }, None),
        (DeliveryError::Unavailable(String::new()), None),
    ];
    assert_eq!(super::input_of(false, Ok(())), Some(BreakerInput::Good));
    for (error, wanted) in &rows {
        assert_eq!(super::input_of(false, Err(error)), *wanted, "{error:?}");
    }
    assert_eq!(super::input_of(true, Ok(())), Some(BreakerInput::Good));
    for (error, wanted) in &rows {
        let wanted = if *wanted == Some(BreakerInput::Failed) { Some(BreakerInput::FailedAgain) } else { *wanted };
        assert_eq!(super::input_of(true, Err(error)), wanted, "tried before, {error:?}");
    }
    assert_eq!(what(failed().as_ref().map(drop)), "HTTP 503, code 77");
    let refused = DeliveryError::Retry(Answer { detail: "connection refused".into(), ..Answer::default() });
    assert_eq!(what(Err(&refused)), "connection refused");
}

#[tokio::test]
async fn answers_to_replayed_events_open_no_breaker_and_only_good_ones_let_the_ramp_go_on() {
    let alone = Alone::new(|s| s.account.limits.concurrency = 2);
    report(&alone, 100, true, &failed());
    report(&alone, JUDGED - FAILED, false, &failed());
    report(&alone, 100, true, &accepted());
    assert_eq!(alone.handle.breaker.state(), BreakerState::Closed);
    report(&alone, FAILED, false, &failed());
    assert_eq!(alone.handle.breaker.state(), BreakerState::Open, "twenty live ones");

    // As a probe a replayed event counts: there may be no other one.
    alone.handle.breaker.make_probe_due(OPEN_FOR);
    let (mut delivery, _) = alone.delivery(TopicKind::Parked, "t");
    delivery.envelope.replay = Some(replay());
    delivery.probe = alone.handle.take_probe(TopicKind::Parked);
    alone.lane.report_answer(&mut delivery, Ok(()));
    assert_eq!(alone.handle.breaker.state(), BreakerState::Ramping);
    assert!(delivery.probe.is_some_and(|probe| probe.is_answered()));
    report(&alone, 5, true, &failed());
    assert_eq!(alone.handle.breaker.state(), BreakerState::Ramping);
    report(&alone, STEP, true, &accepted());
    assert_eq!(alone.handle.breaker.state(), BreakerState::Closed);
}

#[tokio::test]
async fn a_request_for_several_records_counts_once_and_failed_only_where_all_of_them_did() {
    let alone = Alone::new(|_| {});
    let mixed = [failed(), accepted(), failed()];
    (0..JUDGED * 2).for_each(|_| report_batch(&alone, &mixed, &[false; 3]));
    assert_eq!(alone.handle.breaker.state(), BreakerState::Closed);
    // The live ones decide, in whatever order they stand.
    let only_replayed_ones_fail = [[true, false, true], [false, true, false]];
    report_batch(&alone, &mixed, &only_replayed_ones_fail[0]);
    assert_eq!(alone.handle.breaker.state(), BreakerState::Closed);
    for n in 1..=FAILED {
        assert_eq!(alone.handle.breaker.state(), BreakerState::Closed, "{n}");
        report_batch(&alone, &mixed, &only_replayed_ones_fail[1]);
    }
    assert_eq!(alone.handle.breaker.state(), BreakerState::Open);
}

#[tokio::test]
async fn a_probe_whose_token_has_to_be_renewed_first_goes_on() {
    let alone = Alone::new(|_| {});
    report(&alone, JUDGED, false, &failed());
    alone.handle.breaker.make_probe_due(OPEN_FOR);
    let (mut delivery, _) = alone.delivery(TopicKind::Parked, "t");
    delivery.probe = alone.handle.take_probe(TopicKind::Parked);
    alone.lane.report_answer(&mut delivery, Err(&DeliveryError::Refresh(Answer::default())));
    assert_eq!(alone.handle.breaker.state(), BreakerState::Ramping, "any other answer");
    assert!(delivery.probe.is_some_and(|probe| !probe.is_answered()));
}

#[tokio::test]
async fn a_request_that_was_refused_for_some_of_its_records_shows_that_the_platform_works() {
    let alone = Alone::new(|_| {});
    report(&alone, JUDGED, false, &failed());
    alone.handle.breaker.make_probe_due(OPEN_FOR);
    let (mut delivery, _) = alone.delivery(TopicKind::Parked, "t");
    delivery.probe = alone.handle.take_probe(TopicKind::Parked);
    alone.lane.report_split(std::iter::once(&*delivery));
    assert_eq!(alone.handle.breaker.state(), BreakerState::Ramping);
}
