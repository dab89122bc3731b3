//! Compares one request with one form of a platform's file and one account.

use serde_json::{Map, Value};

use super::evaluate::Known;
use super::expression::Expr;
use super::file::{Body, File, Form};
use super::formats::parameters;
use super::matching::Matching;
use super::signature::signature;
use super::template::Template;
use super::terms::Terms;
use super::tokens::CarriedToken;
use super::value::Val;
use crate::sandbox::judgement::JudgedItem;
use crate::sandbox::request::{Header, Request};

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// The account, by its position in the fake.
    pub(super) account: usize,
    /// The form, by its number in the file.
    pub(super) form: usize,
    /// The events of the request, at least one.
    pub(super) items: Vec<JudgedItem>,
    /// It is not the account that asks.
    pub(super) stranger: bool,
    problems: Vec<String>,
    unsigned: bool,
    expired: bool,
    tokens: bool,
    /// The answer can refuse one event and take the others.
    each: bool,
}

/// Why a request is refused as a whole, and the class of the answer to it.
pub(super) struct Wrong {
    pub(super) class: &'static str,
    pub(super) problem: String,
}

impl Checked {
    /// How much is wrong.
    pub(super) fn weight(&self) -> usize {
        let items = self.items.iter().filter(|item| item.problem.is_some()).count();
        self.problems.len() + items + usize::from(self.expired) + 1000 * usize::from(self.stranger)
    }

    pub(super) fn wrong(&self) -> Option<Wrong> {
        let first = |class| self.problems.first().map(|problem| Wrong { class, problem: problem.clone() });
        if self.stranger {
            return first(if self.tokens { "refresh" } else { "halt" });
        }
        if self.expired {
            return Some(Wrong { class: "refresh", problem: "token: expired".to_owned() });
        }
        if self.unsigned {
            return first("halt");
        }
        let bad = self.items.iter().filter_map(|item| item.problem.as_ref()).collect::<Vec<_>>();
        match bad.first() {
            Some(problem) if !self.each || bad.len() == self.items.len() => {
                Some(Wrong { class: "permanent", problem: (*problem).clone() })
            }
            _ => first("permanent"),
        }
    }
}

/// The paths of callbacks, from the requests of the file's tests.
pub(super) fn callback_paths(file: &File) -> Vec<String> {
    let mut paths = Vec::new();
    for test in &file.tests {
        let Some(url) = test.pointer("/request/url").and_then(Value::as_str).and_then(|url| url::Url::parse(url).ok())
        else {
            continue;
        };
        let host = url.host_str().unwrap_or_default();
        if file.forms.iter().any(|form| form.hosts.iter().any(|known| known == host))
            && !paths.iter().any(|path| path == url.path())
        {
            paths.push(url.path().to_owned());
        }
    }
    paths
}

/// Whether requests of this form go to the path of this one.
pub(super) fn leads_to(form: &Form, terms: &Terms, callbacks: &[String], request: &Request) -> bool {
    let path = request.target.split('?').next().unwrap_or_default();
    // A URL that the file states obeys the account's path; one that an event brings does not.
    let is_fixed = matches!(form.url, Template::Text(_));
    match &terms.path {
        Some(own) if form.hosts.is_empty() || is_fixed => own == path,
        _ if form.hosts.is_empty() => form.url.leads_to(&Known::new(&terms.keys), path),
        _ => callbacks.iter().any(|callback| callback == path),
    }
}

/// Whether a request for tokens is this account's, with the refresh token that it has.
pub(super) fn grants(form: &Form, terms: &Terms, refresh: Option<&str>, request: &Request, now: i64) -> bool {
    let mut known = Known::new(&terms.keys);
    known.show_name("token", Val::Json(serde_json::json!({ "refresh": refresh })));
    let mut matching = Matching::new(known, now, false);
    let mut none = Vec::new();
    compare(&mut matching, form, request, &mut none);
    refresh.is_some() && matching.problems.is_empty()
}

pub(super) fn check(
    file: &File,
    number: usize,
    terms: &Terms,
    token: &CarriedToken,
    request: &Request,
    now: i64,
) -> Checked {
    let Some(form) = file.forms.get(number) else { return Checked::default() };
    let mut known = Known::new(&terms.keys);
    let shown = match token {
        CarriedToken::Token { access, .. } => Val::Json(serde_json::json!({ "access": access })),
        CarriedToken::Nothing => Val::Json(serde_json::json!({})),
        CarriedToken::Keys => Val::Undefined,
    };
    known.show_name("token", shown);
    let chosen = form.call.is_some() || choose(&mut known, file, number);
    let mut matching = Matching::new(known, now, form.numbers);
    if !chosen {
        matching.problem("request", "is of a form that is not the account's");
    }
    let mut events = Vec::new();
    compare(&mut matching, form, request, &mut events);
    let items = if events.is_empty() {
        let (require, check) =
            form.call.as_ref().map_or((&file.require, &file.check), |call| (&call.require, &call.check));
        let problem = rules(require, check, &matching.known);
        let mut item = judged(&matching.known, request, problem);
        if let Some(call) = &form.call {
            item.event = Some(call.name.clone());
        }
        vec![item]
    } else {
        if events.len() > file.max_items {
            matching.problem("request", format!("has more than {} events", file.max_items));
        }
        events.iter().enumerate().map(|(n, event)| item(file, form, &matching, n, event, request)).collect()
    };
    let before = matching.problems.len();
    if let Some(sign) = &form.sign {
        signature(&mut matching, form, sign, request);
    }
    Checked {
        account: 0,
        form: number,
        items,
        stranger: matching.stranger,
        unsigned: matching.problems.len() > before,
        problems: matching.problems,
        expired: matches!(token, CarriedToken::Token { valid: false, .. }),
        tokens: !matches!(token, CarriedToken::Keys),
        each: file.answer.contains_key("items"),
    }
}

