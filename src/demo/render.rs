//! Builds the dashboard from the state of the parts.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::demo::counts::Counts;
use crate::demo::dashboard::{Dashboard, Row};
use crate::demo::generator::PROFILES;
use crate::demo::run::Run;
use crate::error::Outcome;

impl Run {
    /// Shows the dashboard until it is dropped.
    pub(super) async fn show(&self) {
        loop {
            self.screen.borrow_mut().show(|| self.dashboard());
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The state of the demo at present.
    pub(super) fn dashboard(&self) -> Dashboard {
        let counts = self.reader.counts();
        let sums = counts.origins().sums();
        let seen = self.seen.borrow();
        let per_second = self.per_second(&counts);
        let faults = self.sandbox.faults();
        let scheduler = self.scheduler.borrow();
        let rows = PROFILES.iter().zip(counts.accounts()).zip(per_second).map(|((profile, count), per_second)| {
            let lane = seen.lanes.get(profile.account);
            let fault = faults.of(profile.account).map(|fault| format!("platform: {}", fault.describe()));
            let note = scheduler.tag(profile.account).map(str::to_owned).or(fault);
            let closed = lane.filter(|lane| lane.state != "flowing").map(|lane| lane.why.clone());
            Row {
                account: profile.account.to_owned(),
                state: lane.map_or_else(|| "flowing".to_owned(), |lane| lane.state.clone()),
                delivered: count.delivered,
                per_second,
                waiting: count.waiting(),
                // The worker reports this figure once a second, so it may be too large by now.
                parked: lane.map_or(0, |lane| lane.parked).min(count.waiting()),
                note: note.or(closed).unwrap_or_default(),
            }
        });
        Dashboard {
            elapsed: self.began.elapsed(),
            published: self.publisher.made(),
            total: self.options.events,
            rows: rows.collect(),
            delivered: sums.ended(Outcome::Delivered),
            duplicate: sums.ended(Outcome::Duplicate),
            suppressed: sums.ended(Outcome::Suppressed),
            dead_letters: sums.dead_letters(),
            open: sums.produced.saturating_sub(sums.all_ended()),
            resends: sums.resends,
            doing: self.doing(),
        }
    }

    fn doing(&self) -> String {
        match (self.publisher.waits(), self.publisher.is_finished(), self.stopped.get()) {
            (Some(waits), ..) => waits,
            (None, true, Some(_)) => "stopping: finishing what is open".to_owned(),
            (None, true, None) => "finishing what is open".to_owned(),
            _ => String::new(),
        }
    }

    /// The deliveries per second of each account, over about the last two seconds.
    fn per_second(&self, counts: &Counts) -> Vec<u64> {
        let now = Instant::now();
        let counts: Vec<u64> = counts.accounts().iter().map(|account| account.delivered).collect();
        let mut speed = self.speed.borrow_mut();
        speed.push_back((now, counts.clone()));
        while speed.len() > 2 && speed.get(1).is_some_and(|(at, _)| now.duration_since(*at) > Duration::from_secs(2)) {
            speed.pop_front();
        }
        let Some((at, before)) = speed.front() else { return counts };
        let seconds = now.duration_since(*at).as_secs_f64().max(0.5);
        let per = |(now, before): (&u64, &u64)| (now.saturating_sub(*before) as f64 / seconds).round() as u64;
        counts.iter().zip(before).map(per).collect()
    }
}
