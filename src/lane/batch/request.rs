//! One request for all records of a batch that are ready, and what its answer says of each.

use std::panic::AssertUnwindSafe;
use std::pin::pin;

use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use crate::clock::now_ms;
use crate::delivery::progress::Stage;
use crate::error::DeliveryError;
use crate::lane::attempt::{attempt, ended};
use crate::lane::batch::claims::To;
use crate::lane::batch::{Batch, Member};
use crate::lane::claiming::event;
use crate::lane::counting::{count, declare, panicked};
use crate::lane::sending::{Stop, judge};
use crate::lane::tokens::Refused;
use crate::lane::tries::inline_delay;
use crate::platforms::reading::{Verdict, Verdicts};
use crate::send::client::Unanswered;
use crate::send::rate::Slot;
use crate::send::ready::Ready;
use crate::send::token::Token;
use crate::settle::Progress;

impl Batch<'_> {
    /// Sends one request for all records that are ready. Returns the slot if it was not used.
    pub(super) async fn send(&mut self, ready: Ready<'_>) -> Option<Slot> {
        self.joining.close();
        let lane = self.lane;
        let Ready { line, slot, connecting, waited: _ } = ready;
        let items = self.judged(slot);
        if items.is_empty() {
            return Some(slot);
        }
        let Ok(token) = lane.token() else {
            // The token ended during the wait for the slot.
            items.into_iter().for_each(|item| self.get_ready(item, To::GetToken(None)));
            return Some(slot);
        };
        let (began, began_ms) = (Instant::now(), now_ms());
        let answered = match line {
            Err(failure) => Err(Unanswered::Failed(failure)),
            Ok(line) => {
                items.iter().for_each(|item| item.delivery.ack.open().set_stage(Stage::Sending));
                let events = items.iter().filter_map(|item| event(&item.delivery).ok()).map(|ready| &ready.prepared);
                let events: Vec<_> = events.collect();
                let last_word = || items.iter().try_for_each(|item| judge(&item.delivery, lane, &item.guard, slot));
                let access = token.as_ref().map(|token| &token.access);
                let attempt = AssertUnwindSafe(line.attempt(&events, access, began_ms, last_word)).catch_unwind();
                match self.meanwhile(Box::pin(attempt)).await {
                    Ok(answered) => answered,
                    Err(_) => {
                        lane.account_metrics().attempt_duration(connecting + began.elapsed());
                        return self.panicked(items);
                    }
                }
            }
        };
        let verdicts = match answered {
            Ok(verdicts) => verdicts,
            Err(Unanswered::Failed(failure)) => Verdicts::All(Err(failure)),
            // Nothing was sent. The next check finds the records that must not go on.
            Err(Unanswered::Closed | Unanswered::Stopped(_)) => {
                self.ready.extend(items);
                return Some(slot);
            }
        };
        lane.account_metrics().attempt_duration(connecting + began.elapsed());
        if let Some(wait) = lane.dispatcher.take_pause() {
            self.meanwhile(Box::pin(lane.pause(wait))).await;
        }
        match verdicts {
            Verdicts::Split => {
                lane.report_split(items.iter().map(|item| &*item.delivery));
                self.send_alone(items).await;
            }
            Verdicts::All(verdict) => {
                lane.note_unclassified(&verdict);
                let verdicts = vec![verdict; items.len()];
                self.answered(items, verdicts, began_ms, token.as_ref());
            }
            Verdicts::Each(verdicts) => {
                verdicts.iter().for_each(|verdict| lane.note_unclassified(verdict));
                self.answered(items, verdicts, began_ms, token.as_ref());
            }
        }
        None
    }

    /// Takes the records that are to be sent now. The others leave, or are claimed again.
    fn judged(&mut self, slot: Slot) -> Vec<Member> {
        let mut items = Vec::new();
        for item in std::mem::take(&mut self.ready) {
            match judge(&item.delivery, self.lane, &item.guard, slot) {
                Ok(()) => items.push(item),
                // This concerns all records: the next check finds them.
                Err(Stop::SlotMissed) => self.ready.push(item),
                Err(Stop::ClaimAgain) => self.claim(item),
                Err(Stop::Closed(why)) => self.leave(item, Err(why)),
                Err(Stop::Late(late)) => {
                    let why = item.failed.clone().unwrap_or(late);
                    self.leave(item, Err(why));
                }
            }
        }
        items.sort_unstable_by_key(|item| item.delivery.place);
        items
    }

    /// Waits for the request. Meanwhile claims go on, and records that must not go on leave.
    async fn meanwhile<T>(&mut self, mut request: impl Future<Output = T> + Unpin) -> T {
        let lane = self.lane;
        loop {
            let mut changed = pin!(lane.handle.changes.changed());
            changed.as_mut().enable();
            self.look();
            tokio::select! {
                biased;
                done = &mut request => return done,
                Some(claimed) = self.claiming.next(), if !self.claiming.is_empty() => self.claimed(claimed),
                () = changed => {}
            }
        }
    }

    /// Ends the records that were ready when the wait for their connection and slot panicked. If none was ready, those
    /// that wait for an inline try end, so that the batch cannot panic again and again.
    pub(super) fn panicked_before_sending(&mut self) {
        let items = if self.ready.is_empty() { &mut self.waiting } else { &mut self.ready };
        let items = std::mem::take(items);
        self.panicked(items);
    }

    /// Nobody knows whether any of the records was accepted.
    fn panicked(&mut self, items: Vec<Member>) -> Option<Slot> {
        for mut item in items {
            let attempts = item.delivery.envelope.attempts;
            let error = panicked(&mut item.delivery, self.lane, &mut item.guard, attempts);
            self.leave(item, Err(error));
        }
        None
    }

    /// Counts the verdict of each record, and lets all leave except those that are tried again in the lane. A record
    /// whose token was refused waits for a newer one.
    fn answered(&mut self, items: Vec<Member>, verdicts: Vec<Verdict>, began_ms: i64, token: Option<&Token>) {
        let mut results = Vec::with_capacity(items.len());
        let mut longest = None;
        let mut items = items;
        let said = verdicts.iter().map(|verdict| verdict.as_ref().map(drop));
        self.lane.report_answers(items.iter_mut().map(|item| &mut *item.delivery).zip(said));
        for (mut item, verdict) in items.into_iter().zip(verdicts) {
            count(&mut item.delivery, self.lane, &mut item.guard, &verdict, began_ms);
            if let Err(DeliveryError::Refresh(answer)) = &verdict
                && answer.sign_again
            {
                match item.turn.sign_again(answer) {
                    // It takes another slot, at the end of which it is signed.
                    Ok(()) => self.ready.push(item),
                    Err(halt) => results.push((item, Err(halt))),
                }
                continue;
            }
            if let (Some(token), Err(DeliveryError::Refresh(answer))) = (token, &verdict) {
                let refused = Refused { token: token.clone(), answer: answer.clone() };
                self.get_ready(item, To::GetToken(Some(refused)));
                continue;
            }
            item.turn.answered();
            let failure = verdict.as_ref().err();
            let delay = failure.and_then(|e| inline_delay(&mut item.delivery, self.lane, &mut item.delays, e));
            longest = longest.max(delay);
            item.not_before = delay.map(|delay| Instant::now() + delay);
            results.push((item, verdict.map(Progress::Accepted)));
        }
        // A request that will be repeated as a whole does not count yet.
        if results.iter().any(|(item, _)| item.not_before.is_none()) {
            self.is_uncounted = false;
            self.lane.note_request(results.iter().map(|(item, result)| (item.delivery.is_replayed(), result)));
        } else if !results.is_empty() {
            self.is_uncounted = true;
        }
        for (mut item, result) in results {
            item.failed = None;
            match result {
                Err(failure) if item.not_before.is_some() => {
                    item.failed = Some(failure);
                    // They are tried again together, after the longest of their delays.
                    item.not_before = longest.map(|delay| Instant::now() + delay);
                    self.waiting.push(item);
                }
                result => self.leave(item, result),
            }
        }
    }

    /// Sends each record alone, because the platform refused the request for some of them. A record keeps its claim
    /// while its lease lasts. The refusal was no attempt, though the request may have been a send.
    async fn send_alone(&mut self, mut items: Vec<Member>) {
        self.is_uncounted = false;
        items.iter_mut().for_each(|item| declare(&mut item.delivery, self.lane, &mut item.guard));
        self.alone.extend(items);
        while let Some(mut item) = self.alone.pop_front() {
            let lane = self.lane;
            let Member { delivery, guard, .. } = &mut item;
            let attempts_before = delivery.envelope.attempts;
            let attempt = AssertUnwindSafe(attempt(delivery, lane, guard)).catch_unwind();
            let attempted = self.meanwhile(Box::pin(attempt)).await;
            let result = ended(attempted, delivery, lane, guard, attempts_before);
            self.leave(item, result);
        }
    }
}
