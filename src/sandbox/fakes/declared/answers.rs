//! The platform's answers, taken from the tests in its file: for each class the body that the platform's own words
//! have.

use serde_json::Value;

use super::check::Checked;
use super::evaluate::{Known, below};
use super::expression::bodies;
use super::file::{File, set};
use super::parser::parse;
use super::template::Template;
use super::terms::merge;
use super::value::Val;
use crate::sandbox::request::Answer;

/// The answers of one platform.
#[derive(Debug)]
pub(super) struct Answers {
    samples: Vec<Sample>,
    /// Where the code stands in a body, dotted.
    code: Vec<String>,
    items: Option<Items>,
}

/// The answer of one test.
#[derive(Debug)]
struct Sample {
    form: usize,
    class: String,
    /// Of a batch: one per event.
    classes: Vec<String>,
    code: Option<String>,
    status: u16,
    body: String,
}

/// Where the events' own verdicts stand.
#[derive(Debug)]
struct Items {
    at: String,
    index: String,
    base: Template,
    /// The answer lists what it refuses, and nothing else.
    errors_alone: bool,
}

impl Answers {
    pub(super) fn new(file: &File) -> Answers {
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let answer = Value::Object(file.answer.clone());
        let own = file.forms.iter().filter_map(|form| Some(form.call.as_ref()?.code.clone()));
        let codes = std::iter::once(text(&answer, "code")).chain(own).filter_map(|code| parse(&code).ok());
        let code = codes.flat_map(|code| bodies(&code)).collect();
        let samples = file.tests.iter().filter_map(|test| {
            let answer = test.get("answer")?;
            let classes = answer.get("classes").and_then(Value::as_array).into_iter().flatten();
            Some(Sample {
                form: form_of(file, test),
                class: text(answer, "class"),
                classes: classes.filter_map(|class| class.as_str().map(str::to_owned)).collect(),
                code: answer.get("code").and_then(|code| Val::Json(code.clone()).printed()),
                status: answer.get("status").and_then(Value::as_u64).and_then(|s| u16::try_from(s).ok()).unwrap_or(200),
                body: text(answer, "body"),
            })
        });
        let items = answer.get("items").map(|items| Items {
            at: text(items, "at").trim_start_matches("body.").to_owned(),
            index: text(items, "index"),
            base: Template::parse(
                &items.get("index_base").and_then(|base| Val::Json(base.clone()).printed()).unwrap_or_default(),
            ),
            errors_alone: text(items, "unmentioned") == "delivered",
        });
        Answers { samples: samples.collect(), code, items }
    }

    /// To a request that is taken, at least in part.
    pub(super) fn accepted(&self, checked: &Checked, keys: &Value) -> Answer {
        if checked.items.iter().any(|item| item.problem.is_some())
            && let Some(answer) = self.of_items(checked, keys)
        {
            return answer;
        }
        self.sample("delivered", checked.form).map_or_else(|| Answer::json(200, "{}"), Sample::answer)
    }

    /// To a request that is refused.
    pub(super) fn refused(&self, class: &str, form: usize) -> Answer {
        // What halts an account in the end may be asked for once more at first.
        let once_more = || self.of_form("once_more", form).filter(|_| class == "halt");
        let own = self.of_form(class, form).or_else(once_more);
        let sample = own.or_else(|| self.sample(class, form)).or_else(|| self.sample("permanent", form));
        sample.map_or_else(|| Answer::text(400, "refused\n"), Sample::answer)
    }

    /// A body with this code.
    pub(super) fn of_code(&self, code: &Value) -> Option<String> {
        let wanted = Val::Json(code.clone()).printed()?;
        let is_word = !wanted.is_empty() && wanted.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !(code.is_number() || code.is_string() && is_word) {
            return None;
        }
        if let Some(sample) = self.samples.iter().find(|sample| sample.code.as_ref() == Some(&wanted)) {
            return Some(sample.body.clone());
        }
        let refusal = self.samples.iter().find(|sample| sample.classes.is_empty() && sample.class != "delivered")?;
        let mut body: Value = serde_json::from_str(&refusal.body).ok()?;
        let path = self.code.iter().find(|path| below(&body, path) != Val::Undefined)?;
        let number = wanted.parse::<i64>().ok().filter(|_| below(&body, path).json().is_some_and(Value::is_number));
        set(&mut body, path, number.map_or_else(|| Value::from(wanted), Value::from));
        Some(body.to_string())
    }

    fn sample(&self, class: &str, form: usize) -> Option<&Sample> {
        self.of_form(class, form).or_else(|| self.of_class(class).next())
    }

    fn of_form(&self, class: &str, form: usize) -> Option<&Sample> {
        self.of_class(class).find(|sample| sample.form == form)
    }

    fn of_class(&self, class: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.classes.is_empty() && sample.class == class)
    }

    /// An answer that takes some of the events.
    fn of_items(&self, checked: &Checked, keys: &Value) -> Option<Answer> {
        let items = self.items.as_ref()?;
        let sample = self.samples.iter().find(|sample| !sample.classes.is_empty())?;
        let mut body: Value = serde_json::from_str(&sample.body).ok()?;
        let listed = below(&body, &items.at).json()?.as_array()?.clone();
        let base = items.base.printed(&Known::new(keys)).and_then(|base| base.parse::<usize>().ok()).unwrap_or(0);
        let mut members = Vec::new();
        for (n, item) in checked.items.iter().enumerate() {
            let delivered = item.problem.is_none();
            if delivered && items.errors_alone {
                continue;
            }
            let like = sample.classes.iter().position(|class| (class == "delivered") == delivered);
            let like = if items.errors_alone { Some(0) } else { like };
            let mut member = listed.get(like?)?.clone();
            if !items.index.is_empty() {
                set(&mut member, &items.index, Value::from(n + base));
            }
            members.push(member);
        }
        set(&mut body, &items.at, Value::Array(members));
        Some(Answer::json(sample.status, body.to_string()))
    }
}

impl Sample {
    fn answer(&self) -> Answer {
        Answer::json(self.status, self.body.clone())
    }
}

/// The form that the event of a test has.
fn form_of(file: &File, test: &Value) -> usize {
    let mut keys = file.defaults.clone();
    for (name, value) in test.get("account").and_then(Value::as_object).into_iter().flatten() {
        merge(&mut keys, name, value);
    }
    let mut known = Known::new(&keys);
    let event = test.get("event").or_else(|| test.pointer("/events/0")).cloned().unwrap_or_default();
    if event.get("kind").is_some_and(|kind| kind == "call") {
        let is_it = |form: &super::file::Form| form.call.as_ref().is_some_and(|call| event["call"] == *call.name);
        return file.forms.iter().position(is_it).unwrap_or(0);
    }
    // Members that are tables are always there.
    let mut whole = serde_json::json!({ "click": {}, "order": {}, "user": {}, "params": {}, "platform_params": {} });
    for (name, value) in super::check::object(&event) {
        set(&mut whole, &name, value);
    }
    known.show_name("event", Val::Json(whole));
    let holds = |form: &super::file::Form| {
        form.when.as_ref().is_none_or(|when| known.value(when).is_some_and(|holds| holds.is_true()))
    };
    file.forms.iter().position(holds).unwrap_or(0)
}
