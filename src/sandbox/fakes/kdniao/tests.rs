use super::*;

const ID: &str = "1237100";
const KEY: &str = "56da2cf8-c8a2-44b2-b6fa-476cd7d1ba17";
const QUERY: &str = "/Ebusiness/EbusinessOrderHandle.aspx";
const DIST: &str = "/api/dist";
/// 2025-01-15 00:00 in Shanghai.
const MIDNIGHT: i64 = 1_736_870_400;

fn fake(settings: Value) -> Box<dyn Fake> {
    open(&[(0, &SandboxAccount::new("a", NAME, settings, &[(ID, KEY)]))]).unwrap()
}

/// What `printf %s "$DATA$KEY" | md5sum` prints, in base64: the vectors kdn-01 and kdn-03 hold two of these.
fn sign(data: &str, key: &str) -> String {
    use base64::Engine as _;
    use md5::{Digest, Md5};
    let hex: String = Md5::digest(format!("{data}{key}")).iter().map(|byte| format!("{byte:02x}")).collect();
    base64::engine::general_purpose::STANDARD.encode(hex)
}

fn encoded(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn post(target: &str, body: String) -> Request {
    let kind = "application/x-www-form-urlencoded;charset=utf-8";
    Request {
        method: "POST".to_owned(),
        target: target.to_owned(),
        head: format!("POST {target} HTTP/1.1\r\nContent-Type: {kind}\r\n\r\n").into(),
        body: body.into(),
    }
}

fn form(data: &str, kind: &str, sign: &str) -> String {
    let fields =
        [("RequestData", data), ("EBusinessID", ID), ("RequestType", kind), ("DataSign", sign), ("DataType", "2")];
    encoded(&fields)
}

fn signed(target: &str, kind: &str, data: &str) -> Request {
    post(target, form(data, kind, &sign(data, KEY)))
}

/// The body of the answer, and the problem in the ledger.
fn outcome(fake: &dyn Fake, request: &Request, now: i64) -> (Value, String) {
    let judgement = fake.judge(request, now).unwrap();
    match judgement.verdict {
        Ok(answer) => (serde_json::from_slice(&answer.body).unwrap(), String::new()),
        Err(refusal) => (serde_json::from_slice(&refusal.answer.body).unwrap_or_default(), refusal.problem),
    }
}

fn problem(request: &Request) -> String {
    let (body, problem) = outcome(&*fake(json!({})), request, MIDNIGHT);
    assert_eq!(body["Success"] == true, problem.is_empty(), "{body}");
    problem
}

#[test]
fn the_last_digit_of_a_waybill_is_its_state() {
    for (digit, state, traces) in
        [("0", "0", 0), ("1", "1", 1), ("2", "2", 3), ("3", "3", 4), ("4", "4", 4), ("7", "2", 3)]
    {
        let data = format!(r#"{{"OrderCode":"","ShipperCode":"ZTO","LogisticCode":"7310012345678{digit}"}}"#);
        let (body, _) = outcome(&*fake(json!({})), &signed(QUERY, "1002", &data), MIDNIGHT);
        assert_eq!((&body["State"], body["Traces"].as_array().unwrap().len()), (&json!(state), traces));
        assert!(body.get("StateEx").is_none() && body["Success"] == true);
        assert_eq!(body.get("Reason").is_some(), digit == "0");
        let (paid, _) = outcome(&*fake(json!({})), &signed(QUERY, "8001", &data), MIDNIGHT);
        assert!(paid["StateEx"].as_str().unwrap().starts_with(state));
        assert!(
            paid["Traces"].as_array().unwrap().iter().all(|t| t["Action"].is_string() && t["Location"].is_string())
        );
    }
}

#[test]
fn a_request_that_the_specification_rejects_is_refused() {
    let good = r#"{"OrderCode":"","ShipperCode":"SF","LogisticCode":"118954907573","CustomerName":"1234"}"#;
    assert_eq!(problem(&signed(QUERY, "1002", good)), "");
    assert_eq!(problem(&signed(DIST, "1008", good)), "");
    let fields = |skip: &str, more: &[(&'static str, &'static str)]| {
        let sign = sign(good, KEY);
        let all = [
            ("RequestData", good),
            ("EBusinessID", ID),
            ("RequestType", "1002"),
            ("DataSign", &sign),
            ("DataType", "2"),
        ];
        let mut kept: Vec<_> = all.into_iter().filter(|(name, _)| *name != skip).collect();
        kept.extend_from_slice(more);
        post(QUERY, encoded(&kept))
    };
    for (request, expected) in [
        (fields("RequestData", &[]), "RequestData: missing"),
        (fields("EBusinessID", &[]), "EBusinessID: missing"),
        (fields("RequestType", &[]), "RequestType: missing"),
        (fields("DataSign", &[]), "DataSign: missing"),
        (fields("DataType", &[]), "DataType: missing"),
        (fields("DataType", &[("DataType", "1")]), "DataType: not 2"),
        (fields("", &[("DataType", "2")]), "DataType: unknown, or sent more than once"),
        (fields("", &[("APIKey", "x")]), "APIKey: unknown, or sent more than once"),
        (fields("EBusinessID", &[("EBusinessID", "7")]), "EBusinessID: belongs to no account"),
        (fields("DataSign", &[("DataSign", "x")]), "DataSign: not the signature of this RequestData"),
        (post(QUERY, "a".into()), "urlencoded: a pair without `=`"),
        (signed(QUERY, "1008", good), "RequestType: unknown at this address"),
        (signed(DIST, "1002", good), "RequestType: unknown at this address"),
        (signed(QUERY, "2002", good), "RequestType: unknown at this address"),
    ] {
        assert_eq!(problem(&request), expected);
    }
    let mut get = signed(QUERY, "1002", good);
    get.method = "GET".to_owned();
    assert_eq!(problem(&get), "method: POST only");
    let mut plain = signed(QUERY, "1002", good);
    plain.head = "POST / HTTP/1.1\r\nContent-Type: application/json\r\n\r\n".into();
    assert!(problem(&plain).starts_with("Content-Type"));
    assert!(fake(json!({})).judge(&signed("/api/dist?x=1", "1008", good), MIDNIGHT).is_none());
    // Encoded twice, the signature is that of other bytes.
    let twice: String = url::form_urlencoded::byte_serialize(good.as_bytes()).collect();
    let request = post(QUERY, form(&twice, "1002", &sign(good, KEY)));
    assert!(problem(&request).starts_with("DataSign"));
}

#[test]
fn a_query_that_breaks_a_rule_is_refused() {
    for (data, expected) in [
        ("[]", "RequestData: no JSON object"),
        ("{'OrderCode':''}", "RequestData: no JSON object"),
        (r#"{"ShipperCode":"ZTO","LogisticCode":"7"}"#, "OrderCode: missing; it may be empty"),
        (r#"{"OrderCode":"","LogisticCode":"7"}"#, "ShipperCode: no carrier"),
        (r#"{"OrderCode":"","ShipperCode":"zto","LogisticCode":"7"}"#, "ShipperCode: no carrier"),
        (r#"{"OrderCode":"","ShipperCode":"code","LogisticCode":"7"}"#, "ShipperCode: no carrier"),
        (r#"{"OrderCode":"","ShipperCode":"ZTO"}"#, "LogisticCode: not letters and digits alone"),
        (r#"{"OrderCode":"","ShipperCode":"ZTO","LogisticCode":"7 1"}"#, "LogisticCode: not letters and digits alone"),
        (r#"{"OrderCode":"","ShipperCode":"ZTO","LogisticCode":7}"#, "LogisticCode: no text"),
        (r##"{"OrderCode":"a#b","ShipperCode":"ZTO","LogisticCode":"7"}"##, "OrderCode: a character that is forbidden"),
        (
            r#"{"OrderCode":"","ShipperCode":"SF","LogisticCode":"7"}"#,
            "CustomerName: not the last four digits of a phone number",
        ),
        (
            r#"{"OrderCode":"","ShipperCode":"SF","LogisticCode":"7","CustomerName":"13812345678"}"#,
            "CustomerName: not the last four digits of a phone number",
        ),
        (r#"{"OrderCode":"","ShipperCode":"ZTO","LogisticCode":"7","Phone":"1"}"#, "Phone: unknown"),
    ] {
        assert_eq!(problem(&signed(QUERY, "1002", data)), expected, "{data}");
    }
    let without = r#"{"OrderCode":"","LogisticCode":"7"}"#;
    assert_eq!(problem(&signed(QUERY, "8002", without)), "", "it finds the carrier");
}

#[test]
fn each_form_of_the_signature_is_the_only_one_of_its_account() {
    // kdn-03 and kdn-04.
    let (data, key) = (
        r#"{"OrderCode":"","ShipperCode":"ZTO","LogisticCode":"73100123456789"}"#,
        "00000000-1111-2222-3333-444444444444",
    );
    let signs = [
        ("base64_md5", "N2IzNDI5ZGQwNjFiMzYyMzg5N2JmNTMxMTgyMjIxNjQ="),
        ("md5_upper", "7B3429DD061B3623897BF53118222164"),
    ];
    for (mode, _) in signs {
        let account = SandboxAccount::new("a", NAME, json!({ "data_sign": mode }), &[(ID, key)]);
        let fake = open(&[(0, &account)]).unwrap();
        for (other, sign) in signs {
            let (body, _) = outcome(&*fake, &post(QUERY, form(data, "1002", sign)), MIDNIGHT);
            assert_eq!(body["Success"] == true, mode == other, "{mode} {other}");
        }
    }
}

#[test]
fn a_day_has_so_many_queries_and_no_more() {
    let data = r#"{"OrderCode":"","ShipperCode":"ZTO","LogisticCode":"73100123456782"}"#;
    let fake_of = |settings| fake(settings);
    let standard = fake_of(json!({}));
    let ask = |fake: &dyn Fake, now| outcome(fake, &signed(QUERY, "1002", data), now).1;
    // What is refused is no query.
    let wrong = signed(QUERY, "1002", "{}");
    for _ in 0..500 {
        outcome(&*standard, &wrong, MIDNIGHT);
        assert_eq!(ask(&*standard, MIDNIGHT), "");
    }
    assert!(ask(&*standard, MIDNIGHT + 86_399).starts_with("limit"));
    assert_eq!(outcome(&*standard, &signed(DIST, "1008", data), MIDNIGHT).1, "", "a subscription is no query");
    assert_eq!(ask(&*standard, MIDNIGHT + 86_400), "");
    let small = fake_of(json!({ "daily_limit": 1 }));
    assert_eq!((ask(&*small, MIDNIGHT).as_str(), ask(&*small, MIDNIGHT).is_empty()), ("", false));
}

#[test]
fn an_account_without_a_key_is_a_problem_and_a_code_is_a_reason() {
    let account = SandboxAccount::new("a", NAME, json!({}), &[(ID, "")]);
    assert_eq!(open(&[(0, &account)]).err().unwrap().len(), 1);
    let fake = fake(json!({}));
    assert!(fake.body_of(&json!("签名错误")).unwrap().contains("签名错误"));
    assert_eq!((fake.body_of(&json!("{}")), fake.body_of(&json!(7))), (None, None));
}

#[test]
fn what_the_ledger_keeps_is_there_for_a_refused_request_too() {
    let data = r#"{"OrderCode":"","ShipperCode":"ZTO","LogisticCode":"73100123456782"}"#;
    let judgement = fake(json!({})).judge(&post(QUERY, form(data, "1002", "x")), MIDNIGHT).unwrap();
    assert!(judgement.verdict.is_err());
    assert_eq!((judgement.account, judgement.event.as_deref()), (Some(0), Some("1002")));
    assert_eq!(judgement.ids, [("LogisticCode", Some("73100123456782".to_owned()))]);
}
