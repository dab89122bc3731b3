//! 快递鸟: track queries and subscriptions, the checks of the platform and its answers.
//!
//! The platform documents no codes: every refusal says `Success: false` and a text in `Reason`. The texts here are
//! invented, with the words that the public sources name. What a parcel has been through follows from its waybill: the
//! last digit of it is the state (`0` to `4`), and any other one is a parcel in transit.

mod account;
mod query;
mod reply;

use serde_json::{Value, json};

use crate::sandbox::account::SandboxAccount;
use crate::sandbox::fake::{Fake, FakePlatform, Opened};
use crate::sandbox::judgement::{Judgement, Refusal};
use crate::sandbox::request::{Answer, Request};
use crate::sandbox::urlencoded;
use account::{KdniaoAccount, Settings};
use query::{Form, Kind, Query};

pub(super) const PLATFORM: FakePlatform = FakePlatform { name: NAME, open, examples, by_hand: BY_HAND };

const NAME: &str = "kdniao";

const BY_HAND: &str = r#"The example account of 快递鸟 is acme-kdn, with EBusinessID 1237100 and the API key
56da2cf8-c8a2-44b2-b6fa-476cd7d1ba17 of 快递鸟's published example.

  # one track query by hand
  DATA='{"OrderCode":"","ShipperCode":"ZTO","LogisticCode":"73100123456782"}'
  SIGN=$(printf %s "$(printf %s "${DATA}56da2cf8-c8a2-44b2-b6fa-476cd7d1ba17" | md5sum | cut -c1-32)" | base64)
  curl -s http://127.0.0.1:9470/Ebusiness/EbusinessOrderHandle.aspx \
    -H 'Content-Type: application/x-www-form-urlencoded;charset=utf-8' --data-urlencode "RequestData=$DATA" \
    -d EBusinessID=1237100 -d RequestType=1002 --data-urlencode "DataSign=$SIGN" -d DataType=2
"#;

fn examples() -> Vec<SandboxAccount> {
    vec![SandboxAccount::new("acme-kdn", NAME, json!({}), &[("1237100", "56da2cf8-c8a2-44b2-b6fa-476cd7d1ba17")])]
}

/// The platform with all its accounts.
#[derive(Debug)]
struct Kdniao {
    /// The accounts with their indices among all accounts of the sandbox.
    accounts: Vec<(usize, KdniaoAccount)>,
}

fn open(accounts: &[(usize, &SandboxAccount)]) -> Opened {
    let (mut fake, mut problems) = (Kdniao { accounts: Vec::new() }, Vec::new());
    for (index, account) in accounts {
        // An empty key gives a signature like any other, so it must never count as a credential.
        if account.credentials.iter().any(|(id, key)| id.is_empty() || key.is_empty()) {
            problems.push(format!("account {} has an empty EBusinessID or API key", account.name));
        }
        match account.read::<Settings>() {
            Ok(settings) => fake.accounts.push((*index, KdniaoAccount::new(account.credentials.clone(), settings))),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(Box::new(fake)) } else { Err(problems) }
}

impl Fake for Kdniao {
    fn judge(&self, request: &Request, now: i64) -> Option<Judgement> {
        // The platform documents no query, so a request with one is to no endpoint.
        let kinds = Kind::at(&request.target)?;
        let fields = urlencoded::fields(&request.body);
        let value = |name: &str| fields.as_ref().ok()?.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let business_id = value("EBusinessID").unwrap_or_default();
        let account = self.holder(&business_id);
        let data = value("RequestData").and_then(|data| serde_json::from_str::<Value>(&data).ok()).unwrap_or_default();
        let event = value("RequestType");
        let waybill = data["LogisticCode"].as_str().map(str::to_owned);
        let verdict = verdict(request, kinds, fields, account.map(|(_, account)| account), now);
        Some(Judgement {
            account: account.map(|(index, _)| *index),
            trans_id: None,
            event,
            conversion: false,
            id: waybill.clone(),
            ids: vec![("LogisticCode", waybill)],
            items: Vec::new(),
            verdict: verdict.map(|body| Answer::json(200, body)),
        })
    }

    fn account_of(&self, _request: &Request) -> Option<usize> {
        // Only a form names an EBusinessID, and only an endpoint has a form.
        None
    }

    /// Any text but a whole body is the `Reason` of a refusal.
    fn body_of(&self, code: &Value) -> Option<String> {
        let reason = code.as_str().filter(|text| !text.starts_with(['{', '[', '<']))?;
        Some(reply::refused("", reason))
    }
}

impl Kdniao {
    fn holder(&self, business_id: &str) -> Option<&(usize, KdniaoAccount)> {
        self.accounts.iter().find(|(_, account)| account.keys.iter().any(|(id, _)| id == business_id))
    }
}

fn verdict(
    request: &Request,
    kinds: &[Kind],
    fields: Result<Vec<(String, String)>, String>,
    account: Option<&KdniaoAccount>,
    now: i64,
) -> Result<String, Refusal> {
    if request.method != "POST" {
        return Err(Refusal { answer: Answer::text(405, "POST only\n"), problem: "method: POST only".to_owned() });
    }
    let refuse = |business_id: &str, reason: &str, problem: String| Refusal {
        answer: Answer::json(200, reply::refused(business_id, reason)),
        problem,
    };
    let kind = request.header_text("content-type").replace(' ', "").to_ascii_lowercase();
    if kind != "application/x-www-form-urlencoded;charset=utf-8" {
        let problem = "Content-Type: not application/x-www-form-urlencoded;charset=utf-8";
        return Err(refuse("", "参数格式错误", problem.to_owned()));
    }
    let form = fields.and_then(Form::of).map_err(|problem| refuse("", "参数不完整", problem))?;
    let id = &form.business_id;
    let Some(account) = account else {
        return Err(refuse(id, "EBusinessID不存在", "EBusinessID: belongs to no account".to_owned()));
    };
    if !account.signs(&form) {
        return Err(refuse(id, "DataSign签名错误", "DataSign: not the signature of this RequestData".to_owned()));
    }
    let kind = Kind::of(&form.request_type).filter(|kind| kinds.contains(kind));
    let Some(kind) = kind else {
        return Err(refuse(id, "请求指令错误", "RequestType: unknown at this address".to_owned()));
    };
    let query = Query::of(&form.request_data, kind).map_err(|problem| refuse(id, "参数错误", problem))?;
    if kind != Kind::Subscription && !account.counts_query(now) {
        let problem = "limit: more queries than the day has".to_owned();
        return Err(refuse(id, "今日查询次数已达上限", problem));
    }
    Ok(match kind {
        Kind::Subscription => reply::subscribed(id, now),
        Kind::Query => reply::traces(id, &query, false),
        Kind::PaidQuery | Kind::DetectingQuery => reply::traces(id, &query, true),
    })
}

#[cfg(test)]
mod tests;
