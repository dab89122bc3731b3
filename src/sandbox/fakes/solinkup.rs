//! 数环通: calls with an answer. It checks who asks (app, time, signature, token), then what is asked, in the platform's
//! order, and answers in the envelope of the call: its own, that of 抖店 or that of 巨量千川.
//!
//! Orders, reports and decrypted texts are made up from what is asked, so that the same question has the same answer.
//! An order whose number begins with `closed` may not be decrypted (`err_no` 200001).

mod account;
mod answers;
mod common;
mod endpoint;
mod rules;
mod signature;
mod tokens;

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::sandbox::account::SandboxAccount;
use crate::sandbox::fake::{Fake, FakePlatform, Opened};
use crate::sandbox::judgement::{Judgement, Refusal};
use crate::sandbox::request::{Answer, Header, Request};
use account::{Settings, Terms};
use answers::{RefusalFormat, envelope};
use common::{ReadRequest, Refused, no};
use endpoint::Endpoint;
use tokens::Tokens;

pub(super) const PLATFORM: FakePlatform = FakePlatform { name: NAME, open, examples, by_hand: BY_HAND };

const NAME: &str = "solinkup";
const BY_HAND: &str = r#"The example account of 数环通 is acme-doudian: AppKey@0A03EDEB29654A9CAE2A7D9F1A8F487E with the secret
AppSecret@00000000000000000000000000000000, OpenId@128D573F0EB6405EAF334A731E31BFF3, and until it is refreshed
AccessToken@00000000000000000000000000000000. Orders whose number begins with `closed` cannot be decrypted.

  # the list of templates by hand
  KEY=AppKey@0A03EDEB29654A9CAE2A7D9F1A8F487E SECRET=AppSecret@00000000000000000000000000000000 NOW=$(date +%s000)
  SIGN=$(printf %s "${SECRET}appKey${KEY}timestamp${NOW}version1${SECRET}" | md5sum | cut -c1-32)
  curl -s "http://127.0.0.1:9470/openapi/oauth2/${KEY}/template/list" -H "sign: $SIGN" \
    -H 'Content-Type: application/json;charset=utf-8' -d '{"appKey":"'$KEY'","timestamp":"'$NOW'","version":"1"}'
"#;

fn examples() -> Vec<SandboxAccount> {
    let settings = json!({
        "open_id": "OpenId@128D573F0EB6405EAF334A731E31BFF3",
        "allow_destructive": true,
        "token": {
            "access": "AccessToken@00000000000000000000000000000000",
            "refresh": "RefreshToken@00000000000000000000000000000000",
            "auth_code": "AuthCode@00000000000000000000000000000000"
        }
    });
    let credential = ("AppKey@0A03EDEB29654A9CAE2A7D9F1A8F487E", "AppSecret@00000000000000000000000000000000");
    vec![SandboxAccount::new("acme-doudian", NAME, settings, &[credential])]
}

/// The platform with all its accounts.
#[derive(Debug)]
struct Solinkup {
    accounts: Vec<Terms>,
    tokens: Tokens,
}

fn open(accounts: &[(usize, &SandboxAccount)]) -> Opened {
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    for (index, account) in accounts {
        if account.credentials.iter().any(|(key, secret)| key.is_empty() || secret.is_empty()) {
            problems.push(format!("account {} has an empty app key or secret", account.name));
        }
        match account.read::<Settings>() {
            Ok(settings) => all.push(Terms { index: *index, credentials: account.credentials.clone(), settings }),
            Err(problem) => problems.push(problem),
        }
    }
    let seeds: HashMap<_, _> = all.iter().map(|terms| (terms.index, terms.settings.token.clone())).collect();
    if problems.is_empty() {
        Ok(Box::new(Solinkup { accounts: all, tokens: Tokens::new(seeds) }))
    } else {
        Err(problems)
    }
}

impl Fake for Solinkup {
    fn judge(&self, request: &Request, now: i64) -> Option<Judgement> {
        // The platform documents no query, so a request with one is to no endpoint.
        let (endpoint, id) = Endpoint::of(&request.target)?;
        let body = match serde_json::from_slice(&request.body) {
            Ok(Value::Object(body)) => Some(body),
            _ => None,
        };
        let terms = self.terms(body.as_ref(), id.as_deref());
        let verdict = if request.method == "POST" {
            let call = ReadRequest { endpoint, id: id.as_deref(), request, body: body.as_ref(), now_ms: now * 1000 };
            self.answer(&call, terms)
                .map(|body| Answer::json(200, body.to_string()))
                .map_err(|(refused, problem)| Refusal { answer: Answer::json(200, envelope(&refused)), problem })
        } else {
            Err(Refusal { answer: Answer::text(405, "POST only\n"), problem: "method: POST only".to_owned() })
        };
        let asked = body.as_ref().map(business);
        let page = body.as_ref().and_then(|body| body.get("page")).map(Value::to_string);
        Some(Judgement {
            account: terms.map(|terms| terms.index),
            trans_id: None,
            event: Some(endpoint.name().to_owned()),
            ids: vec![("page", page)],
            id: asked.map(|asked| format!("{} {asked}", endpoint.name())),
            conversion: !matches!(endpoint, Endpoint::TokenGet | Endpoint::TokenRefresh),
            items: Vec::new(),
            verdict,
        })
    }

    fn account_of(&self, request: &Request) -> Option<usize> {
        let body: Value = serde_json::from_slice(&request.body).ok()?;
        Some(self.terms(body.as_object(), None)?.index)
    }

