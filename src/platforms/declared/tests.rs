use super::*;

const KUAISHOU: &str = r#"
name = "ks"
title = "快手"
base_url = "https://ad.example.com"
[account.keys]
access_token = { secret = true, required = true }
header_style = { values = ["underscore", "hyphen"], default = "underscore" }
[events]
install = 1
pay = 3
[require]
"click.ks_callback" = "true"
"order.amount" = "native in [3]"
[[request]]
method = "GET"
url = "/track/activate"
query = { event_type = "{{ native }}", callback = "{{ event.click.ks_callback }}", v = 1 }
[batch]
max_items = 50
max_bytes = "50KiB"
item = { b = "{{ native }}", a = [1, "x", { c = true }] }
[answer]
delivered = "status == 200 and body.result == 1"
[answer.items]
at = "body.errors"
index = "position"
index_base = 1
unmentioned = "delivered"
"#;

/// What the fuzz begins with.
const FILES_TO_BREAK: &[&str] =
    &[KUAISHOU, requests::WEBHOOK, requests::BATCH, requests::CALLBACK, requests::TOKENS, calls::TRACKER, KUAIDI100];

fn problems(text: &str) -> Vec<String> {
    definition("p.toml", text).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

#[test]
fn tables_keep_the_order_in_which_they_are_written() {
    let read = definition("p.toml", KUAISHOU).unwrap_or_else(|found| panic!("{found}"));
    let query: Vec<_> = read.request[0].query.iter().map(|(name, value)| (name, value.0.as_str())).collect();
    let expected = [("event_type", "{{ native }}"), ("callback", "{{ event.click.ks_callback }}"), ("v", "1")];
    assert_eq!(query, expected);
    let require: Vec<_> = read.require.iter().map(|(path, _)| path).collect();
    assert_eq!(require, ["click.ks_callback", "order.amount"]);
    let batch = read.batch.unwrap();
    assert_eq!((batch.max_items, batch.max_bytes), (50, 50 << 10));
    let Some(Shape::Table(item)) = batch.item else { panic!("no table") };
    assert_eq!(item.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    let items = read.answer.items.unwrap();
    assert_eq!((items.index_base.0.as_str(), items.unmentioned), ("1", Unmentioned::Delivered));
    assert_eq!(read.events.get("install"), Some(&Native::Integer(1)));
    assert!(read.account.keys.get("access_token").is_some_and(|key| key.secret && key.required));
}

#[test]
fn every_problem_of_a_file_is_told_with_its_line_and_key() {
    let text = "nmae = \"x\"\ntitle = 5\nbase_url = \"http://a\"\n[[request]]\nmethod = \"GET\"\nqurey = {}\n\
                [batch]\nmax_items = 0\n[answer.items]\nunmentioned = \"lost\"\n[events]\npay = []";
    assert_eq!(
        problems(text),
        [
            "p.toml: name: is missing",
            "p.toml:1: nmae: is no key of this table; did you mean `name`?",
            "p.toml:2: title: has to be a string in quotes",
            "p.toml:3: base_url: has to be an address that begins with https:// and does not end with /",
            "p.toml:6: request.0.qurey: is no key of this table; did you mean `query`?",
            "p.toml:8: batch.max_items: has to be a whole number from 1 to 10000, not 0",
            "p.toml:10: answer.items.unmentioned: has to be \"ambiguous\" or \"delivered\", not \"lost\"",
            "p.toml:12: events.pay: has to be a text, a number, true or false, not a list",
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_says_where() {
    let told = problems("name = \"x\"\ntitle = ");
    assert!(told.len() == 1 && told[0].starts_with("p.toml:2: is not TOML: "), "{told:?}");
}

#[test]
fn a_file_that_is_read_again_is_the_same_platform_and_a_changed_one_is_gone_with_its_last_account() {
    let text = requests::WEBHOOK.replace("title = ", "# Changed.\ntitle = ");
    let platform = load("p.toml", &text).unwrap_or_else(|found| panic!("{found}"));
    assert!(std::sync::Arc::ptr_eq(&platform, &load("q.toml", &text).unwrap()));
    let program = std::sync::Arc::downgrade(&platform.program);
    let sender = account::sender(&text, "secret = \"s\"");
    drop(platform);
    assert!(program.upgrade().is_some(), "an account sends by it");
    drop(sender);
    assert!(program.upgrade().is_none());
}

mod account;
mod answers;
mod calls;
mod conditions;
mod fuzz;
mod problems;
mod requests;

/// A user's own file, written from the description of the platform alone.
const GA4: &str = include_str!("../../../config/examples/platforms/ga4.toml");
/// A user's own file that answers calls.
const KUAIDI100: &str = include_str!("../../../config/examples/platforms/kuaidi100.toml");

#[test]
fn the_examples_of_every_shipped_file_hold() {
    let own = [("ga4.toml", GA4), ("kuaidi100.toml", KUAIDI100)]
        .map(|(file, text)| load(file, text).unwrap_or_else(|found| panic!("{found}")));
    for platform in crate::platforms::list::shipped().cloned().chain(own) {
        let outcomes = platform.examples();
        assert_eq!(platform.unshown(), Vec::<String>::new(), "{}", platform.program.name);
        let wrong: Vec<_> = outcomes
            .iter()
            .filter(|outcome| !outcome.problems.is_empty())
            .map(|outcome| format!("{} {}: {}", platform.program.name, outcome.number, outcome.problems.join("; ")))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn what_the_examples_of_a_file_leave_out_is_told() {
    let platform = load("p.toml", requests::CALLBACK).unwrap_or_else(|found| panic!("{found}"));
    let told = platform.unshown();
    assert!(told.contains(&"no example shows request.0".to_owned()), "{told:?}");
    assert!(told.contains(&"no example has an answer of the class delivered".to_owned()), "{told:?}");
    let batches = load("p.toml", answers::PLATFORM).unwrap_or_else(|found| panic!("{found}"));
    let told = batches.unshown();
    assert!(told.contains(&"no example has an answer with `classes`, one for each item".to_owned()), "{told:?}");
    let tracker = load("p.toml", calls::TRACKER).unwrap_or_else(|found| panic!("{found}"));
    assert!(
        tracker.unshown().iter().any(|what| what.starts_with("no example shows calls.")),
        "{:?}",
        tracker.unshown()
    );
}
