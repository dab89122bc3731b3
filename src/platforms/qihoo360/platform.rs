//! 360 as the rest of the program knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::read::Rest;
use crate::platforms::description::Description;
use crate::platforms::qihoo360::Qihoo360;
use crate::platforms::qihoo360::config::Config;
use crate::platforms::{Configured, Credential, CredentialShape, Platform, Problem, keys};

pub const PLATFORM: &dyn Platform = &Definition;

struct Definition;

impl Platform for Definition {
    fn name(&self) -> &'static str {
        "qihoo360"
    }

    fn title(&self) -> &'static str {
        "360"
    }

    fn base_url(&self) -> &'static str {
        "https://convert.dop.360.cn"
    }

    fn credential(&self) -> Option<CredentialShape> {
        Some(CredentialShape {
            public: "key",
            secret: "secret",
            title: "App-Key",
            check: header_value,
            // SPEC 2.6.
            advised_accounts: Some(30),
        })
    }

    fn keys(&self) -> Vec<String> {
        keys::names::<Config>()
    }

    fn configure(&self, own: &mut Rest<'_>, map: BTreeMap<String, String>) -> Result<Configured, Vec<Problem>> {
        let config: Config = own.read();
        let settings = keys::agreed(&config);
        let sender = Qihoo360::new(config, map)?;
        let warnings = sender.warnings();
        Ok(Configured { sender: Some(Arc::new(sender)), settings, warnings, ..Configured::default() })
    }

    /// The rate belongs to an App-Key, so accounts with one App-Key share it (SPEC 2.6).
    fn shared_as<'a>(&self, _account: &'a str, credentials: &'a [Credential]) -> &'a str {
        credentials.last().map_or("", |credential| &credential.key)
    }

    fn describe(&self) -> Description {
        Description {
            kinds: vec!["conversion"],
            dedupes_by: "trans_id".into(),
            window: "not stated; repeats go out within the same natural day".into(),
            repeats: "nothing, as far as trans_id works".into(),
            limits: "not stated; 20 requests per second of one App-Key by default".into(),
            ..Description::of(self.keys())
        }
        .with_unconfirmed(&[
            ("the length of qhclickid", "validate.click_len"),
            ("what trans_id is compared with", "trans_id_mode"),
            ("zone and anchor of the natural day", "natural_day"),
            ("what errno 2 says", "errno2"),
            ("members of event_param that an event may not have", "event_param.disallowed"),
        ])
    }

    /// SPEC section 12, 4.
    fn takes_any_age(&self) -> bool {
        true
    }
}

fn header_value(key: &str) -> Result<(), &'static str> {
    if key.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err("may hold visible ASCII characters only, because it travels in a header")
    }
}
