//! Runs the examples in the file of a declared platform: from the event to the request, from the answer to its class.

mod account;
mod call;
mod coverage;
mod stated;

use bytes::Bytes;
use serde_json::Value;

use super::definition::{Example, Shape};
use super::platform::DeclaredPlatform;
use super::sender::Declared;
use crate::error::DeliveryError;
use crate::event::{ConversionEvent, Published, decode};
use crate::platforms::{Context, Prepared, Problem, Sender};
use account::ExampleAccount;
use stated::as_stated;

/// The account of an example has no other name.
const ACCOUNT: &str = "example";

/// How an example went.
#[derive(Debug)]
pub struct ExampleResult {
    /// Its position in the file, from 1.
    pub number: usize,
    /// What it shows; empty: the file does not say.
    pub name: String,
    /// What differs; empty: nothing.
    pub problems: Vec<String>,
}

impl DeclaredPlatform {
    /// Runs every example.
    pub fn examples(&self) -> Vec<ExampleResult> {
        let examples = self.program.definition.test.iter().zip(1..);
        examples
            .map(|(example, number)| {
                let mut problems = Vec::new();
                if let Err(problem) = self.example(example, &mut problems) {
                    problems.push(problem);
                }
                ExampleResult { number, name: example.name.clone(), problems }
            })
            .collect()
    }

    /// The key of an account with which the request of an example cannot be made, such as a secret that a filter does
    /// not take: the account would halt at its first event. One event per form is tried.
    pub(super) fn refused_key(&self, sender: &Declared) -> Option<Problem> {
        let mut tried = Vec::new();
        for example in self.program.definition.test.iter().filter(|example| example.refused.is_none()) {
            for event in example.event.iter().chain(&example.events).filter(|event| !call::is_call(event)) {
                let Ok(Ok(event)) = self.decoded(event) else { continue };
                let problem = sender.refused_key(&event, example.now_ms, &mut tried);
                if problem.is_some() {
                    return problem;
                }
            }
        }
        None
    }

    fn example(&self, example: &Example, problems: &mut Vec<String>) -> Result<(), String> {
        let account = ExampleAccount::new(self, example)?;
        if let Some(event) = example.event.as_ref().filter(|event| call::is_call(event)) {
            return self.example_of_call(&account, example, event, problems);
        }
        let events: Vec<&Shape> = example.event.iter().chain(&example.events).collect();
        if events.is_empty() {
            return Err("has neither event nor events".to_owned());
        }
        let mut items = Vec::new();
        for event in events {
            match (self.prepared(&account, event)?, &example.refused) {
                (Ok(item), None) => items.push(item),
                (Ok(_), Some(_)) => return Err("the event is not refused".to_owned()),
                (Err(error), refused) => return as_stated(&error, refused.as_ref()),
            }
        }
        if items.iter().any(|item| (&item.route, &item.callback) != (&items[0].route, &items[0].callback)) {
            return Err("the events do not share one request".to_owned());
        }
        let sender = account.sender()?;
        let items: Vec<&Prepared> = items.iter().collect();
        let token = account.token();
        let context = Context { now_ms: example.now_ms, credential: None, token: token.as_ref() };
        let request = sender.request(&items, &context).map_err(|fault| fault.detail)?;
        account.compare(example, items.first().and_then(|item| item.callback.as_deref()), &request, problems);
        if let Some(answer) = &example.answer {
            account.judged(sender, answer, items, problems);
        }
        Ok(())
    }

    /// An event as the worker would judge it. What an example need not say of it is added.
    fn prepared(&self, account: &ExampleAccount, event: &Shape) -> Result<Result<Prepared, DeliveryError>, String> {
        let sender = account.sender()?;
        Ok(self.decoded(event)?.and_then(|decoded| sender.prepare(&decoded)))
    }

    /// An event as the worker would decode it.
    fn decoded(&self, event: &Shape) -> Result<Result<ConversionEvent, DeliveryError>, String> {
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
        Ok(Ok(decoded))
    }
}
