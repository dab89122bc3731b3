//! An account and its sender for tests. A success status with the body `ok` is a success.

pub(crate) mod bench;
pub(crate) mod calls;
pub(crate) mod five;
pub(crate) mod server;
pub(crate) mod tokens;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::account::rollout::Share;
use crate::account::{
    Account, Inline, Limits, OnAmbiguous, PlatformKeys, ReplyRules, Retry, RetryTier, Validate, WhenUnavailable,
};
use crate::error::{Answer, DeliveryError, Fault};
use crate::event::ConversionEvent;
use crate::platforms::reading::{HttpAnswer, Reading};
use crate::platforms::{Context, Item, Prepared, Receipt, Request, Sender};

/// The platform of the accounts. Only tests have it.
pub(crate) const PLATFORM: &str = "third";

/// A sender whose body is the trans_id.
pub(crate) struct Plain;

impl Sender for Plain {
    fn natives(&self) -> Vec<Cow<'static, str>> {
        vec!["install".into()]
    }

    fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError> {
        if event.event_type == "unmapped" {
            return Err(DeliveryError::UnmappedEvent(Fault::new("event_type", "no native code")));
        }
        Ok(prepared(&event.trans_id))
    }

    fn request(&self, items: &[&Prepared], _: &Context<'_>) -> Result<Request, Fault> {
        let text = items[0].item.bytes();
        if text.is_empty() {
            return Err(Fault::new("secrets", "none is in force"));
        }
        Ok(Request {
            path: "/postback?v=1".into(),
            headers: vec![("content-type", "text/plain".into()), ("x-sign", "abc".into())],
            body: Bytes::copy_from_slice(text),
            ..Request::default()
        })
    }

    fn read(&self, _: &[&Prepared], http: &HttpAnswer<'_>) -> Reading {
        let body = http.body;
        assert!(!body.starts_with(b"panic"), "a bug of a sender");
        if body.starts_with(b"nothing of it") {
            Reading::Each(Vec::new())
        } else if body.starts_with(b"nonce") {
            Reading::All(Err(DeliveryError::Refresh(Answer { sign_again: true, ..http.answer() })))
        } else if body.starts_with(b"ok") {
            Reading::All(Ok(Receipt::default()))
        } else {
            Reading::Nothing
        }
    }
}

/// What [`Plain`] makes of an event.
pub(crate) fn prepared(trans_id: &str) -> Prepared {
    Prepared {
        native: "ORDER".into(),
        item: Item::new(trans_id),
        warnings: Vec::new(),
        route: None,
        callback: None,
        never_repeat: false,
    }
}

impl Account {
    /// An account of [`Plain`] with the default rules.
    pub(crate) fn stub(name: &str) -> Self {
        let limits = Limits {
            rps: 20.0,
            concurrency: 8,
            timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(1),
            shared_as: name.into(),
        };
        Self {
            name: name.into(),
            platform: PLATFORM,
            base_urls: vec!["http://127.0.0.1:9".into()],
            has_own_base: true,
            path: None,
            allow_http: true,
            allow_private: true,
            proxy: None,
            enabled: true,
            limits: limits.clone(),
            call_limits: limits,
            retry: Retry {
                tiers: [("5s", 5), ("30s", 30)]
                    .map(|(name, s)| RetryTier { name: name.into(), delay: Duration::from_secs(s) })
                    .into(),
                max_attempts: 20,
                max_age: Duration::from_secs(24 * 3600),
                max_parked: Duration::from_secs(72 * 3600),
                halt_probe: Duration::from_secs(300),
                inline: Inline { max_retries: 0, initial: Duration::from_millis(1), max: Duration::from_millis(1) },
            },
            validate: Validate {
                max_event_age: Some(Duration::from_secs(7 * 24 * 3600)),
                max_future: Duration::from_secs(300),
                accept_raw_identifiers: true,
            },
            when_unavailable: WhenUnavailable::Hold,
            on_ambiguous: OnAmbiguous::Retry,
            credentials: Vec::new(),
            sender: Some(Arc::new(Plain)),
            call: None,
            settings: PlatformKeys::default(),
            reply: ReplyRules::default(),
            rollout: Share::ALL,
        }
    }
}
