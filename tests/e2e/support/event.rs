//! Events the tests publish, each knowing how the platform names it and how it must end.

use super::records::{Headers, Origin};
use super::{now_ms, unique};
use md5::{Digest, Md5};
use serde_json::{Value, json};
use std::cell::Cell;

/// How an event must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// At the platform: as `delivered`, or as `duplicate` of another copy.
    Delivered,
    /// Opted out.
    Suppressed,
    /// In the dead letters with this reason and field; what is empty is not looked at.
    Dead { reason: &'static str, field: &'static str },
    /// Nothing yet: the test ends before it does.
    Open,
}

/// One input record.
#[derive(Clone, Debug)]
pub struct Event {
    pub account: String,
    pub json: Value,
    /// Published instead of `json`, where set: `Some(None)` is a null value.
    pub raw: Option<Option<Vec<u8>>>,
    pub key: Option<Vec<u8>>,
    pub headers: Headers,
    /// How the platform's book names it; nothing where it must never get there.
    pub ident: Option<String>,
    pub expect: Expect,
    /// Where it came to lie, once published.
    pub at: Option<Origin>,
}

impl Event {
    pub fn value(&self) -> Option<Vec<u8>> {
        match &self.raw {
            Some(raw) => raw.clone(),
            None => Some(serde_json::to_vec(&self.json).unwrap()),
        }
    }

    pub fn trans_id(&self) -> &str {
        self.json["trans_id"].as_str().unwrap_or_default()
    }

    pub fn ident(&self) -> &String {
        self.ident.as_ref().expect("an event that the platform must never see")
    }

    /// An event of a platform that the test plays itself, which names it so. It has to get there.
    pub fn of(account: &str, ident: &str, json: Value) -> Self {
        let key = json["trans_id"].as_str().unwrap().as_bytes().to_vec();
        Self {
            account: account.into(),
            json,
            raw: None,
            key: Some(key),
            headers: Headers::new(),
            ident: Some(ident.to_owned()),
            expect: Expect::Delivered,
            at: None,
        }
    }

    /// The same event once more.
    pub fn copy(&self) -> Self {
        Self { at: None, ..self.clone() }
    }

    /// A copy, changed, that must end in the dead letters.
    pub fn spoiled(&self, reason: &'static str, field: &'static str, change: impl FnOnce(&mut Value)) -> Self {
        let mut event = self.copy();
        change(&mut event.json);
        event.ident = None;
        event.expect = Expect::Dead { reason, field };
        event
    }

    /// These bytes (or a null value), which must end in the dead letters.
    pub fn bytes(value: Option<&[u8]>, reason: &'static str, field: &'static str) -> Self {
        Self {
            account: String::new(),
            json: Value::Null,
            raw: Some(value.map(<[u8]>::to_vec)),
            key: Some(b"raw".to_vec()),
            headers: Headers::new(),
            ident: None,
            expect: Expect::Dead { reason, field },
            at: None,
        }
    }

    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }
}

/// Headers that only survive where bytes are carried as bytes: repeated, null, empty and binary ones.
pub fn awkward_headers() -> Headers {
    vec![
        (b"traceparent".to_vec(), Some(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_vec())),
        (b"tag".to_vec(), Some(b"one".to_vec())),
        (b"tag".to_vec(), Some(b"two".to_vec())),
        (b"nothing".to_vec(), None),
        (b"empty".to_vec(), Some(Vec::new())),
        (b"binary".to_vec(), Some((0..=255).collect())),
        (b"pb-origin".to_vec(), Some(b"a producer's own".to_vec())),
    ]
}

pub fn md5_hex(text: &str) -> String {
    Md5::digest(text).iter().map(|b| format!("{b:02x}")).collect()
}

/// Makes events that differ from all others.
pub struct Generator {
    prefix: String,
    count: Cell<u32>,
}

impl Default for Generator {
    fn default() -> Self {
        Self { prefix: unique("t"), count: Cell::new(0) }
    }
}

impl Generator {
    fn next(&self) -> u32 {
        self.count.set(self.count.get() + 1);
        self.count.get()
    }

    /// An order of 360's PC search line, with an amount.
    pub fn order(&self, account: &str) -> Event {
        self.qihoo360(account, "order", "ORDER")
    }

    /// An event of 360's PC search line by canonical name and native code.
    pub fn qihoo360(&self, account: &str, canonical: &str, code: &str) -> Event {
        let n = self.next();
        // Two forms of trans_id: one that goes out as it is, one that the worker must hash.
        let plain = format!("{}-{n}", self.prefix);
        let hashed = md5_hex(&plain);
        let trans_id = if n.is_multiple_of(3) { &hashed } else { &plain };
        let order_id = format!("{}o{n}", self.prefix);
        let json = json!({
            "schema": "postback.event/1", "kind": "conversion", "trans_id": trans_id, "platform": "qihoo360",
            "account": account, "event_type": canonical, "event_time_ms": now_ms() - 1000,
            "click": {"qhclickid": format!("{:016x}", u64::from(n) * 0x9e37_79b9)},
            "order": {"order_id": order_id, "amount": {"minor": 100 + n, "currency": "CNY"}},
            "user": {"user_id": format!("u{n}")},
            "x_future": {"kept": [1, null, "未来"]},
        });
        Event {
            account: account.into(),
            key: Some(format!("qihoo360:{account}:{order_id}").into_bytes()),
            json,
            raw: None,
            headers: Headers::new(),
            ident: Some(format!("{code}:{hashed}")),
            expect: Expect::Delivered,
            at: None,
        }
    }

    /// An effective user of 百助 with an amount.
    pub fn effective_user(&self, account: &str) -> Event {
        let n = self.next();
        let trans_id = format!("{}-{n}", self.prefix);
        let uid = md5_hex(&trans_id);
        let order_id = format!("{}bo{n}", self.prefix);
        let json = json!({
            "trans_id": trans_id, "platform": "baizhu", "account": account, "event_type": "effective_user",
            "event_time_ms": now_ms() - 1000, "user": {"user_id": uid}, "params": {"product_name": "斗地主"},
            "order": {"order_id": order_id, "amount": {"minor": 2345, "currency": "CNY"}},
        });
        Event {
            account: account.into(),
            key: Some(format!("baizhu:{account}:{order_id}").into_bytes()),
            json,
            raw: None,
            headers: Headers::new(),
            ident: Some(format!("back:{uid}:{order_id}")),
            expect: Expect::Delivered,
            at: None,
        }
    }

    pub fn orders(&self, account: &str, n: usize) -> Vec<Event> {
        (0..n).map(|_| self.order(account)).collect()
    }
}
