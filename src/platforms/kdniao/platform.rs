//! 快递鸟 as the rest of the program knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::read::Rest;
use crate::platforms::description::Description;
use crate::platforms::kdniao::config::Config;
use crate::platforms::kdniao::{Kdniao, NAMES};
use crate::platforms::{Configured, CredentialShape, Platform, Problem, keys};

/// Its value in the list of platforms.
pub const PLATFORM: &dyn Platform = &Definition;

struct Definition;

impl Platform for Definition {
    fn name(&self) -> &'static str {
        "kdniao"
    }

    fn title(&self) -> &'static str {
        "快递鸟"
    }

    fn base_url(&self) -> &'static str {
        "https://api.kdniao.com"
    }

    fn credential(&self) -> Option<CredentialShape> {
        Some(CredentialShape {
            public: "business_id",
            secret: "secret",
            title: "EBusinessID",
            check: |id| match id.bytes().all(|b| b.is_ascii_alphanumeric()) {
                true => Ok(()),
                false => Err("may hold letters and digits only"),
            },
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
            repeats: "nothing: a call changes nothing there".into(),
            limits: "500 track queries per day, one per waybill and 30 min: `daily_limit`, `min_interval`".into(),
            docs: "apifox.com/apidoc/docs-site/2538027, jianyan74/rageframe3, linlinjava/litemall, showdoc.com.cn/yidaotong; read in November 2026 from stored copies".into(),
            ..Description::of(self.keys())
        }
        .with_unconfirmed(&[
            ("which of two signatures it takes", "data_sign"),
            ("how long to wait between two queries of one waybill", "min_interval"),
            ("error answers are free text", ""),
        ])
    }

    fn configure(&self, own: &mut Rest<'_>, map: BTreeMap<String, String>) -> Result<Configured, Vec<Problem>> {
        let config: Config = own.read();
        let settings = keys::agreed(&config);
        let call = Kdniao::new(config, &map)?;
        Ok(Configured { call: Some(Arc::new(call)), settings, ..Configured::default() })
    }
}
