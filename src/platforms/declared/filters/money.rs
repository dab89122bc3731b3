//! Amounts: minor units to what a platform wants, always through whole numbers.

use minijinja::{Error, ErrorKind, Value};

use super::refusal::{Refusal, path_of};
use crate::platforms::declared::write::Decimal;

/// Currencies whose minor unit is not a hundredth (ISO 4217), and how many decimals they have.
const DECIMALS: [(&str, usize); 26] = [
    ("BIF", 0),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("ISK", 0),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("PYG", 0),
    ("RWF", 0),
    ("UGX", 0),
    ("UYI", 0),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
    ("BHD", 3),
    ("IQD", 3),
    ("JOD", 3),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("TND", 3),
    ("CLF", 4),
    ("UYW", 4),
];

/// Whole fen. The worker converts no currencies.
pub(super) fn fen(money: &Value) -> Result<Value, Error> {
    let Some(amount) = amount(money)? else { return Ok(money.clone()) };
    amount.cny().map(Value::from)
}

/// Yuan with two decimals.
pub(super) fn yuan(money: &Value) -> Result<Value, Error> {
    let Some(amount) = amount(money)? else { return Ok(money.clone()) };
    Ok(Value::from_object(Decimal(shifted(amount.cny()?, 2))))
}

/// Major units, with as many decimals as the currency has.
pub(super) fn decimal(money: &Value) -> Result<Value, Error> {
    let Some(amount) = amount(money)? else { return Ok(money.clone()) };
    let decimals =
        DECIMALS.iter().find(|(code, _)| amount.currency.as_str() == Some(code)).map_or(2, |(_, decimals)| *decimals);
    Ok(Value::from_object(Decimal(shifted(amount.minor, decimals))))
}

struct Amount<'m> {
    minor: i64,
    currency: Value,
    money: &'m Value,
}

impl Amount<'_> {
    fn cny(&self) -> Result<i64, Error> {
        if self.currency.as_str() == Some("CNY") {
            return Ok(self.minor);
        }
        Err(self.refused("currency", "only CNY is taken"))
    }

    fn refused(&self, member: &str, why: &'static str) -> Error {
        Refusal::error(format!("{}.{member}", path_of(self.money).unwrap_or_default()), why)
    }
}

/// The amount; `None`: there is none.
fn amount(money: &Value) -> Result<Option<Amount<'_>>, Error> {
    if money.is_undefined() || money.is_none() {
        return Ok(None);
    }
    let member = |name: &str| money.get_attr(name).ok();
    let minor = member("minor").and_then(|minor| minor.as_i64());
    let currency = member("currency").filter(|currency| currency.as_str().is_some());
    let (Some(minor), Some(currency)) = (minor, currency) else {
        return Err(Error::new(ErrorKind::InvalidOperation, "is no amount: an object of minor and currency"));
    };
    let amount = Amount { minor, currency, money };
    match minor < 0 {
        true => Err(amount.refused("minor", "negative")),
        false => Ok(Some(amount)),
    }
}

/// A number of minor units with the point in its place.
fn shifted(minor: i64, decimals: usize) -> String {
    let digits = format!("{minor:0width$}", width = decimals + 1);
    let (whole, part) = digits.split_at(digits.len() - decimals);
    if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
}
