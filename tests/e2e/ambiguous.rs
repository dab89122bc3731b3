//! Bytes went out and no usable answer came: the event is sent again, and every re-send is declared.

use crate::support::ledger::Check;
use crate::support::platform::{Action, Platform, Rule};
use crate::support::secs;
use crate::support::world::World;

#[test]
fn silence_a_reset_and_nonsense_after_the_send_lead_to_one_declared_resend_each() {
    let mut w = World::new("ambiguous");
    let account = w.account("acme-ps", Platform::Qihoo360);
    let worker = w.started();
    let events = w.make.orders("acme-ps", 60);
    let rules = [Action::Hang, Action::ResetAfter, Action::Garbage].into_iter().enumerate();
    account.rules(
        rules
            .map(|(i, action)| Rule::all(action).about(events[i * 4..i * 4 + 4].iter().map(|e| e.ident())).first(1))
            .collect(),
    );
    w.publish(events.clone());
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    w.counters(&worker, &books);
    for (i, event) in events.iter().enumerate() {
        let (receipt, doubtful) = (books.receipt(event), i < 12);
        assert_eq!(receipt.resends, u64::from(doubtful), "event {i}");
        assert_eq!(receipt.attempts, 1 + u64::from(doubtful), "event {i}");
    }
    let retried = w.records("retry");
    assert_eq!(retried.len(), 12);
    for record in retried {
        assert_eq!(record.header("pb-last-error").as_deref(), Some("ambiguous"));
        assert_eq!(record.header("pb-resends").unwrap_or_else(|| "0".into()), "0", "declared before it was sent");
    }
    assert_eq!(worker.metrics().total("attempts_total", &[("class", "ambiguous")]), 12.0);
}
