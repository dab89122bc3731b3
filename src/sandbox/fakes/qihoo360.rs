//! 360 点睛, web conversion upload: the checks of the platform in its order, and its answers.
//!
//! It checks the key, then the signature over the bytes as received, then the body. Any fault in the body gives the one
//! answer `errno 3`; the `problem` in the ledger names the broken rule. The form of the body is in `qihoo360/body.rs`.

mod account;
mod body;

use std::borrow::Cow;
use std::collections::HashMap;

use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::sandbox::account::SandboxAccount;
use crate::sandbox::fake::{Fake, FakePlatform, Opened};
use crate::sandbox::judgement::{Judgement, Refusal};
use crate::sandbox::request::{Answer, Header, Request};
use account::Qihoo360Account;
use body::Upload;

pub(super) const PLATFORM: FakePlatform = FakePlatform { name: NAME, open, examples, by_hand: BY_HAND };

const NAME: &str = "qihoo360";
/// The path of uploads.
const PATH: &str = "/uploadWebConvert";

const BY_HAND: &str = r#"The example accounts of 360 are acme-ps, acme-ms, acme-zs (jzqs 1000001) and acme-web, all with App-Key
abcdefghij0123456789 and secret 0123456789abcdef0123456789abcdef.

  # one conversion by hand, to acme-ps
  NOW=$(date +%s)
  BODY='{"data":{"request_time":'$NOW',"data_industry":"ocpc_ps_convert","data_detail":{"qhclickid":"SATss51150532005","trans_id":"202cb962ac59075b964b07152d234b70","event":"SUBMIT","event_time":'$NOW'}}}'
  SIGN=$(printf %s "0123456789abcdef0123456789abcdef$BODY" | md5sum | cut -c1-32)
  curl -s http://127.0.0.1:9470/uploadWebConvert -H 'App-Key: abcdefghij0123456789' -H "App-Sign: $SIGN" \
    -H 'Content-Type: application/json;charset=utf-8' -d "$BODY"
"#;

fn examples() -> Vec<SandboxAccount> {
    let line = |name, line: &str, jzqs: Option<&str>| {
        let settings = json!({ "data_industry": line, "jzqs": jzqs, "validate": { "click_len": "strict" } });
        SandboxAccount::new(name, NAME, settings, &[("abcdefghij0123456789", "0123456789abcdef0123456789abcdef")])
    };
    vec![
        line("acme-ps", "ocpc_ps_convert", None),
        line("acme-ms", "ocpc_ms_convert", None),
        line("acme-zs", "ocpc_zs_convert", Some("1000001")),
        line("acme-web", "ocpc_web_convert", None),
    ]
}

/// The keys of `[accounts.NAME]` that 360 uses.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    data_industry: Option<String>,
    jzqs: Option<String>,
    data_source: Option<String>,
    validate: Validate,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Validate {
    click_len: String,
}

/// The platform with all its accounts.
#[derive(Debug, Default)]
struct Qihoo360 {
    /// The accounts by App-Key in the order given, with their indices.
    by_key: HashMap<String, Vec<(usize, Qihoo360Account)>>,
}

