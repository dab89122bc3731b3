//! The keys of a 百助 account (contract section 2), and what is wrong with them.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::platforms::Problem;
use crate::platforms::baizhu::endpoint::Endpoint;

/// The keys that only 百助 accounts have.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Config {
    /// The agreed product mark of each endpoint.
    pub product: Product,
    /// How the advertiser pays for the product.
    pub settlement: Settlement,
    /// How the form is encoded.
    pub encoding: Encoding,
    /// Names of the fields that 百助's documentation spells in several ways.
    pub field: FieldNames,
    pub amount_unit: AmountUnit,
    /// Values of `code` that mean success. If absent: `success`.
    pub success_values: Option<Vec<String>>,
}

/// `product`: a name or an assigned code.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Product {
    pub install: Option<String>,
    pub register: Option<String>,
    /// For effective users.
    pub back: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// By action (CPA): amounts are left out.
    Cpa,
    /// By sale (CPS): amounts are sent.
    #[default]
    Cps,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// `multipart/form-data`.
    #[default]
    Multipart,
    /// `application/x-www-form-urlencoded`.
    Urlencoded,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AmountUnit {
    /// Yuan with two decimals.
    #[default]
    Yuan,
    /// Whole fen.
    Fen,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct FieldNames {
    /// `product-name`, `product_name` or `both`.
    pub product_name: String,
    /// The name of the field that holds the refund.
    pub returned_money: String,
}

impl Default for FieldNames {
    fn default() -> Self {
        Self { product_name: "product-name".into(), returned_money: "returned_money".into() }
    }
}

impl Config {
    /// Checks every key and the account's `map`, and returns all problems at once.
    pub(super) fn check(self, map: &BTreeMap<String, String>) -> Result<Settings, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, reason: String| problems.push((key.to_owned(), reason));

        let products = [self.product.install, self.product.register, self.product.back];
        for (endpoint, product) in Endpoint::ALL.into_iter().zip(&products) {
            let key = || format!("product.{}", endpoint.native());
            match product.as_deref() {
                Some("") => wrong(&key(), "empty; leave it out where the account sends no such events".into()),
                Some(text) if text.chars().any(char::is_control) => wrong(&key(), "control characters".into()),
                _ => {}
            }
        }
        let product_names: &[&str] = match self.field.product_name.as_str() {
            "product-name" => &["product-name"],
            "product_name" => &["product_name"],
            "both" => &["product-name", "product_name"],
            other => {
                wrong("field.product_name", format!("{other:?} is none of product-name, product_name, both"));
                &[]
            }
        };
        let refund = self.field.returned_money;
        let taken = ["product", "uid", "product-name", "product_name", "money", "order_number"];
        if refund.is_empty() || !refund.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            wrong("field.returned_money", format!("{refund:?} is no field name"));
        } else if taken.contains(&refund.as_str()) {
            wrong("field.returned_money", format!("{refund:?} is the name of another field"));
        }
        let success_values = self.success_values.unwrap_or_else(|| vec!["success".into()]);
        if success_values.is_empty() {
            wrong("success_values", "empty: nothing could ever be delivered".into());
        }
        let mut codes = HashMap::new();
        for (name, code) in map {
            match Endpoint::of(code) {
                Some(endpoint) => _ = codes.insert(name.clone(), endpoint),
                None => wrong(&format!("map.{name}"), format!("{code:?} is none of install, register, back")),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Settings {
            products,
            settlement: self.settlement,
            encoding: self.encoding,
            amount_unit: self.amount_unit,
            product_names: product_names.to_vec(),
            refund,
            success_values,
            map: codes,
        })
    }
}

/// A checked [`Config`].
pub(super) struct Settings {
    /// Indexed by [`Endpoint`].
    pub(super) products: [Option<String>; 3],
    pub(super) settlement: Settlement,
    pub(super) encoding: Encoding,
    pub(super) amount_unit: AmountUnit,
    pub(super) product_names: Vec<&'static str>,
    pub(super) refund: String,
    pub(super) success_values: Vec<String>,
    pub(super) map: HashMap<String, Endpoint>,
}
