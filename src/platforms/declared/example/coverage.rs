//! What the examples of a file leave out: a form of request that none shows, a class of answers that none has.

use std::collections::BTreeSet;

use super::account::ExampleAccount;
use super::call;
use crate::platforms::declared::blobs::Reader;
use crate::platforms::declared::definition::{Answer, Example};
use crate::platforms::declared::platform::DeclaredPlatform;

impl DeclaredPlatform {
    /// One line each; empty: every form of request, every call and every class of answers has an example.
    pub fn unshown(&self) -> Vec<String> {
        let definition = &self.program.definition;
        let examples = || definition.test.iter().filter(|example| example.refused.is_none());
        let forms: BTreeSet<u8> = examples().flat_map(|example| self.forms_of(example)).collect();
        let calls: BTreeSet<String> = examples().filter_map(|example| call::name(example.event.as_ref()?)).collect();
        let answers = || examples().filter_map(|example| example.answer.as_ref());
        let classes: BTreeSet<&str> = answers()
            .flat_map(|answer| answer.classes.iter().chain([&answer.class]))
            .map(String::as_str)
            .filter(|class| !class.is_empty())
            .collect();

        let no_form = (0_u8..).zip(&self.program.forms).filter(|(number, _)| !forms.contains(number));
        let mut told: Vec<String> = no_form.map(|(_, form)| format!("no example shows {}", form.key)).collect();
        let no_call = self.program.call_names.iter().filter(|name| !calls.contains(**name));
        told.extend(no_call.map(|name| format!("no example shows calls.{name}")));
        let of_calls = definition.calls.iter().filter_map(|(_, call)| call.answer.as_ref());
        let stated: BTreeSet<&str> = std::iter::once(&definition.answer).chain(of_calls).flat_map(stated).collect();
        told.extend(stated.difference(&classes).map(|class| format!("no example has an answer of the class {class}")));
        if definition.answer.items.is_some() && answers().all(|answer| answer.classes.is_empty()) {
            told.push("no example has an answer with `classes`, one for each item".to_owned());
        }
        told
    }

    /// The forms of request that an example shows; none of one that does not hold.
    fn forms_of(&self, example: &Example) -> Vec<u8> {
        let Ok(account) = ExampleAccount::new(self, example) else { return Vec::new() };
        let events = example.event.iter().chain(&example.events).filter(|event| !call::is_call(event));
        let form = |event| {
            let prepared = self.prepared(&account, event).ok()?.ok()?;
            Reader::new(prepared.item.text()?).map(|(form, _)| form)
        };
        events.filter_map(form).collect()
    }
}

/// The classes that an answer can have by its rules.
fn stated(answer: &Answer) -> Vec<&'static str> {
    let rules = [
        ("delivered", &answer.delivered),
        ("refresh", &answer.refresh),
        ("halt", &answer.halt),
        ("throttled", &answer.throttled),
        ("permanent", &answer.permanent),
        ("once_more", &answer.once_more),
        ("retry", &answer.retry),
        ("split", &answer.split),
    ];
    rules.into_iter().filter(|(_, rule)| !rule.trim().is_empty()).map(|(class, _)| class).collect()
}
