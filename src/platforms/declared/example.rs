//! Runs the examples in the file of a declared platform: from the event to the request, from the answer to its class.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::definition::{Example, Ordered, Shape};
use super::platform::DeclaredPlatform;
use super::sender::Declared;
use crate::config::problem::{Place, Report};
use crate::config::read::Rest;
use crate::config::tree::{self, Node, Table};
use crate::error::{DeliveryError, Disposition};
use crate::event::{Published, decode};
use crate::platforms::headers::Headers;
use crate::platforms::http_status::{judge, of_a_token};
use crate::platforms::reading::{HttpAnswer, Verdict, Verdicts};
use crate::platforms::{Context, Prepared, Request, Sender};
use crate::secret::SecretString;

/// The account of an example has no other name.
const ACCOUNT: &str = "example";

/// How an example went.
#[derive(Debug)]
pub struct Outcome {
    /// Its position in the file, from 1.
    pub number: usize,
    /// What it shows; empty: the file does not say.
    pub name: String,
    /// What differs; empty: nothing.
    pub problems: Vec<String>,
}

impl DeclaredPlatform {
    /// Runs every example.
    pub fn examples(&self) -> Vec<Outcome> {
        let examples = self.program.definition.test.iter().zip(1..);
        examples
            .map(|(example, number)| {
                let mut problems = Vec::new();
                if let Err(problem) = self.example(example, &mut problems) {
                    problems.push(problem);
                }
                Outcome { number, name: example.name.clone(), problems }
            })
            .collect()
    }

    fn example(&self, example: &Example, problems: &mut Vec<String>) -> Result<(), String> {
        let account = ExampleAccount::new(self, example)?;
        let events: Vec<&Shape> = example.event.iter().chain(&example.events).collect();
        if events.is_empty() {
            return Err("has neither event nor events".to_owned());
        }
        let mut items = Vec::new();
        for event in events {
            match (self.prepared(&account, event)?, &example.refused) {
                (Ok(item), None) => items.push(item),
                (Ok(_), Some(_)) => return Err("the event is not refused".to_owned()),
                (Err(error), Some(refused)) => {
                    let (reason, field) = refusal(&error);
                    if (reason, field.as_str()) != (refused.reason.as_str(), refused.field.as_str()) {
                        let told = (&refused.reason, &refused.field);
                        return Err(format!(
                            "the event is refused as {reason} of {field:?}, not as {} of {:?}",
                            told.0, told.1
                        ));
                    }
                    return Ok(());
                }
                (Err(error), None) => {
                    let (reason, field) = refusal(&error);
                    let detail = error.fault().map(|fault| fault.detail.clone()).unwrap_or_default();
                    return Err(format!("the event is refused as {reason} of {field:?}: {detail}"));
                }
            }
        }
        if items.iter().any(|item| (&item.route, &item.callback) != (&items[0].route, &items[0].callback)) {
            return Err("the events do not share one request".to_owned());
        }
        let items: Vec<&Prepared> = items.iter().collect();
        let token = account.token();
        let context = Context { now_ms: example.now_ms, credential: None, token: token.as_ref() };
        let request = account.sender.request(&items, &context).map_err(|fault| fault.detail)?;
        account.compare(example, &items, &request, problems);
        if let Some(answer) = &example.answer {
            account.judged(answer, items, problems);
        }
        Ok(())
    }

    /// An event as the worker would judge it. What an example need not say of it is added.
    fn prepared(&self, account: &ExampleAccount, event: &Shape) -> Result<Result<Prepared, DeliveryError>, String> {
        let published = event.json();
        let mut whole = match &published {
            Value::Object(members) => members.clone(),
            _ => return Err("has an event that is no table".to_owned()),
        };
        for (name, value) in [("platform", self.program.name), ("account", ACCOUNT)] {
            whole.entry(name).or_insert_with(|| value.into());
        }
        let whole = Value::Object(whole).to_string();
        let mut decoded = match decode(Some(whole.as_bytes())) {
            Ok(decoded) => decoded,
            Err(error) => return Ok(Err(error)),
        };
        let mut text = String::new();
        event.write(&mut text);
        decoded.published = Published(Bytes::from(text));
        Ok(account.sender.prepare(&decoded))
    }
}

fn refusal(error: &DeliveryError) -> (&'static str, String) {
    let reason = match error.disposition() {
        Disposition::DeadLetter(reason) => reason.as_str(),
        _ => "",
    };
    (reason, error.fault().map(|fault| fault.field.to_string()).unwrap_or_default())
}

/// The account of an example.
struct ExampleAccount {
    sender: Declared,
    base_url: String,
    path: Option<String>,
    access: Option<String>,
}

