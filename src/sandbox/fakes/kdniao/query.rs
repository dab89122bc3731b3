//! The form of a request and the query in it, read strictly.

use serde_json::Value;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Query,
    PaidQuery,
    /// It may leave the carrier out.
    DetectingQuery,
    Subscription,
}

impl Kind {
    /// What an address answers; `None`: it is no endpoint.
    pub(super) fn at(target: &str) -> Option<&'static [Kind]> {
        match target {
            "/Ebusiness/EbusinessOrderHandle.aspx" => Some(&[Kind::Query, Kind::PaidQuery, Kind::DetectingQuery]),
            "/api/dist" => Some(&[Kind::Subscription, Kind::PaidQuery, Kind::DetectingQuery]),
            _ => None,
        }
    }

    pub(super) fn of(request_type: &str) -> Option<Kind> {
        match request_type {
            "1002" => Some(Kind::Query),
            "8001" => Some(Kind::PaidQuery),
            "8002" => Some(Kind::DetectingQuery),
            "1008" => Some(Kind::Subscription),
            _ => None,
        }
    }
}

/// The fields of a request. All are there, once.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) request_data: String,
    pub(super) business_id: String,
    pub(super) request_type: String,
    pub(super) data_sign: String,
}

impl Form {
    pub(super) fn of(mut fields: Vec<(String, String)>) -> Result<Form, String> {
        let mut take = |name: &str| {
            let at = fields.iter().position(|(n, _)| n == name).ok_or_else(|| format!("{name}: missing"))?;
            let (_, value) = fields.remove(at);
            if value.is_empty() { Err(format!("{name}: empty")) } else { Ok(value) }
        };
        let form = Form {
            request_data: take("RequestData")?,
            business_id: take("EBusinessID")?,
            request_type: take("RequestType")?,
            data_sign: take("DataSign")?,
        };
        if take("DataType")? != "2" {
            return Err("DataType: not 2".to_owned());
        }
        match fields.first() {
            None => Ok(form),
            Some((name, _)) => Err(format!("{name}: unknown, or sent more than once")),
        }
    }
}

/// What a query asks about.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) order: String,
    pub(super) carrier: String,
    pub(super) waybill: String,
}

/// What no value may hold.
const FORBIDDEN: &str = "'\"#&+<>%\\";

impl Query {
    pub(super) fn of(request_data: &str, kind: Kind) -> Result<Query, String> {
        let Ok(Value::Object(members)) = serde_json::from_str(request_data) else {
            return Err("RequestData: no JSON object".to_owned());
        };
        let known = ["OrderCode", "ShipperCode", "LogisticCode", "CustomerName"];
        if let Some(name) = members.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("{name}: unknown"));
        }
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.chars().any(|c| FORBIDDEN.contains(c) || c.is_control()) => {
                Err(format!("{name}: a character that is forbidden"))
            }
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("{name}: no text")),
        };
        let order = text("OrderCode")?.ok_or("OrderCode: missing; it may be empty")?;
        let carrier = text("ShipperCode")?.unwrap_or_default();
        if !(is_carrier(&carrier) || (carrier.is_empty() && kind == Kind::DetectingQuery)) {
            return Err("ShipperCode: no carrier".to_owned());
        }
        let waybill = text("LogisticCode")?.unwrap_or_default();
        if waybill.is_empty() || !waybill.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err("LogisticCode: not letters and digits alone".to_owned());
        }
        let customer = text("CustomerName")?.unwrap_or_default();
        if carrier == "SF" && !(customer.len() == 4 && customer.bytes().all(|b| b.is_ascii_digit())) {
            return Err("CustomerName: not the last four digits of a phone number".to_owned());
        }
        Ok(Query { order, carrier, waybill })
    }
}

/// Whether a code is on the list of carriers. It is data, and the one thing that fake and worker share.
fn is_carrier(code: &str) -> bool {
    let list = include_str!("../../../platforms/kdniao/carriers.csv");
    !code.is_empty() && list.lines().skip(1).any(|line| line.split(',').next() == Some(code))
}
