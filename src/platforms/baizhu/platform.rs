//! 百助 as the rest of the program knows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::read::Rest;
use crate::platforms::baizhu::Baizhu;
use crate::platforms::baizhu::config::Config;
use crate::platforms::description::Description;
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

    fn describe(&self) -> Description {
        Description {
            kinds: vec!["conversion"],
            repeats: "an amount may count twice; an event with an amount and no order number is never sent again"
                .into(),
            limits: "not stated".into(),
            ..Description::of(self.keys())
        }
        .with_unconfirmed(&[
            ("what `product` is on each endpoint", "product"),
            ("how the field of the product's name is spelled", "field.product_name"),
            ("how the field of the refund is spelled", "field.returned_money"),
            ("the form's encoding", "encoding"),
            ("the unit of amounts", "amount_unit"),
            ("what success says", "success_values"),
        ])
    }

    fn configure(&self, own: &mut Rest<'_>, map: BTreeMap<String, String>) -> Result<Configured, Vec<Problem>> {
        let config: Config = own.read();
        let settings = keys::agreed(&config);
        let sender = Baizhu::new(config, map)?;
        let warnings = sender.warnings();
        Ok(Configured { sender: Some(Arc::new(sender)), settings, warnings, ..Configured::default() })
    }
}