    fn expire_tokens(&self, account: usize) {
        self.tokens.expire(account);
    }

    /// A number is a code of the platforms behind this one, a word is a message in its own envelope.
    fn body_of(&self, code: &Value) -> Option<String> {
        match code {
            Value::Number(code) => Some(answers::behind(code.as_i64()?, "", "error")),
            Value::String(text) if !text.is_empty() => Some(envelope(&RefusalFormat::Own("__500ERROR", text.clone()))),
            _ => None,
        }
    }
}

/// What a request asks for: the members that are the same in every attempt.
fn business(body: &Map<String, Value>) -> Value {
    let common = ["method", "appKey", "accessToken", "timestamp", "version", "signMethod"];
    let own = body.iter().filter(|(name, _)| !common.contains(&name.as_str()));
    Value::Object(own.map(|(name, value)| (name.clone(), value.clone())).collect())
}

impl Solinkup {
    /// The account of this app key; of several, the one with the open id of the path.
    fn terms(&self, body: Option<&Map<String, Value>>, id: Option<&str>) -> Option<&Terms> {
        let key = body?.get("appKey")?.as_str()?;
        let of_key: Vec<_> = self.accounts.iter().filter(|terms| terms.has_key(key)).collect();
        let named = of_key.iter().find(|terms| id.is_some() && terms.settings.open_id.as_deref() == id);
        named.or_else(|| of_key.first()).copied()
    }

    fn answer(&self, call: &ReadRequest<'_>, terms: Option<&Terms>) -> Result<Value, Refused> {
        let own = |message: &str, problem: &str| no(RefusalFormat::Own("__400ERROR", message.to_owned()), problem);
        match call.request.header("content-type") {
            Header::Once(kind) if is_json(kind) => {}
            _ => return Err(own("请求格式错误", "Content-Type: not application/json")),
        }
        let body = call.body.ok_or_else(|| own("请求格式错误", "body: no JSON object"))?;
        let terms = terms.ok_or_else(|| own("appKey不存在", "appKey: belongs to no account"))?;
        common::check(call, body, terms)?;
        if call.endpoint.is_trigger() || body.contains_key("accessToken") {
            let token = body.get("accessToken").and_then(Value::as_str).unwrap_or_default();
            self.tokens.check(terms.index, token, call.now_ms).map_err(|problem| own("accessToken已失效", problem))?;
        }
        if call.endpoint.is_trigger() && call.id != terms.settings.open_id.as_deref() {
            return Err(own("没有权限", "path: not the open id of the account"));
        }
        let asked = business(body);
        match call.endpoint {
            Endpoint::TokenGet | Endpoint::TokenRefresh => {
                let name = if call.endpoint == Endpoint::TokenGet { "authCode" } else { "refreshToken" };
                rules::only(&asked, &[name]).map_err(|problem| own("参数错误", &problem))?;
                let given = asked[name].as_str().unwrap_or_default();
                let open_id = terms.settings.open_id.as_deref().unwrap_or_default();
                let issued = if call.endpoint == Endpoint::TokenGet {
                    self.tokens.get(terms.index, given, call.now_ms)
                } else {
                    self.tokens.refresh(terms.index, given, call.now_ms)
                };
                issued.map(|pair| answers::tokens(open_id, &pair)).map_err(|problem| own("授权已失效", problem))
            }
            Endpoint::TemplateList | Endpoint::AuthInfo => {
                rules::only(&asked, &[]).map_err(|problem| own("参数错误", &problem))?;
                Ok(if call.endpoint == Endpoint::AuthInfo { answers::auth_info() } else { answers::templates() })
            }
            Endpoint::DeleteFlows => {
                rules::delete_flows(&asked, terms.settings.open_id.as_deref())
                    .map_err(|problem| own("参数错误", &problem))?;
                Ok(answers::deleted())
            }
            Endpoint::OrderList => {
                rules::orders(&asked, call.now_ms / 1000).map_err(doudian)?;
                Ok(answers::orders(&asked, &terms.settings))
            }
            Endpoint::OrderDetail => {
                rules::order(&asked).map_err(doudian)?;
                Ok(answers::order(&asked))
            }
            Endpoint::Decrypt => {
                rules::ciphers(&asked).map_err(doudian)?;
                Ok(answers::decrypted(&asked))
            }
            Endpoint::AdvertiserReport | Endpoint::AdReport => {
                let of_ads = call.endpoint == Endpoint::AdReport;
                rules::report(&asked, of_ads, terms.settings.max_span_days.unwrap_or(180))
                    .map_err(|problem| no(RefusalFormat::Qianchuan(40_000, "参数错误".into()), problem))?;
                Ok(answers::report(&asked, of_ads, &terms.settings))
            }
        }
    }
}

/// A refusal of 抖店.
fn doudian(problem: String) -> Refused {
    let missing = problem.ends_with("missing");
    let (code, sub_code) =
        if missing { (40_001, "isv.parameter-missing:1") } else { (40_003, "isv.parameter-invalid:1") };
    no(RefusalFormat::Doudian(code, sub_code, "参数错误".into()), problem)
}

fn is_json(content_type: &[u8]) -> bool {
    let plain: Vec<u8> = content_type.iter().filter(|&&b| b != b' ').map(u8::to_ascii_lowercase).collect();
    plain == b"application/json;charset=utf-8" || plain == b"application/json"
}

#[cfg(test)]
mod tests;
