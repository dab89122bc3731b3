//! The rules for the fields of a form. The first broken rule is named.

use super::account::{AmountUnit, BaizhuAccount, Endpoint, Settlement};
use super::form::Form;

pub(super) fn check(form: &Form, endpoint: Endpoint, account: &BaizhuAccount) -> Result<(), String> {
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
