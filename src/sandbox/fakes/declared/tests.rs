//! The files that are shipped, played by this fake alone: the requests of their tests are taken, and each of them with
//! one thing wrong is refused.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::sandbox::request::{Answer, Header};

const NOW_S: i64 = 1_736_899_201;

/// A request as it arrives.
#[derive(Clone)]
struct Sent {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Sent {
    fn request(&self) -> Request {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: 127.0.0.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        Request {
            method: self.method.clone(),
            target: self.target.clone(),
            head: Bytes::from(head),
            body: Bytes::from(self.body.clone()),
        }
    }
}

/// The fake with one account, which has the keys of this test.
fn fake(file: &str, test: &Value) -> Declared {
    let file = File::parse(file).unwrap();
    let mut settings = test.get("account").cloned().unwrap_or(json!({}));
    if let Some(token) = test.get("token") {
        super::file::set(&mut settings, "token", token.clone());
    }
    let account = SandboxAccount::new("a", &file.name, settings, &[]);
    let terms = Terms::new(0, &account, &file);
    Declared::new(file, vec![terms])
}

/// The request of a test, where it states one, with the headers that its form always has.
fn sent(file: &File, test: &Value) -> Option<Sent> {
    let request = test.get("request")?;
    let text = |name: &str| request.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let url = text("url");
    let target = url.splitn(4, '/').nth(3).map(|rest| format!("/{rest}")).unwrap_or_default();
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in test.get("headers").and_then(Value::as_object).into_iter().flatten() {
        headers.push((name.clone(), value.as_str().unwrap().to_owned()));
    }
    for (name, template) in file.forms.iter().flat_map(|form| &form.headers) {
        if let template::Template::Text(text) = template
            && !text.is_empty()
            && !headers.iter().any(|(known, _)| known == name)
        {
            headers.push((name.clone(), text.clone()));
        }
    }
    let token = test.pointer("/account/access_token").and_then(Value::as_str);
    if let Some(token) = token.filter(|_| !headers.iter().any(|(name, _)| name == "Access-Token")) {
        headers.push(("Access-Token".to_owned(), token.to_owned()));
    }
    Some(Sent { method: text("method"), target, headers, body: text("body") })
}

/// Every test of a shipped file that states a request.
fn all() -> Vec<(&'static str, File, Value, Sent)> {
    let mut found = Vec::new();
    for text in SHIPPED {
        for test in &File::parse(text).unwrap().tests {
            let file = File::parse(text).unwrap();
            if let Some(sent) = sent(&file, test) {
                found.push((text, file, test.clone(), sent));
            }
        }
    }
    found
}

fn judge(fake: &Declared, sent: &Sent) -> Judgement {
    fake.judge(&sent.request(), NOW_S).unwrap_or_else(|| panic!("no endpoint: {}", sent.target))
}

fn problem(judged: &Judgement) -> Option<String> {
    match &judged.verdict {
        Err(refusal) => Some(refusal.problem.clone()),
        Ok(_) => judged.items.iter().find_map(|item| item.problem.clone()),
    }
}

fn refusal(judged: &Judgement) -> (&Answer, &str) {
    match &judged.verdict {
        Err(refusal) => (&refusal.answer, &refusal.problem),
        Ok(answer) => panic!("taken: {answer:?}"),
    }
}

#[test]
fn the_request_of_every_test_in_a_shipped_file_is_taken() {
    let all = all();
    assert!(all.len() >= 18, "{}", all.len());
    for (text, file, test, sent) in all {
        let judged = judge(&fake(text, &test), &sent);
        assert_eq!(problem(&judged), None, "{} {test:#}", file.name);
        let events = test.get("events").and_then(Value::as_array).map_or(1, Vec::len);
        assert_eq!(judged.items.len(), events, "{}", file.name);
        let known =
            judged.items.iter().all(|item| item.trans_id.is_some() || item.ids.iter().any(|(_, v)| v.is_some()));
        assert!(
            known || sent.method == "GET" || !file.forms.iter().all(|f| f.hosts.is_empty()),
            "{}: nothing to know it by",
            file.name
        );
    }
}

#[test]
fn every_expression_and_signature_of_a_shipped_file_can_be_read() {
    for text in SHIPPED {
        let file = File::parse(text).unwrap();
        for form in file.forms.iter().chain(file.token.as_ref().map(|token| &token.form)) {
            let mut templates: Vec<&template::Template> = vec![&form.url];
            templates.extend(form.query.iter().chain(&form.headers).map(|(_, template)| template));
            templates.extend(form.sign.as_ref().map(|sign| &sign.value));
            for template in templates {
                assert!(!matches!(template, template::Template::Unread(_)), "{}: {template:?}", file.name);
            }
        }
    }
}

#[test]
fn a_request_with_one_part_missing_altered_or_added_is_refused() {
    for (text, file, test, sent) in all() {
        let fake = fake(text, &test);
        let mut wrong: Vec<(String, Sent)> = Vec::new();
        let mut plant = |what: String, edit: &dyn Fn(&mut Sent)| {
            let mut other = sent.clone();
            edit(&mut other);
            wrong.push((what, other));
        };
        plant("method".into(), &|sent| sent.method = "PUT".into());
        let (path, query) = sent.target.split_once('?').map_or((&*sent.target, ""), |(path, query)| (path, query));
        let pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        let callback =
            file.forms.iter().any(|form| !form.hosts.is_empty()) && test.pointer("/event/click/logid_url").is_none();
        for n in 0..pairs.len() {
            // An order and its amount may or may not be there, and a callback has a query of its own.
            if callback && !pairs[n].starts_with("sign=")
                || pairs[n].starts_with("purchase_amount")
                || pairs[n].starts_with("props")
            {
                continue;
            }
            let mut left = pairs.clone();
            let gone = left.remove(n);
            plant(format!("without {gone}"), &|sent| sent.target = format!("{path}?{}", left.join("&")));
            plant(format!("twice {gone}"), &|sent| sent.target = format!("{}&{gone}", sent.target));
        }
        if !pairs.is_empty() && !callback {
            plant("a parameter more".into(), &|sent| sent.target.push_str("&surplus=1"));
        }
        for n in 0..sent.headers.len() {
            let needed = file.forms.iter().any(|form| {
                form.headers.iter().any(|(name, _)| *name == sent.headers[n].0)
                    || form.sign.as_ref().is_some_and(|sign| sign.header == sent.headers[n].0)
            });
            if needed && !sent.method.starts_with("GET") {
                plant(format!("without {}", sent.headers[n].0), &|sent| _ = sent.headers.remove(n));
                plant(format!("other {}", sent.headers[n].0), &|sent| sent.headers[n].1.push('0'));
            }
        }
        if let Ok(body) = serde_json::from_str::<Value>(&sent.body)
            && !matches!(file.forms[0].body, super::file::Body::Text(_))
        {
            for name in body.as_object().unwrap().keys() {
                if name != "test_event_code" && name != "properties" {
                    let mut other = body.clone();
                    other.as_object_mut().unwrap().remove(name);
                    plant(format!("without {name}"), &|sent| sent.body = other.to_string());
                }
            }
            let mut other = body.clone();
            other["surplus"] = json!(1);
            plant("a member more".into(), &|sent| sent.body = other.to_string());
        }
        if sent.method == "POST" {
            plant("no JSON".into(), &|sent| sent.body.push('}'));
        } else {
            plant("a body".into(), &|sent| sent.body = "x".into());
        }
        for (what, other) in wrong {
            let judged = judge(&fake, &other);
            assert!(problem(&judged).is_some(), "{} {what}: {} {}", file.name, other.target, other.body);
        }
    }
}

/// The request of the n-th test of a file, and its fake.
fn nth(name: &str, n: usize) -> (Declared, Sent, Value) {
    let mut of_name = all().into_iter().filter(|(_, file, ..)| file.name == name);
    let (text, _, test, sent) = of_name.nth(n).unwrap();
    (fake(text, &test), sent, test)
}

fn edited(sent: &Sent, from: &str, to: &str) -> Sent {
    let (mut sent, before) = (sent.clone(), format!("{}{}", sent.target, sent.body));
    sent.target = sent.target.replace(from, to);
    sent.body = sent.body.replace(from, to);
    assert_ne!(format!("{}{}", sent.target, sent.body), before, "{from} is not in it");
    sent
}

#[test]
fn amounts_times_and_digests_have_the_form_that_the_file_states() {
    let rows = [
        ("kuaishou", 0, "purchase_amount=23.45", "purchase_amount=23.4", "yuan"),
        ("kuaishou", 0, "purchase_amount=23.45", "purchase_amount=-1.00", "yuan"),
        ("kuaishou", 0, "&purchase_amount=23.45", "", "order.amount: missing"),
        ("kuaishou", 0, "event_type=3", "event_type=pay", "is no event"),
        ("oceanengine", 1, "\"pay_amount\":2345", "\"pay_amount\":23.45", "fen"),
        ("oceanengine", 1, "\"pay_amount\":2345", "\"pay_amount\":-1", "fen"),
        ("oceanengine", 3, "conv_time=1736899200", "conv_time=1736899200123", "seconds"),
        ("meta", 0, "\"event_time\":1736899200", "\"event_time\":1736899200123", "seconds"),
        ("tencent_ads", 1, "e0faf3bf", "E0FAF3BF", "md5"),
        ("meta", 0, "\"value\":23.45", "\"value\":-23.45", "decimal"),
        ("baidu", 0, "bd_vid", "vid", "click.logid_url: the landing URL"),
        ("baidu", 0, "\"outerEventType\":\"custom_dedup\"", "\"outerEventType\":\"other\"", "outerEventType"),
        ("tencent_ads", 0, "timestamp=1736899201", "timestamp=1736890000", "seconds"),
        ("tencent_ads", 1, "\"custom_action\":\"LEVEL_5\",", "", "custom_action"),
        ("tencent_ads", 1, "\"wechat_app_id\":\"wx1\",", "", "user.wechat.app_id: missing"),
        ("tencent_ads", 0, "\"trace\":{\"click_id\":\"wx0abc\"},", "", "click.gdt_click_id: missing"),
    ];
    for (name, n, from, to, said) in rows {
        let (fake, sent, _) = nth(name, n);
        let judged = judge(&fake, &edited(&sent, from, to));
        let found = problem(&judged).unwrap_or_else(|| panic!("{name} {to} is taken"));
        assert!(found.contains(said), "{name} {to}: {found}");
    }
}

#[test]
fn a_signature_is_computed_over_the_bytes_that_arrive() {
    let (fake, sent, _) = nth("oceanengine", 0);
    let spaced = edited(&sent, "\"event_type\":", "\"event_type\": ");
    let judged = judge(&fake, &spaced);
    assert_eq!(refusal(&judged).1, "header x-signature: not the signature of this request");
    let (fake, sent, _) = nth("baidu", 3);
    let judged = judge(&fake, &edited(&sent, "a_value=1230", "a_value=1"));
    let (answer, problem) = refusal(&judged);
    assert_eq!(problem, "query sign: not the signature of this request");
    assert_eq!(answer.body, r#"{"error_code":100,"error_msg":"sign"}"#, "the platform's own words");
    let (fake, sent, _) = nth("webhook", 0);
    let mut other = sent.clone();
    other
        .headers
        .iter_mut()
        .filter(|(name, _)| name == "webhook-timestamp")
        .for_each(|(_, v)| *v = "1736899202".into());
    assert!(refusal(&judge(&fake, &other)).1.starts_with("header webhook-signature"));
}

#[test]
fn a_batch_with_one_bad_event_has_an_entry_for_each_and_the_answer_names_the_bad_one() {
    let (fake, sent, _) = nth("baidu", 1);
    let judged = judge(&fake, &edited(&sent, "\"newType\":25", "\"newType\":\"register\""));
    let entries: Vec<_> = judged.items.iter().map(|item| (item.trans_id.as_deref(), item.problem.is_some())).collect();
    assert_eq!(entries, [(Some("bd-2"), false), (Some("bd-3"), true)]);
    let Ok(answer) = judged.verdict else { panic!("{judged:?}") };
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&body["header"]["status"], &body["header"]["errors"][0]["position"]), (&json!(1), &json!(1)));
    assert_eq!(body["header"]["errors"].as_array().unwrap().len(), 1);
    // Where the platform has no word for one event, the whole is refused.
    let (fake, sent, _) = nth("meta", 1);
    let judged = judge(&fake, &edited(&sent, "\"event_id\":\"meta-3\",", ""));
    assert!(refusal(&judged).1.contains("event_id: missing"));
    assert_eq!(refusal(&judged).0.status, 400);
}

