//! 百助, conversion postbacks: three endpoints, each with its own form, no signature.
//!
//! The platform documents only its success body; this fake answers every refusal with `{"code":"error"}`.

mod form;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::sandbox::account::SandboxAccount;
use crate::sandbox::fake::{Fake, Opened, Platform};
use crate::sandbox::judgement::{Judgement, Refusal};
use crate::sandbox::request::{Answer, Request};
use form::{Encoding, Form};

pub(super) const PLATFORM: Platform = Platform { name: NAME, open, examples, by_hand: BY_HAND };

const NAME: &str = "baizhu";

const BY_HAND: &str = "\
The example account of 百助 is acme-baizhu, with the products acc (install, register) and P-0193 (back).

  # an install by hand
  curl -s http://127.0.0.1:9470/data/install -F product=acc -F uid=0123456789abcdef0123456789abcdef
";

fn examples() -> Vec<SandboxAccount> {
    let product = json!({ "install": "acc", "register": "acc", "back": "P-0193" });
    vec![SandboxAccount::new("acme-baizhu", NAME, json!({ "product": product }), &[])]
}

/// The keys of `[accounts.NAME]` that 百助 uses.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    product: Product,
    settlement: Settlement,
    encoding: Encoding,
    field: FieldNames,
    amount_unit: AmountUnit,
    success_values: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Product {
    install: Option<String>,
    register: Option<String>,
    back: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FieldNames {
    product_name: Option<String>,
    returned_money: Option<String>,
}

/// The terms of one account.
#[derive(Clone, Debug)]
struct BaizhuAccount {
    /// The product mark for `/data/install`; `None`: the account may not use this endpoint.
    install: Option<String>,
    /// The product mark for `/data/register`.
    register: Option<String>,
    /// The product mark for `/data/back`.
    back: Option<String>,
    /// How the account is paid. A CPA account sends no amounts.
    settlement: Settlement,
    /// The accepted spellings of the field of the product name. If a form has two of them, their values must be equal.
    product_name_fields: Vec<String>,
    /// The spelling of the field of the refund.
    returned_money_field: String,
    /// The encoding of the form.
    encoding: Encoding,
    amount_unit: AmountUnit,
    /// The `code` that means success.
    success_value: String,
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
enum Settlement {
    /// Per action; there are no amounts.
    Cpa,
    /// Per sale; there are amounts and refunds.
    #[default]
    Cps,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AmountUnit {
    /// Yuan, as a decimal with two places.
    #[default]
    Yuan,
    Fen,
}

/// The platform with all its accounts.
#[derive(Debug)]
struct Baizhu {
    /// The accounts with their indices among all accounts of the sandbox.
    accounts: Vec<(usize, BaizhuAccount)>,
}

fn open(accounts: &[(usize, &SandboxAccount)]) -> Opened {
    let (mut fake, mut problems) = (Baizhu { accounts: Vec::new() }, Vec::new());
    for (index, account) in accounts {
        match account.read::<Settings>() {
            Ok(settings) => fake.accounts.push((*index, settings.into())),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(Box::new(fake)) } else { Err(problems) }
}

impl Fake for Baizhu {
    fn judge(&self, request: &Request, _now: i64) -> Option<Judgement> {
        // The platform documents no query, so a request with one is to no endpoint.
        Endpoint::of(&request.target).map(|endpoint| self.judge_at(endpoint, request))
    }

    fn account_of(&self, _request: &Request) -> Option<usize> {
        // Only a form names a product, and only an endpoint has a form.
        None
    }

    /// A number or a word is a code. Any other text is no code, and is sent as it is.
    fn body_of(&self, code: &Value) -> Option<String> {
        match code {
            Value::String(text) => {
                let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
                (!text.is_empty() && text.bytes().all(word)).then(|| answer(text))
            }
            Value::Number(code) => Some(answer(&code.to_string())),
            _ => None,
        }
    }
}

impl Baizhu {
    fn judge_at(&self, endpoint: Endpoint, request: &Request) -> Judgement {
        let form = form::parse(request.header_text("content-type"), &request.body);
        let value = |name: &str| form.as_ref().ok().and_then(|form| form.first(name)).map(str::to_owned);
        let account = value("product").and_then(|product| self.attribute(&product, endpoint));
        let verdict = if request.method == "POST" {
            let problem = match (&form, account) {
                (Err(problem), _) => Err(problem.clone()),
                (Ok(form), Some((_, terms))) => check(form, endpoint, terms).map(|()| answer(&terms.success_value)),
                (Ok(_), None) => Err("product: agreed with no account".to_owned()),
            };
            problem
                .map(|body| Answer::json(200, body))
                .map_err(|problem| Refusal { answer: Answer::json(200, answer("error")), problem })
        } else {
            Err(Refusal { answer: Answer::text(405, "POST only\n"), problem: "method: POST only".to_owned() })
        };
        Judgement {
            account: account.map(|(index, _)| *index),
            trans_id: None,
            event: Some(endpoint.name().to_owned()),
            id: value("uid"),
            ids: vec![("uid", value("uid")), ("order_number", value("order_number"))],
            verdict,
        }
    }

    /// Returns the first account with this product at this endpoint, or else at any endpoint.
    fn attribute(&self, product: &str, endpoint: Endpoint) -> Option<&(usize, BaizhuAccount)> {
        let at =
            |endpoint: Endpoint| move |account: &&(usize, BaizhuAccount)| endpoint.product(&account.1) == Some(product);
        let here = self.accounts.iter().find(at(endpoint));
        here.or_else(|| self.accounts.iter().find(|account| Endpoint::ALL.iter().any(|&e| at(e)(account))))
    }
}

/// One of the three endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Install,
    Register,
    Back,
}

impl Endpoint {
    const ALL: [Endpoint; 3] = [Endpoint::Install, Endpoint::Register, Endpoint::Back];

    fn of(path: &str) -> Option<Endpoint> {
        match path {
            "/data/install" => Some(Endpoint::Install),
            "/data/register" => Some(Endpoint::Register),
            "/data/back" => Some(Endpoint::Back),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Endpoint::Install => "install",
            Endpoint::Register => "register",
            Endpoint::Back => "back",
        }
    }

    fn product(self, account: &BaizhuAccount) -> Option<&str> {
        match self {
            Endpoint::Install => account.install.as_deref(),
            Endpoint::Register => account.register.as_deref(),
            Endpoint::Back => account.back.as_deref(),
        }
    }
}

/// The body of the answer with this code.
fn answer(code: &str) -> String {
    json!({ "code": code }).to_string()
}

fn check(form: &Form, endpoint: Endpoint, account: &BaizhuAccount) -> Result<(), String> {
    if form.encoding != account.encoding {
        return Err("Content-Type: not the encoding agreed with this account".to_owned());
    }
    for (index, (name, value)) in form.fields.iter().enumerate() {
        if form.fields.iter().take(index).any(|(earlier, _)| earlier == name) {
            return Err(format!("{name}: sent more than once"));
        }
        check_field(name, value, endpoint, account)?;
    }
    for name in ["product", "uid"] {
        form.first(name).ok_or_else(|| format!("{name}: missing"))?;
    }
    let mut names = account.product_name_fields.iter().filter_map(|name| form.first(name));
    if let Some(first) = names.next()
        && names.any(|other| other != first)
    {
        return Err("product-name: its two spellings differ".to_owned());
    }
    Ok(())
}

fn check_field(name: &str, value: &str, endpoint: Endpoint, account: &BaizhuAccount) -> Result<(), String> {
    let back = endpoint == Endpoint::Back;
    if value.is_empty() {
        return Err(format!("{name}: empty"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("{name}: holds a control character"));
    }
    if name == "product" {
        let agreed = endpoint.product(account) == Some(value);
        return if agreed { Ok(()) } else { Err("product: not the one agreed for this endpoint".to_owned()) };
    }
    if name == "uid" {
        return if value.chars().count() == 32 { Ok(()) } else { Err("uid: not 32 characters".to_owned()) };
    }
    if back && (name == "order_number" || account.product_name_fields.iter().any(|field| field == name)) {
        return Ok(());
    }
    if back && (name == "money" || name == account.returned_money_field) {
        if account.settlement == Settlement::Cpa {
            return Err(format!("{name}: a CPA account sends no amounts"));
        }
        return check_amount(value, account.amount_unit).map_err(|text| format!("{name}: {text}"));
    }
    Err(format!("{name}: no such field at this endpoint"))
}

fn check_amount(value: &str, unit: AmountUnit) -> Result<(), &'static str> {
    let (whole, text) = match unit {
        AmountUnit::Fen => (Some(value), "not an integer in fen"),
        AmountUnit::Yuan => {
            let split = value.split_once('.').filter(|(_, cents)| cents.len() == 2 && is_digits(cents));
            (split.map(|(whole, _)| whole), "not a decimal with two places")
        }
    };
    let plain = |whole: &str| is_digits(whole) && (whole == "0" || !whole.starts_with('0'));
    if whole.is_some_and(plain) { Ok(()) } else { Err(text) }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests;
