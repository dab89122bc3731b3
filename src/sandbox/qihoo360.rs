//! 360 点睛, web conversion upload: what the platform checks, in its order, and its answers.
//!
//! Key, then signature over the bytes as received, then the body. Whatever is wrong with the body is the one answer
//! `errno 3`; the ledger's `problem` says which rule. The form of the body is in `qihoo360/body.rs`.

mod body;

use std::borrow::Cow;

use md5::{Digest, Md5};
use serde_json::Value;

use super::account::{Directory, Qihoo360Account};
use super::http::{Header, Request, Response};
use super::judgement::{Judgement, Refusal};
use body::Upload;

/// Where uploads go.
pub(super) const PATH: &str = "/uploadWebConvert";

/// The platform's body for a code.
pub(super) fn answer(errno: i64) -> String {
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
    Refusal { response: Response::json(200, answer(errno)), problem: problem.into() }
}

/// Judges one request; `now` in Unix seconds.
pub(super) fn judge(request: &Request, directory: &Directory, now: i64) -> Judgement {
    let upload = body::parse(&request.body);
    let hints = Hints::of(upload.as_ref().ok(), &request.body);
    let holders = match request.header("app-key") {
        Header::Once(key) => std::str::from_utf8(key).map_or_else(|_| Vec::new(), |key| directory.holders(key)),
        Header::Missing | Header::Repeated => Vec::new(),
    };
    let account = attribute(&holders, &hints);
    let verdict = verdict(request, &holders, account, upload, now);
    let id = hints.trans_id.clone().or_else(|| Some(format!("{} {}", hints.click.as_ref()?, hints.event.as_ref()?)));
    Judgement {
        account: account.map(|(index, _)| index),
        trans_id: hints.trans_id,
        event: hints.event,
        baizhu: None,
        id,
        verdict: verdict.map(|()| Response::json(200, answer(0))),
    }
}

fn verdict(
    request: &Request,
    holders: &[(usize, &Qihoo360Account)],
    account: Option<(usize, &Qihoo360Account)>,
    upload: Result<Upload, String>,
    now: i64,
) -> Result<(), Refusal> {
    if request.method != "POST" {
        return Err(Refusal { response: Response::text(405, "POST only\n"), problem: "method: POST only".to_owned() });
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

/// Lower-case hex of MD5 over secret and body.
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

/// What can be known of a body, even of a refused one.
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

/// Of the holders of one App-Key: those of this product line, of these those of this advertiser, of these the first.
/// A step that would leave nobody is skipped, so that the account's own check can say what is wrong.
fn attribute<'a>(holders: &[(usize, &'a Qihoo360Account)], hints: &Hints) -> Option<(usize, &'a Qihoo360Account)> {
    let mut left = holders.to_vec();
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