#[test]
fn a_batch_has_no_more_events_than_the_file_states() {
    let (fake, sent, _) = nth("tencent_ads", 0);
    let mut body: Value = serde_json::from_str(&sent.body).unwrap();
    let one = body["actions"][0].clone();
    for (count, taken) in [(50, true), (51, false)] {
        body["actions"] = Value::Array(vec![one.clone(); count]);
        let judged = judge(&fake, &Sent { body: body.to_string(), ..sent.clone() });
        assert_eq!(problem(&judged).is_none(), taken, "{count}");
    }
}

#[test]
fn the_account_is_found_by_its_keys_and_a_stranger_is_nobody() {
    let accounts: Vec<SandboxAccount> = ["one", "two"]
        .into_iter()
        .map(|name| {
            let keys = json!({"account_id": 20001, "user_action_set_id": 30001, "access_token": format!("tx-{name}")});
            SandboxAccount::new(name, "tencent_ads", keys, &[])
        })
        .collect();
    let fakes = open(&accounts).unwrap();
    let (_, sent, _) = nth("tencent_ads", 0);
    for (token, expected) in [("tx-one", Some(0)), ("tx-two", Some(1)), ("tx-three", None)] {
        let judged = fakes[0].judge(&edited(&sent, "tx-synthetic", token).request(), NOW_S).unwrap();
        assert_eq!((judged.account, judged.verdict.is_ok()), (expected, expected.is_some()), "{token}");
    }
}

