//! The examples of calls: from the event to the request, from the answer to the result.

use super::account::{ExampleAccount, header_map, http_answer};
use super::stated::{as_stated, class};
use crate::error::DeliveryError;
use crate::platforms::Context;
use crate::platforms::call::{Call, CallAnswer, CallEvent, PreparedCall};
use crate::platforms::declared::definition::{Example, ExampleAnswer, Shape};
use crate::platforms::declared::platform::DeclaredPlatform;
use crate::platforms::declared::sender::Calls;
use crate::platforms::http_status::judge_call;
use crate::platforms::reading::Receipt;

/// Whether an event of an example is a call.
pub(super) fn is_call(event: &Shape) -> bool {
    event.json().get("kind").is_some_and(|kind| kind == "call")
}

/// The name of the call that an event of an example asks for.
pub(super) fn name(event: &Shape) -> Option<String> {
    if is_call(event) { event.json().get("call")?.as_str().map(str::to_owned) } else { None }
}

impl DeclaredPlatform {
    pub(super) fn example_of_call(
        &self,
        account: &ExampleAccount,
        example: &Example,
        event: &Shape,
        problems: &mut Vec<String>,
    ) -> Result<(), String> {
        let calls = Calls::new(account.bound.clone());
        let calls = calls.map_err(|problems| {
            let told: Vec<_> = problems.into_iter().map(|(key, reason)| format!("account.{key}: {reason}")).collect();
            told.join("; ")
        })?;
        let prepared = self.decoded(event)?.and_then(|event| {
            calls.prepare(
                &CallEvent {
                    trans_id: &event.trans_id,
                    name: event.call.as_deref().unwrap_or_default(),
                    args: &event.args,
                    paginate: event.reply.paginate,
                    max_pages: None,
                    published: &event.published,
                },
                example.now_ms,
            )
        });
        let prepared = match (prepared, &example.refused) {
            (Ok(prepared), None) => prepared,
            (Ok(_), Some(_)) => return Err("the event is not refused".to_owned()),
            (Err(error), refused) => return as_stated(&error, refused.as_ref()),
        };
        let token = account.token();
        let context = Context { now_ms: example.now_ms, credential: None, token: token.as_ref() };
        let request = calls.request(&prepared, 0, &context).map_err(|fault| fault.detail)?;
        account.compare(example, None, &request, problems);
        if let Some(stated) = &example.answer {
            read(&calls, &prepared, stated, token.is_some(), problems);
        }
        Ok(())
    }
}

fn read(calls: &Calls, prepared: &PreparedCall, stated: &ExampleAnswer, has_token: bool, problems: &mut Vec<String>) {
    let headers = header_map(&stated.headers);
    let http = http_answer(stated, &headers);
    let read = judge_call(&http, || calls.read(prepared, 0, &http)).map_err(|error| match error {
        DeliveryError::Halt(answer) if has_token && matches!(answer.status, Some(401 | 403 | 407)) => {
            DeliveryError::Refresh(answer)
        }
        error => error,
    });
    let (found, detail, answer) = match read {
        Ok(answer) => (class(&Ok(Receipt::default())), String::new(), *answer),
        Err(error) => {
            let code = error.answer().map(|answer| answer.code.clone()).unwrap_or_default();
            let detail = error.answer().map(|answer| format!(": {}", answer.detail)).unwrap_or_default();
            (class(&Err(error)), detail, CallAnswer { code, ..CallAnswer::default() })
        }
    };
    if found != stated.class {
        problems.push(format!("the answer is {found}, not {}{detail}", stated.class));
    }
    for (what, is, stated) in [("code", &answer.code, &stated.code), ("message", &answer.message, &stated.message)] {
        if let Some(stated) = stated.as_ref().filter(|stated| *stated != is) {
            problems.push(format!("the {what} is {is:?}, not {stated:?}"));
        }
    }
    if let Some(stated) = stated.result.as_ref().map(Shape::json).filter(|stated| *stated != answer.data) {
        problems.push(format!("the result is {}, not {stated}", answer.data));
    }
}
