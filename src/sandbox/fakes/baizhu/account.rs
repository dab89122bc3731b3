//! The terms that an account and 百助 agreed on, and the endpoints that they are about.

use serde::Deserialize;

use super::form::Encoding;

/// The keys of `[accounts.NAME]` that 百助 uses.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    pub(super) product: Product,
    pub(super) settlement: Settlement,
    pub(super) encoding: Encoding,
    pub(super) field: FieldNames,
    pub(super) amount_unit: AmountUnit,
    pub(super) success_values: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Product {
    pub(super) install: Option<String>,
    pub(super) register: Option<String>,
    pub(super) back: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct FieldNames {
    pub(super) product_name: Option<String>,
    pub(super) returned_money: Option<String>,
}

/// The terms of one account.
#[derive(Clone, Debug)]
pub(super) struct BaizhuAccount {
    /// The product mark for `/data/install`; `None`: the account may not use this endpoint.
    pub(super) install: Option<String>,
    /// The product mark for `/data/register`.
    pub(super) register: Option<String>,
    /// The product mark for `/data/back`.
    pub(super) back: Option<String>,
    /// How the account is paid. A CPA account sends no amounts.
    pub(super) settlement: Settlement,
    /// The accepted spellings of the field of the product name. If a form has two of them, their values must be equal.
    pub(super) product_name_fields: Vec<String>,
    /// The spelling of the field of the refund.
    pub(super) returned_money_field: String,
    /// The encoding of the form.
    pub(super) encoding: Encoding,
    pub(super) amount_unit: AmountUnit,
    /// The `code` that means success.
    pub(super) success_value: String,
}

impl From<Settings> for BaizhuAccount {
    fn from(settings: Settings) -> Self {
        let Settings { product, settlement, encoding, field, amount_unit, success_values } = settings;
        Self {
            install: product.install,
            register: product.register,
            back: product.back,
            settlement,
            product_name_fields: match field.product_name.as_deref() {
                Some("both") => vec!["product-name".to_owned(), "product_name".to_owned()],
                one => vec![one.unwrap_or("product-name").to_owned()],
            },
            returned_money_field: field.returned_money.unwrap_or_else(|| "returned_money".to_owned()),
            encoding,
            amount_unit,
            success_value: success_values.and_then(|v| v.into_iter().next()).unwrap_or_else(|| "success".to_owned()),
        }
    }
}

/// How an account is paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Settlement {
    /// Per action; there are no amounts.
    Cpa,
    /// Per sale; there are amounts and refunds.
    #[default]
    Cps,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AmountUnit {
    /// Yuan, as a decimal with two places.
    #[default]
    Yuan,
    Fen,
}

/// One of the three endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Install,
    Register,
    Back,
}

impl Endpoint {
    pub(super) const ALL: [Endpoint; 3] = [Endpoint::Install, Endpoint::Register, Endpoint::Back];

    pub(super) fn of(path: &str) -> Option<Endpoint> {
        match path {
            "/data/install" => Some(Endpoint::Install),
            "/data/register" => Some(Endpoint::Register),
            "/data/back" => Some(Endpoint::Back),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Endpoint::Install => "install",
            Endpoint::Register => "register",
            Endpoint::Back => "back",
        }
    }

    pub(super) fn product(self, account: &BaizhuAccount) -> Option<&str> {
        match self {
            Endpoint::Install => account.install.as_deref(),
            Endpoint::Register => account.register.as_deref(),
            Endpoint::Back => account.back.as_deref(),
        }
    }
}
