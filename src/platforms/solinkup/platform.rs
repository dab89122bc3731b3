//! 数环通 as the rest of the program knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::read::Rest;
use crate::platforms::description::Description;
use crate::platforms::solinkup::config::Config;
use crate::platforms::solinkup::{NAMES, Solinkup};
use crate::platforms::{Configured, CredentialShape, Platform, Problem, keys};

/// Its value in the list of platforms.
pub const PLATFORM: &dyn Platform = &Definition;

struct Definition;

impl Platform for Definition {
    fn name(&self) -> &'static str {
        "solinkup"
    }

    fn title(&self) -> &'static str {
        "数环通"
    }

    fn base_url(&self) -> &'static str {
        "https://api.solinkup.com"
    }

    fn credential(&self) -> Option<CredentialShape> {
        Some(CredentialShape {
            public: "key",
            secret: "secret",
            title: "appKey",
            check: visible,
            advised_accounts: None,
        })
    }

    fn keys(&self) -> Vec<String> {
        keys::names::<Config>()
    }

    fn describe(&self) -> Description {
        Description {
            kinds: vec!["call"],
            calls: NAMES.to_vec(),
            repeats: "nothing, except a call that deletes: it is never repeated by itself".into(),
            limits: "not stated".into(),
            docs: "the description by its vendor; nothing public".into(),
            ..Description::of(self.keys())
        }
        .with_unconfirmed(&[
            ("the signature: of its descriptions no two agree", "sign"),
            ("which common parameters a call carries", "call"),
            ("the span of a report: 180 of what", "max_span_days"),
            ("which metrics a report has", "strict_fields"),
            ("which answers refuse the token or the account", "classify"),
        ])
    }

    fn configure(&self, own: &mut Rest<'_>, map: BTreeMap<String, String>) -> Result<Configured, Vec<Problem>> {
        let config: Config = own.read();
        let settings = keys::agreed(&config);
        let unused = map.keys().map(|event| (format!("map.{event}"), "has no use: it takes no conversions".to_owned()));
        let unused: Vec<Problem> = unused.collect();
        let checked = match config.check() {
            Ok(checked) if unused.is_empty() => checked,
            Ok(_) => return Err(unused),
            Err(problems) => return Err([problems, unused].concat()),
        };
        let warnings = checked.warnings();
        let call = Some(Arc::new(Solinkup::new(checked)) as _);
        Ok(Configured { call, settings, warnings, ..Configured::default() })
    }
}

fn visible(key: &str) -> Result<(), &'static str> {
    if key.bytes().all(|b| b.is_ascii_graphic()) { Ok(()) } else { Err("may hold visible ASCII characters only") }
}
