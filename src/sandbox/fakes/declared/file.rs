//! The file of a declared platform, read for the sandbox. The worker has its own reading: a key that one of the two
//! misunderstands shows when they talk to each other.

use serde_json::{Map, Value};

use super::expression::Expr;
use super::parser::parse;
use super::template::Template;

/// One platform.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: String,
    /// The values of keys that an account does not state.
    pub(super) defaults: Value,
    /// Names of the event with the expression that says when they must be there.
    pub(super) require: Vec<(String, Expr)>,
    /// Names of the event with a rule that refuses it, and its reason.
    pub(super) check: Vec<(String, Expr, String)>,
    pub(super) forms: Vec<Form>,
    pub(super) max_items: usize,
    pub(super) answer: Map<String, Value>,
    pub(super) token: Option<Token>,
    pub(super) tests: Vec<Value>,
}

/// One `[[request]]`.
#[derive(Debug)]
pub(super) struct Form {
    /// `None`: always.
    pub(super) when: Option<Expr>,
    pub(super) method: String,
    pub(super) url: Template,
    /// The hosts of a callback; empty: it is none.
    pub(super) hosts: Vec<String>,
    pub(super) query: Vec<(String, Template)>,
    pub(super) headers: Vec<(String, Template)>,
    pub(super) body: Body,
    pub(super) sign: Option<Sign>,
    /// What each event contributes.
    pub(super) item: Option<Shape>,
    /// Whether its native events are numbers.
    pub(super) numbers: bool,
    /// What only a call has; `None`: it reports conversions.
    pub(super) call: Option<Call>,
}

/// One `[calls.NAME]`.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: String,
    /// As those of the file.
    pub(super) require: Vec<(String, Expr)>,
    pub(super) check: Vec<(String, Expr, String)>,
    /// Where its own code stands in an answer; empty: it has no answers of its own.
    pub(super) code: String,
}

#[derive(Debug)]
pub(super) enum Body {
    Nothing,
    Text(Template),
    Form(Vec<(String, Template)>),
    Json(Shape),
}

#[derive(Debug)]
pub(super) struct Sign {
    pub(super) header: String,
    pub(super) query: String,
    pub(super) form: String,
    pub(super) value: Template,
}

#[derive(Debug)]
pub(super) struct Token {
    pub(super) form: Form,
    pub(super) access: String,
    pub(super) refresh: String,
    pub(super) expires_in: String,
    pub(super) expires_at_ms: String,
    pub(super) failed: Option<Expr>,
}

/// A JSON value whose texts are templates.
#[derive(Debug)]
pub(super) enum Shape {
    Leaf(Template),
    Constant(Value),
    List(Vec<Shape>),
    Table(Vec<(String, Shape)>),
}

impl File {
    pub(super) fn parse(text: &str) -> Result<File, String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let mut file = File {
            name: text_of(&table, "name"),
            defaults: Value::Object(Map::new()),
            require: Vec::new(),
            check: Vec::new(),
            forms: Vec::new(),
            max_items: 1,
            answer: json(table.get("answer")).as_object().cloned().unwrap_or_default(),
            token: None,
            tests: table.get("test").and_then(|t| t.as_array()).into_iter().flatten().map(|t| json(Some(t))).collect(),
        };
        for (name, key) in members(members_at(&table, "account"), "keys") {
            if let Some(value) = key.get("default") {
                set(&mut file.defaults, name, json(Some(value)));
            }
        }
        for (name, when) in members(Some(&table), "require") {
            file.require.push((name.clone(), parse(when.as_str().unwrap_or_default())?));
        }
        file.check = checks(Some(&table))?;
        let batch = members_at(&table, "batch");
        if let Some(batch) = batch {
            let items = batch.get("max_items").and_then(toml::Value::as_integer).unwrap_or(1);
            file.max_items = usize::try_from(items).unwrap_or(1);
        }
        for form in table.get("request").and_then(|r| r.as_array()).into_iter().flatten() {
            file.forms.push(form_of(form.as_table(), batch, &table)?);
        }
        for (name, call) in members(Some(&table), "calls") {
            let call = call.as_table();
            let mut form = form_of(call.and_then(|call| members_at(call, "request")), None, &table)?;
            let mut require = Vec::new();
            for (arg, when) in members(call, "args") {
                match when.as_str().unwrap_or_default() {
                    "" => {}
                    when => require.push((format!("args.{arg}"), parse(when)?)),
                }
            }
            let code = call.and_then(|call| members_at(call, "answer")).map(|answer| text_of(answer, "code"));
            let (name, code) = (name.clone(), code.unwrap_or_default());
            form.call = Some(Call { name, require, check: checks(call)?, code });
            file.forms.push(form);
        }
        if let Some(token) = members_at(&table, "token") {
            let failed = text_of(token, "failed");
            file.token = Some(Token {
                form: form_of(members_at(token, "request"), None, &table)?,
                access: text_of(token, "access"),
                refresh: text_of(token, "refresh"),
                expires_in: text_of(token, "expires_in"),
                expires_at_ms: text_of(token, "expires_at_ms"),
                failed: (!failed.is_empty()).then(|| parse(&failed)).transpose()?,
            });
        }
        Ok(file)
    }
}

