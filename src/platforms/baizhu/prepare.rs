//! The rules of 百助 (SPEC section 9, steps 4 to 8), and the form's fields in the order of its parameter table.

use crate::error::DeliveryError;
use crate::event::{ConversionEvent, Money};
use crate::platforms::baizhu::config::{AmountUnit, Settings, Settlement};
use crate::platforms::baizhu::endpoint::Endpoint;
use crate::platforms::baizhu::form::Fields;
use crate::platforms::rules::{fen, free_of_controls, invalid, note_ignored, required_id, unmapped};
use crate::platforms::{Item, Prepared};

const UID: &str = "user.user_id";
const UID_CHARACTERS: usize = 32;
const PRODUCT_NAME: &str = "params.product_name";
const ORDER_ID: &str = "order.order_id";

/// The fields that only effective users have.
#[derive(Default)]
struct Extras<'e> {
    product_name: Option<&'e str>,
    money: Option<String>,
    order_number: Option<&'e str>,
    refund: Option<String>,
}

impl Settings {
    /// The endpoint that the event asks for.
    pub(super) fn endpoint(&self, event_type: &str, platform_event: Option<&str>) -> Option<Endpoint> {
        match platform_event {
            Some(native) => Endpoint::of(native),
            None => self.map.get(event_type).copied().or_else(|| Endpoint::of_canonical(event_type)),
        }
    }

    pub(super) fn prepare(&self, event: &ConversionEvent) -> Result<Prepared, DeliveryError> {
        let mut warnings = Vec::new();
        let endpoint = self
            .endpoint(&event.event_type, event.platform_event.as_deref())
            .ok_or_else(|| unmapped(event, "none of install, register, effective_user", []))?;

        let uid = required_id(event.user.user_id.as_deref(), UID)?;
        let extras = match endpoint {
            Endpoint::Back => self.extras(event, &mut warnings)?,
            Endpoint::Install | Endpoint::Register => {
                note_unused(event, endpoint, &mut warnings);
                Extras::default()
            }
        };

        let product = self.products[endpoint as usize]
            .as_deref()
            .ok_or_else(|| invalid("event_type", "the account has no product for it"))?;
        if uid.chars().count() != UID_CHARACTERS {
            return Err(invalid(UID, "not exactly 32 characters"));
        }
        for (text, field) in [(extras.product_name, PRODUCT_NAME), (extras.order_number, ORDER_ID)] {
            text.map_or(Ok(()), |text| free_of_controls(text, field))?;
        }

        note_ignored(event, &[], &mut warnings);
        let never_repeat = (extras.money.is_some() || extras.refund.is_some()) && extras.order_number.is_none();
        let item = self.fields(product, uid, &extras);
        Ok(Prepared { native: endpoint.native().into(), item, warnings, route: None, callback: None, never_repeat })
    }

    fn extras<'e>(&self, event: &'e ConversionEvent, warnings: &mut Vec<String>) -> Result<Extras<'e>, DeliveryError> {
        let product_name = match event.params.get("product_name") {
            Some(name) => Some(name.as_str().ok_or_else(|| invalid(PRODUCT_NAME, "not a text"))?),
            None => None,
        };
        let order = &event.order;
        let mut money = None;
        let mut refund = None;
        match self.settlement {
            Settlement::Cps => {
                money = self.amount(order.amount.as_ref(), "order.amount.minor", "order.amount.currency")?;
                refund = self.amount(order.refund.as_ref(), "order.refund.minor", "order.refund.currency")?;
            }
            Settlement::Cpa => {
                for (there, field) in
                    [(order.amount.is_some(), "order.amount"), (order.refund.is_some(), "order.refund")]
                {
                    if there {
                        warnings.push(format!("{field} is left out: the product is settled by action"));
                    }
                }
            }
        }
        let filled = |text: Option<&'e str>| text.filter(|t| !t.is_empty());
        Ok(Extras {
            product_name: filled(product_name),
            money,
            order_number: filled(order.order_id.as_deref()),
            refund,
        })
    }

    fn amount(
        &self,
        money: Option<&Money>,
        minor: &'static str,
        currency: &'static str,
    ) -> Result<Option<String>, DeliveryError> {
        let Some(money) = money else { return Ok(None) };
        let fen = fen(money, minor, currency)?;
        Ok(Some(match self.amount_unit {
            AmountUnit::Yuan => yuan(fen),
            AmountUnit::Fen => fen.to_string(),
        }))
    }

    fn fields(&self, product: &str, uid: &str, extras: &Extras<'_>) -> Item {
        let mut fields = Fields::new();
        fields.push("product", product);
        fields.push("uid", uid);
        if let Some(name) = extras.product_name {
            self.product_names.iter().for_each(|field| fields.push(field, name));
        }
        let rest = [
            ("money", extras.money.as_deref()),
            ("order_number", extras.order_number),
            (&*self.refund, extras.refund.as_deref()),
        ];
        for (name, value) in rest {
            if let Some(value) = value {
                fields.push(name, value);
            }
        }
        fields.into_item()
    }
}

/// Fen as yuan with two decimals. It is built from the integer, because a float would round.
pub(super) fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    let fen = fen.unsigned_abs();
    format!("{sign}{}.{:02}", fen / 100, fen % 100)
}

fn note_unused(event: &ConversionEvent, endpoint: Endpoint, warnings: &mut Vec<String>) {
    let unused = [
        (event.params.get("product_name").is_some(), PRODUCT_NAME),
        (event.order.amount.is_some(), "order.amount"),
        (event.order.refund.is_some(), "order.refund"),
    ];
    for (_, field) in unused.into_iter().filter(|(there, _)| *there) {
        warnings.push(format!("{field} is left out: {} takes none", endpoint.native()));
    }
}
