//! 百助 as the rest of the program knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::read::Rest;
use crate::platforms::baizhu::Baizhu;
use crate::platforms::baizhu::config::Config;
use crate::platforms::{Configured, Platform, Problem, keys};

pub const PLATFORM: &dyn Platform = &Definition;

struct Definition;

impl Platform for Definition {
    fn name(&self) -> &'static str {
        "baizhu"
    }

    fn title(&self) -> &'static str {
        "百助"
    }

    fn base_url(&self) -> &'static str {
        "https://sc.anhuiry.com"
    }

    fn keys(&self) -> Vec<String> {
        keys::names::<Config>()
    }

    fn configure(&self, own: &mut Rest<'_>, map: BTreeMap<String, String>) -> Result<Configured, Vec<Problem>> {
        let config: Config = own.read();
        let settings = keys::agreed(&config);
        let sender = Baizhu::new(config, map)?;
        let warnings = sender.warnings();
        Ok(Configured { sender: Some(Arc::new(sender)), settings, warnings, ..Configured::default() })
    }
}
