//! What the sender sends is what the strict fake takes, in every variant, and what the fake answers is read as what it
//! means.

use super::*;
use crate::platforms::call::ItemStatus;
use crate::sandbox::{Directory, Request as Received, SandboxAccount};

/// A platform that agreed on these terms.
fn platform(text: &str) -> Directory {
    let text = format!("open_id = '{OPEN_ID}'\ntoken.access = '{TOKEN}'\n{text}");
    let settings = Value::Object(keys::agreed(&config(&text)));
    Directory::new(vec![SandboxAccount::new("acme", "solinkup", settings, &[(KEY, SECRET)])]).unwrap()
}

/// The status, the body and the problem of what a request is answered with.
fn sent(platform: &Directory, request: &Request) -> (u16, Vec<u8>, String) {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let received = Received {
        method: request.method.into(),
        target: request.path.to_string(),
        head: head.into(),
        body: request.body.clone(),
    };
    let (judgement, _) = platform.judge(&received, NOW / 1000);
    let (answer, problem) = match judgement.verdict {
        Ok(answer) => (answer, String::new()),
        Err(refusal) => (refusal.answer, refusal.problem),
    };
    (answer.status, answer.body.to_vec(), problem)
}

fn asked(account: &Solinkup, platform: &Directory, call: &PreparedCall, part: u64) -> CallAnswer {
    let (status, body, problem) = sent(platform, &request(account, call, part));
    assert_eq!(problem, "", "{}", call.name);
    match account.read(
        call,
        part,
        &HttpAnswer { status, retry_after: None, headers: Headers::default(), body: &body, now_ms: NOW },
    ) {
        CallReading::Answer(answer) => *answer,
        other => panic!("{}: {other:?}", call.name),
    }
}

#[test]
fn every_call_in_every_variant_of_the_signature_is_taken_and_answered() {
    let all = [
        ("template.list", json!({})),
        ("template.delete_flows", json!({"parentTemplateId": "p"})),
        ("doudian.auth_info", json!({})),
        ("doudian.order_list", orders()),
        ("doudian.order_detail", json!({"orderId": "1"})),
        ("doudian.decrypt", ciphers(3)),
        ("qianchuan.advertiser_report", report()),
        ("qianchuan.ad_report", report()),
    ];
    let mut variants = vec![
        "sign = { trigger = false }".to_owned(),
        "sign = { send_sign_method = false }".to_owned(),
        "sign = { profile = 'text', send_sign_method = true, extra_params = ['size', 'cipher_infos', 'filtering'] }"
            .to_owned(),
        "call.template.list.common_params = ['appKey', 'timestamp', 'version', 'signMethod']".to_owned(),
    ];
    for profile in ["demo", "text"] {
        for label in ["version", "v"] {
            for algorithm in ["md5", "hmac-sha256", "sha256"] {
                let text = format!("profile = '{profile}', version_label = '{label}', algorithm = '{algorithm}'");
                variants.push(format!("sign = {{ {text} }}"));
            }
        }
    }
    assert_eq!(variants.len(), 16);
    for variant in &variants {
        let text = format!("allow_destructive = true\n{variant}");
        let (account, platform) = (account(&text), platform(&text));
        for (name, args) in &all {
            asked(&account, &platform, &prepared(&account, name, args), 0);
        }
    }
}

#[test]
fn a_variant_that_was_not_agreed_is_refused_and_halts() {
    let platform = platform("");
    for other in ["algorithm = 'sha256'", "version_label = 'v'"] {
        let account = account(&format!("sign = {{ {other}, send_sign_method = true }}"));
        let call = prepared(&account, "template.list", &json!({}));
        let (status, body, problem) = sent(&platform, &request(&account, &call, 0));
        assert!(problem.contains("sign"), "{other}: {problem}");
        let http = HttpAnswer { status, retry_after: None, headers: Headers::default(), body: &body, now_ms: NOW };
        let CallReading::Failed(error) = account.read(&call, 0, &http) else { panic!("{other}") };
        assert_eq!(error.class(), Some(Class::Halt), "{other}");
    }
}

