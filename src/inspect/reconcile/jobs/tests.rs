use std::sync::mpsc;

use super::*;
use crate::inspect::ledger::Ledger;

fn range() -> Range {
    Range::Times { topic: None, from_ms: 5, to_ms: None }
}

/// Starts one that ends when it is told what was found, or to stop.
fn begin(jobs: &Arc<Jobs>) -> (Report, mpsc::Sender<Result<Reconciled, ReconcileError>>) {
    let (tell, told) = mpsc::channel();
    let work = move |_: &Range, progress: &Progress| {
        progress.total.store(10, Relaxed);
        loop {
            if progress.stop.load(Relaxed) {
                return Err(ReconcileError::Stopped);
            }
            match told.recv_timeout(Duration::from_millis(10)) {
                Ok(found) => return found,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => panic!("a fault"),
            }
        }
    };
    (jobs.start(range(), work).unwrap(), tell)
}

async fn end(jobs: &Jobs, id: &str) -> Report {
    jobs.wait(id, Duration::from_secs(60)).await.unwrap()
}

#[tokio::test]
async fn one_runs_at_a_time_and_what_it_found_is_kept() {
    let jobs = Jobs::new("w1");
    let (first, tell) = begin(&jobs);
    assert_eq!((first.state, &*first.worker, first.ledger.is_none()), (Stage::Running, "w1", true));
    let busy = Refused::Busy { id: first.id.clone(), since_ms: first.started_ms };
    assert_eq!(jobs.start(range(), |_, _| Ok(Reconciled::default())).err(), Some(busy.clone()));
    assert!(busy.to_string().contains(&first.id), "{busy}");

    let ledger = Ledger { produced: 3, ..Ledger::default() };
    tell.send(Ok(Reconciled { ledger, ..Reconciled::default() })).unwrap();
    let found = end(&jobs, &first.id).await;
    assert_eq!((found.state, found.total, found.why), (Stage::Completed, 10, None));
    assert!(found.ended_ms >= Some(found.started_ms));
    assert_eq!(found.ledger.unwrap().ledger.produced, 3);
    let (second, tell) = begin(&jobs);
    assert_ne!(second.id, first.id);
    tell.send(Err(ReconcileError::Kafka(crate::kafka::topics::AdminError::NoAnswer("x".into())))).unwrap();
    let failed = end(&jobs, &second.id).await;
    assert_eq!((failed.state, failed.ledger.is_none()), (Stage::Failed, true));
    assert!(failed.why.unwrap().contains("no answer from Kafka"));
    assert!(jobs.get(&first.id).is_some() && jobs.get("none").is_none());
}

#[tokio::test]
async fn one_that_is_stopped_makes_room_for_the_next_one() {
    let jobs = Jobs::new("w1");
    let (first, _tell) = begin(&jobs);
    assert!([Stage::Stopping, Stage::Stopped].contains(&jobs.stop(&first.id).unwrap().state));
    let stopped = end(&jobs, &first.id).await;
    assert_eq!((stopped.state, stopped.why, stopped.ledger.is_none()), (Stage::Stopped, None, true));
    let (_, tell) = begin(&jobs);
    drop(tell);
    assert!(jobs.stop("none").is_none());
}

#[tokio::test]
async fn a_fault_of_the_reading_is_an_end_too() {
    let jobs = Jobs::new("w1");
    let (first, tell) = begin(&jobs);
    drop(tell);
    let failed = end(&jobs, &first.id).await;
    assert_eq!((failed.state, failed.why.unwrap()), (Stage::Failed, ReconcileError::BrokeOff.to_string()));
    assert!(jobs.start(range(), |_, _| Ok(Reconciled::default())).is_ok());
}

#[tokio::test]
async fn a_range_that_is_refused_is_told_once_and_forgotten() {
    let jobs = Jobs::new("w1");
    let (first, tell) = begin(&jobs);
    let begun = jobs.begun(&first.id, Duration::from_secs(60)).await.unwrap();
    assert_eq!((begun.state, begun.total), (Stage::Running, 10), "it waits for the range and not for the end");
    assert_eq!(jobs.refused(&first.id), None, "it runs");
    let error = ReconcileError::TooLarge { records: 6_000_000, most: 5_000_000 };
    tell.send(Err(error.clone())).unwrap();
    end(&jobs, &first.id).await;
    assert!(error.to_string().contains("6,000,000") && error.to_string().contains("5,000,000"), "{error}");
    assert_eq!(jobs.refused(&first.id), Some(error));
    assert!(jobs.get(&first.id).is_none());
}

#[tokio::test]
async fn only_a_few_are_kept_and_each_of_them_is_forgotten_in_time() {
    let (jobs, mut ids) = (Jobs::keeping("w1", Duration::from_secs(3600)), Vec::new());
    for _ in 0..MOST_KEPT + 2 {
        let (one, tell) = begin(&jobs);
        tell.send(Ok(Reconciled::default())).unwrap();
        end(&jobs, &one.id).await;
        ids.push(one.id);
    }
    let known: Vec<_> = ids.iter().filter(|id| jobs.get(id).is_some()).collect();
    assert_eq!(known, ids[2..].iter().collect::<Vec<_>>(), "the newest ones");

    let jobs = Jobs::keeping("w1", Duration::from_millis(50));
    let (one, tell) = begin(&jobs);
    tell.send(Ok(Reconciled::default())).unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while jobs.get(&one.id).is_some() {
        assert!(std::time::Instant::now() < until, "it is kept for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
