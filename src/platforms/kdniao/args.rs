//! What a call says of its parcel, and the rules for it (SPEC section 9, 7; section 12, 23).

use serde_json::Value;

use crate::error::DeliveryError;
use crate::event::{Members, is_placeholder};
use crate::platforms::kdniao::carriers;
use crate::platforms::rules::{free_of_controls, invalid};

pub(super) const ORDER_CODE: &str = "args.OrderCode";
pub(super) const SHIPPER_CODE: &str = "args.ShipperCode";
pub(super) const LOGISTIC_CODE: &str = "args.LogisticCode";
pub(super) const CUSTOMER_NAME: &str = "args.CustomerName";
/// Every member that `args` may have.
pub(super) const NAMES: [&str; 4] = ["OrderCode", "ShipperCode", "LogisticCode", "CustomerName"];

/// 顺丰 answers only who knows the end of a phone number of sender or recipient.
const ASKS_FOR_PHONE: &str = "SF";
/// These are said to ask for it as well, by one public source: 跨越速运 and 中通.
const MAY_ASK_FOR_PHONE: [&str; 2] = ["KYSY", "ZTO"];

/// What the platform does not take inside of a value (PUBLIC section 5).
const FORBIDDEN: [char; 9] = ['\'', '"', '#', '&', '+', '<', '>', '%', '\\'];

/// A parcel as the platform is asked about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parcel<'a> {
    order: &'a str,
    /// `None`: the platform finds it.
    carrier: Option<&'a str>,
    /// Letters and digits alone.
    waybill: String,
    customer: Option<&'a str>,
}

impl<'a> Parcel<'a> {
    /// Judges the members in the order in which they are sent. `more` are carriers beside those of the list.
    ///
    /// # Errors
    /// `Invalid`, with the first field at fault.
    pub(super) fn of(args: &'a Members, more: &[String], finds_carrier: bool) -> Result<Self, DeliveryError> {
        let order = text(args, "OrderCode", ORDER_CODE)?.unwrap_or_default();
        accepted(order, ORDER_CODE)?;
        let carrier = text(args, "ShipperCode", SHIPPER_CODE)?;
        match carrier {
            None if finds_carrier => {}
            None => return Err(invalid(SHIPPER_CODE, "missing or empty")),
            Some(code) => known(code, more)?,
        }
        let number = text(args, "LogisticCode", LOGISTIC_CODE)?;
        let number = number.ok_or_else(|| invalid(LOGISTIC_CODE, "missing or empty"))?;
        if is_placeholder(number) {
            return Err(invalid(LOGISTIC_CODE, "a placeholder that was never filled in"));
        }
        let waybill: String = number.chars().filter(char::is_ascii_alphanumeric).collect();
        if waybill.is_empty() {
            return Err(invalid(LOGISTIC_CODE, "has no letter and no digit"));
        }
        let customer = text(args, "CustomerName", CUSTOMER_NAME)?;
        accepted(customer.unwrap_or_default(), CUSTOMER_NAME)?;
        if carrier == Some(ASKS_FOR_PHONE) {
            let is_end_of_phone = |text: &str| text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit());
            if !customer.is_some_and(is_end_of_phone) {
                let detail = "SF needs the last four digits of the sender's or the recipient's phone number";
                return Err(invalid(CUSTOMER_NAME, detail));
            }
        }
        Ok(Self { order, carrier, waybill, customer })
    }

    /// `RequestData`: compact JSON, its members in the order of SPEC section 12, 23.
    pub(super) fn request_data(&self) -> String {
        let members = [
            ("OrderCode", Some(self.order)),
            ("ShipperCode", self.carrier),
            ("LogisticCode", Some(&*self.waybill)),
            ("CustomerName", self.customer),
        ];
        let present = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let members: Vec<String> = present.map(|(name, value)| format!("\"{name}\":{}", Value::from(value))).collect();
        format!("{{{}}}", members.join(","))
    }

    /// What a query asks about, for the interval between two of them.
    pub(super) fn about(&self) -> String {
        format!("{}:{}", self.carrier.unwrap_or_default(), self.waybill)
    }

    /// What `preview` should warn of.
    pub(super) fn warnings(&self) -> Vec<String> {
        let asks = self.carrier.filter(|code| self.customer.is_none() && MAY_ASK_FOR_PHONE.contains(code));
        let warning = |code| format!("{CUSTOMER_NAME} is absent: {code} may answer without traces");
        asks.map(warning).into_iter().collect()
    }
}

/// A text that is there and not empty.
fn text<'a>(args: &'a Members, name: &str, field: &'static str) -> Result<Option<&'a str>, DeliveryError> {
    match args.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(invalid(field, "is no text")),
    }
}

fn accepted(text: &str, field: &'static str) -> Result<(), DeliveryError> {
    free_of_controls(text, field)?;
    match text.chars().find(|c| FORBIDDEN.contains(c)) {
        None => Ok(()),
        Some(c) => Err(invalid(field, format!("has a {c}, which the platform does not take"))),
    }
}

/// The value is not repeated: it may be something personal in the wrong place.
fn known(code: &str, more: &[String]) -> Result<(), DeliveryError> {
    if carriers::is_known(code) || more.iter().any(|own| own == code) {
        return Ok(());
    }
    let near = carriers::nearest(code);
    let meant = if near.is_empty() {
        "`carriers` of the account takes codes that the list does not have".to_owned()
    } else {
        format!("did you mean {}?", near.join(", "))
    };
    Err(invalid(SHIPPER_CODE, format!("no carrier has this code; {meant}")))
}
