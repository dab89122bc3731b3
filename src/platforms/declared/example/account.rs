//! The account of an example, and what it makes of requests and answers.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::stated::class;
use crate::config::problem::{Place, Report};
use crate::config::read::Rest;
use crate::config::tree::{self, Node, Table};
use crate::platforms::declared::definition::{Example, ExampleAnswer, Ordered, Shape};
use crate::platforms::declared::platform::DeclaredPlatform;
use crate::platforms::declared::sender::{Bound, Declared};
use crate::platforms::headers::Headers;
use crate::platforms::http_status::{judge, of_a_token};
use crate::platforms::reading::{HttpAnswer, Verdicts};
use crate::platforms::{CallbackHost, Prepared, Request, Sender};
use crate::secret::SecretString;

/// The account of an example.
pub(super) struct ExampleAccount {
    pub bound: Bound,
    /// `None`: the platform takes no conversions.
    sender: Option<Declared>,
    base_url: String,
    path: Option<String>,
    access: Option<String>,
}

impl ExampleAccount {
    pub fn new(platform: &DeclaredPlatform, example: &Example) -> Result<Self, String> {
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
        let settings = platform.program.read_keys(&mut Rest::new(table, "account", &report), &mut Vec::new());
        let mut told: Vec<String> = report.finish().problems.iter().map(ToString::to_string).collect();
        let has_sender = !platform.program.forms.is_empty();
        let made = settings.and_then(|settings| {
            let bound = Bound::new(platform.program.clone(), &settings)?;
            let sender = has_sender.then(|| Declared::new(bound.clone(), map)).transpose()?;
            Ok((bound, sender))
        });
        match made {
            Ok((bound, sender)) if told.is_empty() => Ok(Self {
                bound,
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

    pub fn sender(&self) -> Result<&Declared, String> {
        self.sender.as_ref().ok_or_else(|| "the platform takes calls alone, and no conversions".to_owned())
    }

    pub fn token(&self) -> Option<SecretString> {
        let (_, seed) = self.bound.tokens()?;
        self.access.as_deref().map(SecretString::new).or(seed.access).or_else(|| Some(SecretString::new("token")))
    }

    pub fn compare(
        &self,
        example: &Example,
        callback: Option<&CallbackHost>,
        request: &Request,
        problems: &mut Vec<String>,
    ) {
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
        let url = match callback {
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

    pub fn judged(&self, sender: &Declared, stated: &ExampleAnswer, items: Vec<&Prepared>, problems: &mut Vec<String>) {
        let headers = header_map(&stated.headers);
        let answer = http_answer(stated, &headers);
        let mut verdicts = judge(items.len(), &answer, || sender.read(&items, &answer));
        if sender.tokens().is_some() {
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
        let code = sender.code(&answer);
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

pub(super) fn http_answer<'a>(stated: &'a ExampleAnswer, headers: &'a HeaderMap) -> HttpAnswer<'a> {
    HttpAnswer {
        status: stated.status,
        retry_after: headers.get("retry-after").and_then(|value| value.to_str().ok()),
        headers: Headers::new(headers),
        body: stated.body.as_bytes(),
        now_ms: 0,
    }
}

pub(super) fn header_map(headers: &Ordered<String>) -> HeaderMap {
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
