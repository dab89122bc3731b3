//! 百助, conversion postbacks: three endpoints, one form each, no signature.
//!
//! The platform documents its success body alone; every refusal is `{"code":"error"}` here.

use super::account::{AmountUnit, BaizhuAccount, Directory, Settlement};
use super::form::{self, Form};
use super::http::{Header, Request, Response};
use super::judgement::{Judgement, Refusal};
use super::ledger::BaizhuIds;

/// One of the three endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Install,
    Register,
    Back,
}

impl Endpoint {
    const ALL: [Endpoint; 3] = [Endpoint::Install, Endpoint::Register, Endpoint::Back];

    /// The endpoint of a path.
    pub(super) fn of(path: &str) -> Option<Endpoint> {
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

/// The platform's body for a code.
pub(super) fn answer(code: &str) -> String {
    serde_json::json!({ "code": code }).to_string()
}

/// Judges one request.
pub(super) fn judge(request: &Request, endpoint: Endpoint, directory: &Directory) -> Judgement {
    let content_type = match request.header("content-type") {
        Header::Once(kind) => std::str::from_utf8(kind).unwrap_or_default(),
        Header::Missing | Header::Repeated => "",
    };
    let form = form::parse(content_type, &request.body);
    let value = |name: &str| form.as_ref().ok().and_then(|form| form.first(name));
    let account = value("product").and_then(|product| attribute(product, endpoint, directory));
    let ids =
        BaizhuIds { uid: value("uid").map(str::to_owned), order_number: value("order_number").map(str::to_owned) };
    let verdict = if request.method == "POST" {
        let problem = match (&form, account) {
            (Err(problem), _) => Err(problem.clone()),
            (Ok(form), Some((_, terms))) => check(form, endpoint, terms).map(|()| answer(&terms.success_value)),
            (Ok(_), None) => Err("product: agreed with no account".to_owned()),
        };
        problem
            .map(|body| Response::json(200, body))
            .map_err(|problem| Refusal { response: Response::json(200, answer("error")), problem })
    } else {
        Err(Refusal { response: Response::text(405, "POST only\n"), problem: "method: POST only".to_owned() })
    };
    Judgement {
        account: account.map(|(index, _)| index),
        trans_id: None,
        event: Some(endpoint.name().to_owned()),
        id: ids.uid.clone(),
        baizhu: Some(ids),
        verdict,
    }
}

/// The first account with this product at this endpoint, else at any endpoint.
fn attribute<'a>(product: &str, endpoint: Endpoint, directory: &'a Directory) -> Option<(usize, &'a BaizhuAccount)> {
    let here = directory.baizhu().find(|(_, terms)| endpoint.product(terms) == Some(product));
    here.or_else(|| {
        directory.baizhu().find(|(_, terms)| Endpoint::ALL.iter().any(|e| e.product(terms) == Some(product)))
    })
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
