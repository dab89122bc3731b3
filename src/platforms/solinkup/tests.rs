use serde_json::{Value, json};

use super::*;
use crate::error::Class;
use crate::event::{Members, Paginate, Published};
use crate::platforms::call::{CallAnswer, PreparedCall};
use crate::platforms::headers::Headers;
use crate::platforms::solinkup::config::Config;
use crate::platforms::{Credential, Part, keys, list};
use crate::secret::SecretString;

mod answers;
mod arguments;
mod fake;
mod requests;
mod settings;
mod vectors;

const NOW: i64 = 1_736_899_201_000;
const KEY: &str = "AppKey@4FF354C41EBF4187BA148E00E3EFED69";
const SECRET: &str = "AppSecret@88f78c12b63148ae8c7d71d0c8c3e518";
const TOKEN: &str = "AccessToken@3a859c26d23348dc9844acac0a533697";
const OPEN_ID: &str = "OpenId@128D573F0EB6405EAF334A731E31BFF3";

fn config(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

/// An account with an open id and these keys.
fn account(text: &str) -> Solinkup {
    let text = if text.contains("open_id") { text.to_owned() } else { format!("open_id = '{OPEN_ID}'\n{text}") };
    Solinkup::new(config(&text).check().unwrap())
}

fn credential() -> Credential {
    Credential {
        id: "a".into(),
        key: KEY.into(),
        secret: SecretString::new(SECRET),
        not_before_ms: None,
        not_after_ms: None,
    }
}

fn members(args: &Value) -> Members {
    serde_json::from_value(args.clone()).unwrap()
}

fn prepare_as(account: &Solinkup, name: &str, args: &Value, paginate: Paginate) -> Result<PreparedCall, DeliveryError> {
    let (args, published) = (members(args), Published::default());
    let (args, published) = (&args, &published);
    account.prepare(&CallEvent { trans_id: "c-1", name, args, paginate, max_pages: None, published }, NOW)
}

fn prepare(account: &Solinkup, name: &str, args: &Value) -> Result<PreparedCall, DeliveryError> {
    prepare_as(account, name, args, Paginate::None)
}

fn prepared(account: &Solinkup, name: &str, args: &Value) -> PreparedCall {
    prepare(account, name, args).unwrap()
}

/// The field of an `invalid`.
#[track_caller]
fn refused(account: &Solinkup, name: &str, args: &Value) -> String {
    match prepare(account, name, args) {
        Err(DeliveryError::Invalid(fault)) => {
            assert!(!fault.detail.is_empty());
            fault.field.into_owned()
        }
        other => panic!("{other:?}"),
    }
}

fn request(account: &Solinkup, call: &PreparedCall, part: u64) -> Request {
    let (credential, token) = (credential(), SecretString::new(TOKEN));
    let context = Context { now_ms: NOW, credential: Some(&credential), token: Some(&token) };
    account.request(call, part, &context).unwrap()
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn header<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
}

fn orders() -> Value {
    json!({"createTimeStart": 1_736_800_000, "createTimeEnd": 1_736_890_000, "page": 0, "size": 100})
}

fn report() -> Value {
    json!({
        "advertiser_id": 1_700_000_000_001_i64, "start_date": "2025-01-01", "end_date": "2025-01-14",
        "fields": ["stat_cost", "show_cnt"], "filtering": {"marketing_goal": "ALL"}
    })
}

fn ciphers(count: usize) -> Value {
    let item = |n: usize| json!({"auth_id": format!("49154394329030426{n:02}"), "cipher_text": format!("$c{n}$1$$")});
    json!({"cipher_infos": (0..count).map(item).collect::<Vec<_>>()})
}