/// The rules below `check`.
fn checks(table: Option<&toml::Table>) -> Result<Vec<(String, Expr, String)>, String> {
    let mut check = Vec::new();
    for (name, rule) in members(table, "check") {
        let rule = rule.as_table().cloned().unwrap_or_default();
        check.push((name.clone(), parse(&text_of(&rule, "when"))?, text_of(&rule, "says")));
    }
    Ok(check)
}

fn form_of(form: Option<&toml::Table>, batch: Option<&toml::Table>, root: &toml::Table) -> Result<Form, String> {
    let empty = toml::Table::new();
    let form = form.unwrap_or(&empty);
    let when = text_of(form, "when");
    let body = match (form.get("json"), form.get("form"), form.get("body")) {
        (Some(json), _, _) => Body::Json(shape(json)),
        (_, Some(_), _) => Body::Form(templates(form, "form")),
        (_, _, Some(body)) => Body::Text(Template::parse(body.as_str().unwrap_or_default())),
        _ => Body::Nothing,
    };
    let method = match text_of(form, "method") {
        stated if !stated.is_empty() => stated,
        _ if matches!(body, Body::Nothing) => "GET".to_owned(),
        _ => "POST".to_owned(),
    };
    let callback = form.contains_key("callback");
    let hosts = form.get("hosts").and_then(|h| h.as_array()).into_iter().flatten();
    let item = batch.and_then(|batch| batch.get("item"));
    let own_events: Vec<_> = members(Some(form), "events").map(|(_, native)| native).collect();
    let events: Vec<_> =
        if own_events.is_empty() { members(Some(root), "events").map(|(_, n)| n).collect() } else { own_events };
    Ok(Form {
        when: (!when.is_empty()).then(|| parse(&when)).transpose()?,
        method,
        url: Template::parse(&text_of(form, "url")),
        hosts: hosts.filter(|_| callback).filter_map(|h| h.as_str()).map(str::to_owned).collect(),
        query: templates(form, "query"),
        headers: templates(form, "headers"),
        body,
        sign: members_at(form, "sign").map(|sign| Sign {
            header: text_of(sign, "header"),
            query: text_of(sign, "query"),
            form: text_of(sign, "form"),
            value: Template::parse(&text_of(sign, "value")),
        }),
        item: item.map(shape),
        numbers: !events.is_empty() && events.iter().all(|native| native.is_integer()),
        call: None,
    })
}

fn templates(table: &toml::Table, name: &str) -> Vec<(String, Template)> {
    let text = |value: &toml::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    members(Some(table), name).map(|(name, value)| (name.clone(), Template::parse(&text(value)))).collect()
}

fn shape(value: &toml::Value) -> Shape {
    match value {
        toml::Value::String(text) => Shape::Leaf(Template::parse(text)),
        toml::Value::Array(list) => Shape::List(list.iter().map(shape).collect()),
        toml::Value::Table(table) => Shape::Table(table.iter().map(|(name, v)| (name.clone(), shape(v))).collect()),
        other => Shape::Constant(json(Some(other))),
    }
}

fn members_at<'t>(table: &'t toml::Table, name: &str) -> Option<&'t toml::Table> {
    table.get(name)?.as_table()
}

fn members<'t>(
    table: Option<&'t toml::Table>,
    name: &str,
) -> impl Iterator<Item = (&'t String, &'t toml::Value)> + use<'t> {
    table.and_then(|table| members_at(table, name)).into_iter().flatten()
}

fn text_of(table: &toml::Table, name: &str) -> String {
    table.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
}

fn json(value: Option<&toml::Value>) -> Value {
    match value {
        None => Value::Null,
        Some(value) => serde_json::to_value(value).unwrap_or_default(),
    }
}

/// Sets the member at a dotted path, and makes the objects on the way.
pub(super) fn set(root: &mut Value, path: &str, value: Value) {
    let mut place = root;
    for name in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(members) = place else { return };
        place = members.entry(name).or_insert(Value::Null);
    }
    *place = value;
}