fn open(accounts: &[(usize, &SandboxAccount)]) -> Opened {
    let (mut fake, mut problems) = (Qihoo360::default(), Vec::new());
    for (index, account) in accounts {
        // An empty secret gives a signature like any other, so it must never count as a credential.
        if account.credentials.iter().any(|(key, secret)| key.is_empty() || secret.is_empty()) {
            problems.push(format!("account {} has an empty App-Key or secret", account.name));
        }
        match account.read::<Settings>() {
            Ok(Settings { data_industry, jzqs, data_source, validate }) => {
                let (keys, any_click_length) = (account.credentials.clone(), validate.click_len != "strict");
                fake.add(*index, Qihoo360Account { keys, data_industry, jzqs, data_source, any_click_length });
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(Box::new(fake)) } else { Err(problems) }
}

impl Qihoo360 {
    fn add(&mut self, index: usize, account: Qihoo360Account) {
        for (key, _) in &account.keys {
            let holders = self.by_key.entry(key.clone()).or_default();
            if holders.last().is_none_or(|(last, _)| *last != index) {
                holders.push((index, account.clone()));
            }
        }
    }

    /// Returns the accounts that have the App-Key of a request.
    fn holders(&self, request: &Request) -> &[(usize, Qihoo360Account)] {
        self.by_key.get(request.header_text("app-key")).map_or(&[], Vec::as_slice)
    }
}

impl Fake for Qihoo360 {
    fn judge(&self, request: &Request, now: i64) -> Option<Judgement> {
        // The platform documents no query, so a request with one is to no endpoint.
        if request.target != PATH {
            return None;
        }
        let upload = body::parse(&request.body);
        let hints = Hints::of(upload.as_ref().ok(), &request.body);
        let holders = self.holders(request);
        let account = attribute(holders, &hints);
        let verdict = verdict(request, holders, account, upload, now);
        let click = || Some(format!("{} {}", hints.click.as_ref()?, hints.event.as_ref()?));
        let id = hints.trans_id.clone().or_else(click);
        Some(Judgement {
            account: account.map(|(index, _)| *index),
            trans_id: hints.trans_id,
            event: hints.event,
            ids: Vec::new(),
            id,
            conversion: true,
            items: Vec::new(),
            verdict: verdict.map(|()| Answer::json(200, answer(0))),
        })
    }

    fn account_of(&self, request: &Request) -> Option<usize> {
        self.holders(request).first().map(|(index, _)| *index)
    }

    fn body_of(&self, code: &Value) -> Option<String> {
        let errno = match code {
            Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        };
        errno.map(answer)
    }
}

/// The body of the answer with this code.
fn answer(errno: i64) -> String {
    let error: Cow<'static, str> = match errno {
        0 => "Success".into(),
        1 => "Parameter [app_key] is unverified".into(),
        2 => "Parameter [app_sign] is unverified".into(),
        3 => "Parameter [data] is unverified".into(),
        other => format!("errno {other}").into(),
    };
    format!("{{\"errno\":{errno},\"error\":\"{error}\"}}")
}

fn refuse(errno: i64, problem: impl Into<String>) -> Refusal {
    Refusal { answer: Answer::json(200, answer(errno)), problem: problem.into() }
}

fn verdict(
    request: &Request,
    holders: &[(usize, Qihoo360Account)],
    account: Option<&(usize, Qihoo360Account)>,
    upload: Result<Upload, String>,
    now: i64,
) -> Result<(), Refusal> {
    if request.method != "POST" {
        return Err(Refusal { answer: Answer::text(405, "POST only\n"), problem: "method: POST only".to_owned() });
    }
    let key = match request.header("app-key") {
        Header::Once(key) => key,
        Header::Missing => return Err(refuse(1, "App-Key: missing")),
        Header::Repeated => return Err(refuse(1, "App-Key: sent more than once")),
    };
    let Some((_, account)) = account else { return Err(refuse(1, "App-Key: belongs to no account")) };
    let sign = match request.header("app-sign") {
        Header::Once(sign) => sign,
        Header::Missing => return Err(refuse(2, "App-Sign: missing")),
        Header::Repeated => return Err(refuse(2, "App-Sign: sent more than once")),
    };
    if sign.len() != 32 || !sign.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b)) {
        return Err(refuse(2, "App-Sign: not 32 lower-case hex digits"));
    }
    let mut secrets = holders.iter().flat_map(|(_, terms)| &terms.keys).filter(|(k, _)| k.as_bytes() == key);
    if !secrets.any(|(_, secret)| sign == signature(secret, &request.body).as_bytes()) {
        return Err(refuse(2, "App-Sign: not the signature of these bytes"));
    }
    match request.header("content-type") {
        Header::Once(kind) if is_json_utf8(kind) => {}
        _ => return Err(refuse(3, "Content-Type: not application/json;charset=utf-8")),
    }
    let upload = upload.map_err(|problem| refuse(3, problem))?;
    body::check(&upload, account, now).map_err(|problem| refuse(3, problem))
}

/// The MD5 of secret and body in lower-case hex.
fn signature(secret: &str, body: &[u8]) -> String {
    let digest = Md5::new().chain_update(secret).chain_update(body).finalize();
    let mut hex = String::with_capacity(32);
    for byte in digest.iter() {
        for nibble in [byte >> 4, byte & 15] {
            hex.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
        }
    }
    hex
}

fn is_json_utf8(content_type: &[u8]) -> bool {
    let plain: Vec<u8> = content_type.iter().filter(|&&b| b != b' ').map(u8::to_ascii_lowercase).collect();
    plain == b"application/json;charset=utf-8"
}

/// The members that can be read even from a refused body.
#[derive(Debug, Default)]
struct Hints {
    data_industry: Option<String>,
    jzqs: Option<String>,
    trans_id: Option<String>,
    event: Option<String>,
    click: Option<String>,
}

impl Hints {
    fn of(upload: Option<&Upload>, body: &[u8]) -> Hints {
        if let Some(Upload { data }) = upload {
            let detail = &data.data_detail;
            return Hints {
                data_industry: Some(data.data_industry.clone()),
                jzqs: detail.jzqs.clone(),
                trans_id: detail.trans_id.clone(),
                event: Some(detail.event.clone()),
                click: detail.qhclickid.clone().or_else(|| detail.impression_id.clone()),
            };
        }
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return Hints::default() };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (data, detail) = (&body["data"], &body["data"]["data_detail"]);
        Hints {
            data_industry: text(&data["data_industry"]),
            jzqs: text(&detail["jzqs"]),
            trans_id: text(&detail["trans_id"]),
            event: text(&detail["event"]),
            click: text(&detail["qhclickid"]).or_else(|| text(&detail["impression_id"])),
        }
    }
}

/// Picks one of the accounts that share an App-Key: of those with this product line, those with this advertiser, of
/// these the first. It skips a step that no account would pass, so that the check of the account can say what is wrong.
fn attribute<'a>(holders: &'a [(usize, Qihoo360Account)], hints: &Hints) -> Option<&'a (usize, Qihoo360Account)> {
    let mut left: Vec<_> = holders.iter().collect();
    let steps: [fn(&Qihoo360Account, &Hints) -> bool; 2] = [
        |terms, hints| hints.data_industry.is_some() && terms.data_industry == hints.data_industry,
        |terms, hints| hints.jzqs.is_some() && terms.jzqs == hints.jzqs,
    ];
    for step in steps {
        let narrowed: Vec<_> = left.iter().filter(|(_, terms)| step(terms, hints)).copied().collect();
        if !narrowed.is_empty() {
            left = narrowed;
        }
    }
    left.first().copied()
}

#[cfg(test)]
mod tests;