#[test]
fn all_pages_and_all_chunks_are_fetched() {
    let (account, platform) = (account(""), platform(""));
    let call = prepare_as(&account, "doudian.order_list", &orders(), Paginate::All).unwrap();
    let (mut part, mut ids) = (0, Vec::new());
    loop {
        let answer = asked(&account, &platform, &call, part);
        ids.extend(answer.data["shop_order_list"].as_array().unwrap().iter().map(|o| o["order_id"].to_string()));
        part += 1;
        if !answer.more {
            break;
        }
    }
    ids.dedup();
    assert_eq!((part, ids.len()), (3, 230));

    let call = prepare_as(&account, "qianchuan.ad_report", &report(), Paginate::All).unwrap();
    let more: Vec<bool> = (0..3).map(|part| asked(&account, &platform, &call, part).more).collect();
    assert_eq!(more, [true, true, false]);

    let mut args = ciphers(120);
    args["cipher_infos"][77]["auth_id"] = json!("closed-77");
    let call = prepared(&account, "doudian.decrypt", &args);
    let items: Vec<_> = (0..3).flat_map(|part| asked(&account, &platform, &call, part).items.unwrap()).collect();
    assert_eq!(items.len(), 120);
    for (n, item) in items.iter().enumerate() {
        assert_eq!(item.index, n as u64);
        assert_eq!(item.auth_id.as_deref(), args["cipher_infos"][n]["auth_id"].as_str(), "in the order of the event");
        assert_eq!(item.status, if n == 77 { ItemStatus::Error } else { ItemStatus::Ok });
    }
    assert_eq!(items[77].code, "200001");
}

#[test]
fn the_probe_tries_six_variants_and_stops_where_one_is_taken() {
    for (n, (label, algorithm)) in
        [("version", "md5"), ("v", "sha256"), ("version", "hmac-sha256"), ("v", "md5")].into_iter().enumerate()
    {
        let platform = platform(&format!("sign = {{ version_label = '{label}', algorithm = '{algorithm}' }}"));
        let account = account("");
        let probe = account.probe().unwrap();
        assert_eq!(probe.variants().len(), 6);
        let credential = credential();
        let context = Context { now_ms: NOW, credential: Some(&credential), token: None };
        let reading = |variant: usize| {
            let (status, body, _) = sent(&platform, &probe.request(variant, &context).unwrap());
            probe.read(&HttpAnswer { status, retry_after: None, headers: Headers::default(), body: &body, now_ms: NOW })
        };
        let accepted: Vec<usize> =
            (0..6).filter(|variant| reading(*variant) == crate::platforms::probe::ProbeReading::Accepted).collect();
        let [accepted] = accepted[..] else { panic!("{n}: {accepted:?}") };
        let keys: Vec<_> = probe.variants()[accepted].keys.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let (label, algorithm) = (format!("\"{label}\""), format!("\"{algorithm}\""));
        assert_eq!(keys, [("sign.version_label", &*label), ("sign.algorithm", &*algorithm)]);
    }
    // What is configured is tried first.
    let configured = account("sign = { version_label = 'v', algorithm = 'sha256' }");
    assert_eq!(configured.probe().unwrap().variants()[0].keys[1].1, "\"sha256\"");
}

#[test]
fn a_probe_with_a_wrong_clock_says_so_instead_of_trying_on() {
    let (account, platform) = (account(""), platform(""));
    let credential = credential();
    let context = Context { now_ms: NOW - 600_000, credential: Some(&credential), token: None };
    let (status, body, _) = sent(&platform, &account.probe().unwrap().request(0, &context).unwrap());
    let http = HttpAnswer { status, retry_after: None, headers: Headers::default(), body: &body, now_ms: NOW };
    let reading = account.probe().unwrap().read(&http);
    assert!(matches!(reading, crate::platforms::probe::ProbeReading::Failed(_)), "{reading:?}");
}