fn token_request(refresh: &str) -> Sent {
    let query = format!("client_id=c1&client_secret=s1&grant_type=refresh_token&refresh_token={refresh}");
    Sent { method: "GET".into(), target: format!("/oauth/token?{query}"), headers: Vec::new(), body: String::new() }
}

#[test]
fn tokens_are_issued_once_per_refresh_token_and_expire_where_a_fault_says_so() {
    let keys = json!({"account_id": 20001, "user_action_set_id": 30001, "token":
        {"access": "at-1", "refresh": "rt-1", "client_id": "c1", "client_secret": "s1"}});
    let fake = open(&[SandboxAccount::new("a", "tencent_ads", keys, &[])]).unwrap().remove(0);
    let (_, sent, _) = nth("tencent_ads", 0);
    let with = |token: &str| edited(&sent, "tx-synthetic", token).request();
    assert!(fake.judge(&with("at-1"), NOW_S).unwrap().verdict.is_ok());
    fake.expire_tokens(0);
    let judged = fake.judge(&with("at-1"), NOW_S).unwrap();
    assert_eq!(refusal(&judged), (&Answer::json(200, r#"{"code":11002,"message":"x"}"#), "token: expired"));
    assert!(fake.judge(&token_request("rt-2").request(), NOW_S).unwrap().verdict.is_err(), "not issued");
    let issued = fake.judge(&token_request("rt-1").request(), NOW_S).unwrap();
    assert_eq!((issued.account, issued.conversion), (Some(0), false));
    let body: Value = serde_json::from_slice(&issued.verdict.unwrap().body).unwrap();
    assert_eq!((&body["code"], &body["data"]["access_token_expires_in"]), (&json!(0), &json!(7200)));
    let access = body["data"]["access_token"].as_str().unwrap();
    assert!(fake.judge(&with(access), NOW_S).unwrap().verdict.is_ok());
    assert!(fake.judge(&with(access), NOW_S + 7200).unwrap().verdict.is_err(), "past its end");
    let again = fake.judge(&token_request("rt-1").request(), NOW_S).unwrap();
    let (answer, said) = refusal(&again);
    assert!(said.contains("used before"), "{said}");
    assert_eq!(answer.body, r#"{"code":11007}"#, "a body that the file takes for a refusal");
}

#[test]
fn a_code_is_answered_in_the_platforms_own_words() {
    let rows = [
        ("kuaishou", json!(11), r#"{"result":11,"error_msg":"callbackinfo decoded failure"}"#),
        ("kuaishou", json!(77), r#"{"error_msg":"callbackinfo decoded failure","result":77}"#),
        ("tiktok", json!(40100), r#"{"code":40100,"message":"Requests made too frequently"}"#),
        ("baidu", json!(4), r#"{"header":{"status":4,"desc":"server"}}"#),
    ];
    for (name, code, body) in rows {
        assert_eq!(nth(name, 0).0.body_of(&code).as_deref(), Some(body), "{name}");
    }
    assert_eq!(nth("kuaishou", 0).0.body_of(&json!({"x": 1})), None);
    assert_eq!(nth("kuaishou", 0).0.body_of(&json!("busy, later")), None);
}

#[test]
fn headers_are_found_in_what_a_test_sends() {
    let request =
        Sent { method: "GET".into(), target: "/".into(), headers: vec![("A".into(), "1".into())], body: String::new() };
    assert_eq!(request.request().header("a"), Header::Once(b"1"));
}

const KUAIDI100: &str = include_str!("../../../../config/examples/platforms/kuaidi100.toml");

#[test]
fn a_call_is_judged_by_its_own_rules_and_answered_in_its_own_words() {
    let file = File::parse(KUAIDI100).unwrap();
    let with_requests: Vec<_> = file.tests.iter().filter_map(|test| Some((test, sent(&file, test)?))).collect();
    assert_eq!(with_requests.len(), 2);
    for (test, sent) in &with_requests {
        let judged = judge(&fake(KUAIDI100, test), sent);
        assert_eq!((problem(&judged), judged.conversion), (None, false));
        assert_eq!(judged.items[0].event.as_deref(), Some("kdniao.track_query"));
        assert!(judged.verdict.unwrap().body.starts_with(br#"{"message":"ok""#));
    }
    let (test, sent) = &with_requests[0];
    let fake = fake(KUAIDI100, test);
    let rows = [
        ("73100123456783", "73100123456784", "form sign: not the signature of this request", "503"),
        ("customer=CUSTOMER-1", "customer=CUSTOMER-2", "form customer: is not the account's", "503"),
        ("&sign=", "&more=1&sign=", "form more: is unknown", "400"),
    ];
    for (from, to, said, code) in rows {
        let judged = judge(&fake, &edited(sent, from, to));
        let (answer, problem) = refusal(&judged);
        assert!(problem.contains(said), "{problem}");
        assert!(String::from_utf8_lossy(&answer.body).contains(code), "{to}: {answer:?}");
    }
    assert_eq!(
        fake.body_of(&json!("502")).as_deref(),
        Some(r#"{"result":false,"returnCode":"502","message":"服务器繁忙"}"#)
    );
}

#[test]
fn a_callback_whose_url_the_file_states_goes_to_the_path_of_the_account() {
    let (mut fake, sent, _) = nth("oceanengine", 3);
    fake.accounts[0].path = Some("/other/".to_owned());
    let is_taken = |sent: &Sent| fake.judge(&sent.request(), NOW_S).is_some();
    assert!(is_taken(&edited(&sent, "/track/activate/", "/other/")));
    assert!(!is_taken(&sent));
}

#[test]
fn a_path_may_hold_what_an_event_brings() {
    let keys = json!({"app": "a1"});
    let known = evaluate::Known::new(&keys);
    let leads = |template: &str, path: &str| template::Template::parse(template).leads_to(&known, path);
    for (template, path, expected) in [
        ("/v1/x", "/v1/x", true),
        ("/v1/x", "/v1/y", false),
        ("/{{ account.app }}/x?a=1", "/a1/x", true),
        ("/v1/{{ event.args.number }}", "/v1/7310", true),
        ("/v1/{{ event.args.number }}", "/v1/", false),
        ("/v1/{{ event.args.number }}", "/v1/7/8", false),
        ("/{{ account.app }}/{{ event.args.n | urlencode }}/traces", "/a1/7%2F/traces", true),
        ("/{{ account.app }}/{{ event.args.n | urlencode }}/traces", "/a2/7/traces", false),
        ("/v1/{{ event.args.n }}?a=1", "/v1/7", true),
        ("/v1/{{ event.args.n }}?a=1", "/v1/7/8", false),
        ("/v1/{{ event.args.n }}.json?a=1", "/v1/7.json", true),
        ("/v1/{{ event.args.n }}.json", "/v1/7.xml", false),
    ] {
        assert_eq!(leads(template, path), expected, "{template} {path}");
    }
}
