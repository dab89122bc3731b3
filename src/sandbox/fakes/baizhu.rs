//! 百助, conversion postbacks: three endpoints, each with its own form, no signature.
//!
//! The platform documents only its success body; this fake answers every refusal with `{"code":"error"}`.

mod account;
mod form;
mod rules;

use serde_json::{Value, json};

use crate::sandbox::account::SandboxAccount;
use crate::sandbox::fake::{Fake, FakePlatform, Opened};
use crate::sandbox::judgement::{Judgement, Refusal};
use crate::sandbox::request::{Answer, Request};
use account::{BaizhuAccount, Endpoint, Settings};
use rules::check;

pub(super) const PLATFORM: FakePlatform = FakePlatform { name: NAME, open, examples, by_hand: BY_HAND };

const NAME: &str = "baizhu";

const BY_HAND: &str = "\
The example account of 百助 is acme-baizhu, with the products acc (install, register) and P-0193 (back).

  # an install by hand
  curl -s http://127.0.0.1:9470/data/install -F product=acc -F uid=0123456789abcdef0123456789abcdef
";

fn examples() -> Vec<SandboxAccount> {
    let product = json!({ "install": "acc", "register": "acc", "back": "P-0193" });
    vec![SandboxAccount::new("acme-baizhu", NAME, json!({ "product": product }), &[])]
}

/// The platform with all its accounts.
#[derive(Debug)]
struct Baizhu {
    /// The accounts with their indices among all accounts of the sandbox.
    accounts: Vec<(usize, BaizhuAccount)>,
}

fn open(accounts: &[(usize, &SandboxAccount)]) -> Opened {
    let (mut fake, mut problems) = (Baizhu { accounts: Vec::new() }, Vec::new());
    for (index, account) in accounts {
        match account.read::<Settings>() {
            Ok(settings) => fake.accounts.push((*index, settings.into())),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(Box::new(fake)) } else { Err(problems) }
}

impl Fake for Baizhu {
    fn judge(&self, request: &Request, _now: i64) -> Option<Judgement> {
        // The platform documents no query, so a request with one is to no endpoint.
        Endpoint::of(&request.target).map(|endpoint| self.judge_at(endpoint, request))
    }

    fn account_of(&self, _request: &Request) -> Option<usize> {
        // Only a form names a product, and only an endpoint has a form.
        None
    }

    /// A number or a word is a code. Any other text is no code, and is sent as it is.
    fn body_of(&self, code: &Value) -> Option<String> {
        match code {
            Value::String(text) => {
                let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
                (!text.is_empty() && text.bytes().all(word)).then(|| answer(text))
            }
            Value::Number(code) => Some(answer(&code.to_string())),
            _ => None,
        }
    }
}

impl Baizhu {
    fn judge_at(&self, endpoint: Endpoint, request: &Request) -> Judgement {
        let form = form::parse(request.header_text("content-type"), &request.body);
        let value = |name: &str| form.as_ref().ok().and_then(|form| form.first(name)).map(str::to_owned);
        let account = value("product").and_then(|product| self.attribute(&product, endpoint));
        let verdict = if request.method == "POST" {
            let problem = match (&form, account) {
                (Err(problem), _) => Err(problem.clone()),
                (Ok(form), Some((_, terms))) => check(form, endpoint, terms).map(|()| answer(&terms.success_value)),
                (Ok(_), None) => Err("product: agreed with no account".to_owned()),
            };
            problem
                .map(|body| Answer::json(200, body))
                .map_err(|problem| Refusal { answer: Answer::json(200, answer("error")), problem })
        } else {
            Err(Refusal { answer: Answer::text(405, "POST only\n"), problem: "method: POST only".to_owned() })
        };
        Judgement {
            account: account.map(|(index, _)| *index),
            trans_id: None,
            event: Some(endpoint.name().to_owned()),
            id: value("uid"),
            ids: vec![("uid", value("uid")), ("order_number", value("order_number"))],
            conversion: true,
            items: Vec::new(),
            verdict,
        }
    }

    /// Returns the first account with this product at this endpoint, or else at any endpoint.
    fn attribute(&self, product: &str, endpoint: Endpoint) -> Option<&(usize, BaizhuAccount)> {
        let at =
            |endpoint: Endpoint| move |account: &&(usize, BaizhuAccount)| endpoint.product(&account.1) == Some(product);
        let here = self.accounts.iter().find(at(endpoint));
        here.or_else(|| self.accounts.iter().find(|account| Endpoint::ALL.iter().any(|&e| at(e)(account))))
    }
}

/// The body of the answer with this code.
fn answer(code: &str) -> String {
    json!({ "code": code }).to_string()
}

#[cfg(test)]
mod tests;