/// Takes for granted that the event is one for this form, and for none before it. `false`: the account has none such.
fn choose(known: &mut Known<'_>, file: &File, number: usize) -> bool {
    let mut possible = true;
    for (n, form) in file.forms.iter().enumerate().take(number + 1) {
        let Some(when) = &form.when else {
            possible &= n == number;
            continue;
        };
        match known.value(when) {
            Some(holds) => possible &= holds.is_true() == (n == number),
            None => known.show(when.clone(), Val::flag(n == number)),
        }
    }
    possible
}

/// Compares everything but the signature. The events of a request that carries several go to `events`.
fn compare(matching: &mut Matching<'_>, form: &Form, request: &Request, events: &mut Vec<Value>) {
    if request.method != form.method {
        matching.problem("method", format!("{} only", form.method));
    }
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let signed = form.sign.as_ref().map_or("", |sign| &sign.query);
    match parameters(query) {
        None => matching.problem("query", "is not encoded as it must be"),
        Some(mut given) => {
            given.retain(|(name, _)| signed.is_empty() || name != signed);
            // A callback can bring a query of its own.
            listed(matching, "query", &form.query, &given, !form.hosts.is_empty() && form.query.is_empty());
        }
    }
    for (name, template) in &form.headers {
        let place = format!("header {name}");
        match request.header(name) {
            Header::Missing => matching.text(&place, template, None),
            Header::Once(value) => matching.text(&place, template, Some(&String::from_utf8_lossy(value))),
            Header::Repeated => matching.problem(&place, "sent more than once"),
        }
    }
    let text = std::str::from_utf8(&request.body).ok();
    match &form.body {
        Body::Nothing if request.body.is_empty() => {}
        Body::Nothing => matching.problem("body", "must be empty"),
        Body::Text(template) => matching.text("body", template, text.filter(|text| !text.is_empty())),
        Body::Form(fields) => {
            if !request.header_text("content-type").starts_with("application/x-www-form-urlencoded") {
                matching.problem("Content-Type", "not application/x-www-form-urlencoded");
            }
            match text.and_then(parameters) {
                Some(mut given) => {
                    let signed = form.sign.as_ref().map_or("", |sign| &sign.form);
                    given.retain(|(name, _)| signed.is_empty() || name != signed);
                    listed(matching, "form", fields, &given, false);
                }
                None => matching.problem("form", "is not encoded as it must be"),
            }
        }
        Body::Json(shape) => match serde_json::from_slice::<Value>(&request.body) {
            Ok(given) => matching.json("", shape, Some(&given), events),
            Err(_) => matching.problem("body", "is no JSON"),
        },
    }
}

/// Compares the parameters of a query or form.
fn listed(
    matching: &mut Matching<'_>,
    part: &str,
    wanted: &[(String, Template)],
    given: &[(String, String)],
    others: bool,
) {
    for (name, template) in wanted {
        let place = format!("{part} {name}");
        let mut values = given.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() {
            matching.problem(&place, "sent more than once");
        } else {
            matching.text(&place, template, first);
        }
    }
    for (name, _) in given.iter().filter(|(name, _)| !others && !wanted.iter().any(|(known, _)| known == name)) {
        matching.problem(&format!("{part} {name}"), "is unknown");
    }
}

fn item(file: &File, form: &Form, whole: &Matching<'_>, n: usize, event: &Value, request: &Request) -> JudgedItem {
    let mut own = Matching::new(whole.known.clone(), whole.now, whole.numbers);
    if let Some(shape) = &form.item {
        own.json(&format!("{n}"), shape, Some(event), &mut Vec::new());
    }
    let problem = own.problems.first().cloned().or_else(|| rules(&file.require, &file.check, &own.known));
    judged(&own.known, request, problem)
}

/// The first rule of `[require]` and `[check]` that the request shows to be broken.
fn rules(require: &[(String, Expr)], check: &[(String, Expr, String)], known: &Known<'_>) -> Option<String> {
    let holds = |when| known.value(when).is_some_and(|holds| holds.is_true());
    let missing = require.iter().find(|(name, when)| known.has(name) == Some(false) && holds(when));
    let missing = missing.map(|(name, _)| format!("{name}: missing"));
    missing.or_else(|| {
        let broken = check.iter().find(|(_, when, _)| holds(when));
        broken.map(|(name, _, says)| format!("{name}: {says}"))
    })
}

fn judged(known: &Known<'_>, request: &Request, problem: Option<String>) -> JudgedItem {
    let text = |value: Option<&Val>| value.and_then(Val::printed).filter(|text| !text.is_empty());
    let trans_id = text(known.value_of("event.trans_id"));
    let event = text(known.value_of("native"));
    let click = text(known.first_below("event.click.").or_else(|| known.first_below("event.args.")));
    let order_id = text(known.value_of("event.order.order_id"));
    let without = click.as_ref().map(|click| format!("{click} {}", event.as_deref().unwrap_or_default()));
    let id = trans_id.clone().or(without).or_else(|| request.body.is_empty().then(|| request.target.clone()));
    let ids = if trans_id.is_some() { Vec::new() } else { vec![("click", click), ("order_id", order_id)] };
    JudgedItem { trans_id, event, ids, id, problem }
}

/// A JSON object, where the value is one.
pub(super) fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
