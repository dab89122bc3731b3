//! What the two platforms accept, read from their specification alone: enough to notice a wrong signature, a missing
//! field or a field of another product line. (Every cell of the event matrix is the sandbox's and the senders' test.)

use md5::{Digest, Md5};
use serde_json::Value;
use std::collections::BTreeMap;

/// Which wire format an account speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    Qihoo360,
    Baizhu,
}

/// A request as the platform read it.
pub struct Raw {
    pub method: String,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// What the platform makes of a request: who it is about, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// `EVENT:trans_id` (360), `event:uid:order` (百助); nothing where it cannot be read.
    pub ident: Option<String>,
    /// 0 where it is accepted.
    pub errno: i64,
    pub problem: Option<String>,
    /// The fields as received.
    pub fields: Value,
}

pub fn md5_hex(parts: &[&[u8]]) -> String {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// `data_industry` by the short name of a product line.
pub const LINES: [(&str, &str); 4] =
    [("web", "ocpc_web_convert"), ("ps", "ocpc_ps_convert"), ("ms", "ocpc_ms_convert"), ("zs", "ocpc_zs_convert")];

pub fn qihoo360(key: &str, secret: &str, raw: &Raw) -> Judgement {
    let fields: Value = serde_json::from_slice(&raw.body).unwrap_or(Value::Null);
    let detail = &fields["data"]["data_detail"];
    let text = |name: &str| detail[name].as_str().unwrap_or_default().to_owned();
    let ident = detail["event"].as_str().map(|event| format!("{event}:{}", text("trans_id")));
    let header = |name: &str| raw.headers.get(name).map_or("", String::as_str);
    let mut problems = Vec::new();
    let mut errno = 3;
    if (raw.method.as_str(), raw.path.as_str()) != ("POST", "/uploadWebConvert") {
        problems.push(format!("{} {}", raw.method, raw.path));
    } else if header("app-key") != key {
        errno = 1;
        problems.push(format!("App-Key {:?}", header("app-key")));
    } else if header("app-sign") != md5_hex(&[secret.as_bytes(), &raw.body]) {
        errno = 2;
        problems.push("App-Sign does not match the received bytes".into());
    } else {
        if header("content-type") != "application/json;charset=utf-8" {
            problems.push(format!("Content-Type {:?}", header("content-type")));
        }
        problems.extend(rules_of_360(&fields));
    }
    let problem = (!problems.is_empty()).then(|| problems.join("; "));
    Judgement { ident, errno: if problem.is_some() { errno } else { 0 }, problem, fields }
}

fn rules_of_360(fields: &Value) -> Vec<String> {
    let (data, detail) = (&fields["data"], &fields["data"]["data_detail"]);
    let mut problems = Vec::new();
    let industry = data["data_industry"].as_str().unwrap_or_default();
    let Some((line, _)) = LINES.iter().find(|(_, i)| *i == industry) else {
        return vec![format!("data_industry {industry:?}")];
    };
    let seconds = |v: &Value| v.as_i64().is_some_and(|n| n > 1_000_000_000 && n <= i64::from(i32::MAX));
    let filled = |v: &Value| v.as_str().is_some_and(|s| !s.is_empty());
    let mut need = |ok: bool, what: &str| {
        if !ok {
            problems.push(what.to_owned());
        }
    };
    need(seconds(&data["request_time"]), "request_time");
    need(seconds(&detail["event_time"]), "event_time");
    let trans_id = detail["trans_id"].as_str().unwrap_or_default();
    need(trans_id.len() == 32 && trans_id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "trans_id");
    let (mine, other) = if *line == "web" { ("impression_id", "qhclickid") } else { ("qhclickid", "impression_id") };
    need(filled(&detail[mine]), mine);
    need(detail.get(other).is_none(), &format!("{other} on {line}"));
    need((*line == "zs") == filled(&detail["jzqs"]), "jzqs");
    need(*line != "web" || detail.get("event_param").is_none(), "event_param on web");
    let value = &detail["event_param"]["value"];
    need(value.is_null() || value.as_i64().is_some_and(|n| n >= 0), "value");
    problems
}

/// The product mark the tests use for every endpoint of 百助.
pub const PRODUCT: &str = "acc-游戏";

pub fn baizhu(raw: &Raw) -> Judgement {
    let event = match raw.path.as_str() {
        "/data/install" => "install",
        "/data/register" => "register",
        "/data/back" => "back",
        _ => {
            let problem = Some(format!("{} {}", raw.method, raw.path));
            return Judgement { errno: 1, problem, ..Judgement::default() };
        }
    };
    let kind = raw.headers.get("content-type").map_or("", String::as_str);
    let Some(form) = kind.strip_prefix("multipart/form-data; boundary=").and_then(|b| multipart(b, &raw.body)) else {
        let problem = Some(format!("not multipart: {kind:?}"));
        return Judgement { errno: 1, problem, ..Judgement::default() };
    };
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let ident = Some(format!("{event}:{}:{}", field("uid"), field("order_number")));
    let mut problems = Vec::new();
    if field("product") != PRODUCT {
        problems.push(format!("product {:?}", field("product")));
    }
    if field("uid").len() != 32 {
        problems.push(format!("uid {:?}", field("uid")));
    }
    for name in ["money", "returned_money"] {
        let decimal = |s: &str| s.split_once('.').is_some_and(|(a, b)| a.parse::<u64>().is_ok() && b.len() == 2);
        if form.contains_key(name) && !decimal(field(name)) {
            problems.push(format!("{name} {:?}", field(name)));
        }
    }
    let problem = (!problems.is_empty()).then(|| problems.join("; "));
    let fields = Value::Object(form.into_iter().map(|(k, v)| (k, Value::String(v))).collect());
    Judgement { ident, errno: i64::from(problem.is_some()), problem, fields }
}

fn multipart(boundary: &str, body: &[u8]) -> Option<BTreeMap<String, String>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut form = BTreeMap::new();
    let delimiter = format!("--{}", boundary.trim_matches('"'));
    for part in text.split(&delimiter).skip(1) {
        if part.starts_with("--") {
            return Some(form);
        }
        let (head, value) = part.strip_prefix("\r\n")?.strip_suffix("\r\n")?.split_once("\r\n\r\n")?;
        let name = head.split("name=\"").nth(1)?.split('"').next()?;
        if form.insert(name.to_owned(), value.to_owned()).is_some() {
            return None;
        }
    }
    None
}