impl ExampleAccount {
    fn new(platform: &DeclaredPlatform, example: &Example) -> Result<Self, String> {
        let mut table = Table::new();
        for (name, value) in example.account.iter() {
            tree::set(&mut table, name, node(value));
        }
        for (name, value) in example.token.iter() {
            tree::set(&mut table, &format!("token.{name}"), node(&Shape::Text(value.clone())));
        }
        let mut text = |name: &str| {
            table.shift_remove(name).map(|node| node.value).and_then(|value| match value {
                tree::Value::Text(text) => Some(text),
                _ => None,
            })
        };
        let (base_url, path) = (text("base_url"), text("path"));
        let mut map = BTreeMap::new();
        if let Some(tree::Value::Table(natives)) = table.shift_remove("map").map(|node| node.value) {
            for (event, native) in natives {
                match native.value {
                    tree::Value::Text(text) => _ = map.insert(event, text),
                    tree::Value::Integer(number) => _ = map.insert(event, number.to_string()),
                    _ => return Err(format!("account.map.{event}: has to be a text or a whole number")),
                }
            }
        }
        let report = Report::default();
        let settings = platform.program.read_keys(&mut Rest::new(table, "account", &report));
        let mut told: Vec<String> = report.finish().problems.iter().map(ToString::to_string).collect();
        let sender = settings.and_then(|settings| Declared::new(platform.program.clone(), &settings, map));
        match sender {
            Ok(sender) if told.is_empty() => Ok(Self {
                sender,
                base_url: base_url.unwrap_or_else(|| platform.program.base_url.to_owned()),
                path,
                access: example.token.get("access").cloned(),
            }),
            Ok(_) => Err(told.join("; ")),
            Err(problems) => {
                told.extend(problems.into_iter().map(|(key, reason)| format!("account.{key}: {reason}")));
                Err(told.join("; "))
            }
        }
    }

    fn token(&self) -> Option<SecretString> {
        let (_, seed) = self.sender.tokens()?;
        self.access.as_deref().map(SecretString::new).or(seed.access).or_else(|| Some(SecretString::new("token")))
    }

    fn compare(&self, example: &Example, items: &[&Prepared], request: &Request, problems: &mut Vec<String>) {
        let mut differs = |what: &str, is: &str, stated: Option<&String>| {
            if let Some(stated) = stated
                && stated != is
            {
                problems.push(format!("{what} is {is:?}, not {stated:?}"));
            }
        };
        let own = match (&self.path, request.path.split_once('?')) {
            (Some(path), Some((_, query))) => format!("{path}?{query}"),
            (Some(path), None) => path.clone(),
            (None, _) => request.path.to_string(),
        };
        let url = match items.first().and_then(|item| item.callback.as_ref()) {
            Some(host) => format!("{host}{}", request.path),
            None => format!("{}{own}", self.base_url),
        };
        let expected = example.request.as_ref();
        differs("the method", request.method, expected.and_then(|request| request.method.as_ref()));
        differs("the URL", &url, expected.and_then(|request| request.url.as_ref()));
        let body = String::from_utf8_lossy(&request.body);
        differs("the body", &body, expected.and_then(|request| request.body.as_ref()));
        for (name, stated) in example.headers.iter() {
            let is = request.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
            differs(&format!("the header {name}"), is.map_or("", |(_, value)| value), Some(stated));
        }
    }

    fn judged(&self, stated: &super::ExampleAnswer, items: Vec<&Prepared>, problems: &mut Vec<String>) {
        let headers = header_map(&stated.headers);
        let answer = HttpAnswer {
            status: stated.status,
            retry_after: headers.get("retry-after").and_then(|value| value.to_str().ok()),
            headers: Headers::new(&headers),
            body: stated.body.as_bytes(),
            now_ms: 0,
        };
        let mut verdicts = judge(items.len(), &answer, || self.sender.read(&items, &answer));
        if self.sender.tokens().is_some() {
            verdicts = of_a_token(verdicts);
        }
        let classes: Vec<&str> = match &verdicts {
            Verdicts::All(verdict) => vec![class(verdict); items.len()],
            Verdicts::Each(verdicts) => verdicts.iter().map(class).collect(),
            Verdicts::Split => vec!["split"; items.len()],
        };
        let expected: Vec<&str> = match stated.classes.as_slice() {
            [] => vec![stated.class.as_str(); items.len()],
            classes => classes.iter().map(String::as_str).collect(),
        };
        if classes != expected {
            problems.push(format!("the answer is {}, not {}", classes.join(", "), expected.join(", ")));
        }
        let code = self.sender.code(&answer);
        if let Some(stated) = stated.code.as_ref().filter(|stated| **stated != code) {
            problems.push(format!("the code is {code:?}, not {stated:?}"));
        }
        if let Some(stated) = &stated.platform_id {
            let id = match &verdicts {
                Verdicts::All(Ok(receipt)) => receipt.platform_id.clone().unwrap_or_default(),
                _ => String::new(),
            };
            if id != *stated {
                problems.push(format!("the platform's id is {id:?}, not {stated:?}"));
            }
        }
    }
}

fn class(verdict: &Verdict) -> &'static str {
    match verdict {
        Ok(_) => "delivered",
        Err(DeliveryError::Refresh(answer)) if answer.sign_again => "once_more",
        Err(error) => error.class().map_or("", |class| class.as_str()),
    }
}

fn header_map(headers: &Ordered<String>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::try_from(value)) {
            map.insert(name, value);
        }
    }
    map
}

fn node(shape: &Shape) -> Node {
    let value = match shape {
        Shape::Text(text) => tree::Value::Text(text.clone()),
        Shape::Integer(number) => tree::Value::Integer(*number),
        Shape::Float(number) => tree::Value::Float(*number),
        Shape::Flag(flag) => tree::Value::Flag(*flag),
        Shape::List(list) => tree::Value::List(list.iter().map(node).collect()),
        Shape::Table(members) => {
            tree::Value::Table(members.iter().map(|(name, value)| (name.clone(), node(value))).collect())
        }
    };
    Node { value, place: Place::Default, indirect: false }
}
