//! The same identity with other amounts is not a repeat.

use crate::support::ledger::Check;
use crate::support::platform::Platform;
use crate::support::secs;
use crate::support::world::World;
use serde_json::json;

#[test]
fn another_amount_refund_order_or_currency_of_a_refund_under_one_identity_is_a_conflict_and_anything_else_is_not() {
    let mut w = World::new("conflict");
    w.account("acme-ps", Platform::Qihoo360);
    let other = w.account("acme-ms", Platform::Qihoo360);
    let worker = w.started();
    let mut first = w.make.orders("acme-ps", 8);
    first[6].json["order"]["refund"] = json!({"minor": 1, "currency": "CNY"});
    w.publish(first.clone());
    w.settle(secs(60));

    let conflict = |i: usize, change: fn(&mut serde_json::Value)| first[i].spoiled("conflict", "", change);
    let mut second = vec![
        conflict(0, |e| e["order"]["amount"]["minor"] = 1.into()),
        conflict(1, |e| e["order"]["refund"] = json!({"minor": 1, "currency": "CNY"})),
        conflict(2, |e| e["order"]["order_id"] = "another".into()),
        // A refund is compared in any currency, because this platform is not sent any.
        conflict(6, |e| e["order"]["refund"]["currency"] = "USD".into()),
        // An amount is sent, so another currency is refused before anything is compared.
        first[7].spoiled("invalid", "order.amount.currency", |e| e["order"]["amount"]["currency"] = "USD".into()),
    ];
    // Members that the fingerprint does not cover.
    let mut again = first[3].copy();
    again.json["user"]["user_agent"] = "other".into();
    again.json["params"] = json!({"note": "sent again"});
    second.push(again);
    // The same trans_id for another event and for another account is another conversion.
    let same_id = |mut e: crate::support::event::Event, of: &crate::support::event::Event| {
        let hash = of.ident().split(':').nth(1).unwrap();
        e.ident = Some(format!("{}:{hash}", e.ident().split(':').next().unwrap()));
        e.json["trans_id"] = of.json["trans_id"].clone();
        e
    };
    second.push(same_id(w.make.qihoo360("acme-ps", "pay", "PAY"), &first[4]));
    second.push(same_id(w.make.order("acme-ms"), &first[5]));
    w.publish(second);
    w.settle(secs(60));
    let books = w.ledger(&Check::EXACT);
    assert_eq!((books.outcomes("dead_lettered"), books.outcomes("duplicate")), (5, 1));
    assert_eq!(other.executed(), 1);
    let conflicts = books.dead.iter().filter(|letter| letter.header("pb-reason").as_deref() == Some("conflict"));
    assert_eq!(conflicts.clone().count(), 4);
    for letter in conflicts {
        assert_eq!(letter.header("pb-field").unwrap_or_default(), "", "a conflict has no field");
        assert_eq!(letter.header("pb-event").as_deref(), Some("ORDER"));
    }
    w.counters(&worker, &books);
}
