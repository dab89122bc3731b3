use super::*;
use bytes::Bytes;
use serde_json::json;

const KEY: &str = "abcdefghij0123456789";
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: i64 = 1_736_899_201;

fn directory(terms: Vec<Qihoo360Account>) -> Qihoo360 {
    let mut fake = Qihoo360::default();
    for (index, terms) in terms.into_iter().enumerate() {
        fake.add(index, terms);
    }
    fake
}

fn judge(request: &Request, fake: &Qihoo360, now: i64) -> Judgement {
    fake.judge(request, now).unwrap()
}

fn account() -> Qihoo360Account {
    Qihoo360Account { keys: vec![(KEY.to_owned(), SECRET.to_owned())], ..Qihoo360Account::default() }
}

fn request(headers: &[(&str, &str)], body: &[u8]) -> Request {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    Request {
        method: "POST".to_owned(),
        target: PATH.to_owned(),
        head: format!("POST {PATH} HTTP/1.1\r\n{lines}\r\n").into(),
        body: Bytes::copy_from_slice(body),
    }
}

fn signed(body: &[u8]) -> Request {
    let sign = signature(SECRET, body);
    request(&[("App-Key", KEY), ("App-Sign", &sign), ("Content-Type", "application/json;charset=utf-8")], body)
}

/// Returns `errno` of the answer and the problem in the ledger.
fn outcome(judgement: &Judgement) -> (i64, &str) {
    let (response, problem) = match &judgement.verdict {
        Ok(response) => (response, ""),
        Err(refusal) => (&refusal.answer, refusal.problem.as_str()),
    };
    let answer: Value = serde_json::from_slice(&response.body).unwrap();
    (answer["errno"].as_i64().unwrap(), problem)
}

/// A good upload of this product line.
fn good(line: &str) -> Value {
    let mut detail = json!({
        "qhclickid": "SATss51150532005", "trans_id": "5d41402abc4b2a76b9719d911017c592",
        "event": "SUBMIT", "event_time": NOW - 1,
    });
    match line {
        "web" => {
            detail["impression_id"] = "9f8e7d6c5b4a39281706".into();
            detail.as_object_mut().unwrap().remove("qhclickid");
        }
        "zs" => {
            detail["qhclickid"] = "a1b2c3d4e5f6".into();
            detail["jzqs"] = "1000001".into();
        }
        _ => {}
    }
    json!({"data": {"request_time": NOW, "data_industry": format!("ocpc_{line}_convert"), "data_detail": detail}})
}

/// Judges a good upload after changes: each `pointer` gets its `value`; `null` removes it.
fn changed(account: &Qihoo360Account, line: &str, changes: &[(&str, Value)]) -> (i64, String) {
    let mut upload = good(line);
    for (path, value) in changes {
        let (parent, member) = path.rsplit_once('/').unwrap();
        let parent = upload.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            parent.remove(member);
        } else {
            parent.insert(member.to_owned(), value.clone());
        }
    }
    let judgement = judge(&signed(upload.to_string().as_bytes()), &directory(vec![account.clone()]), NOW);
    let (errno, problem) = outcome(&judgement);
    (errno, problem.to_owned())
}

const REQUEST_TIME: &str = "/data/request_time";
const SOURCE: &str = "/data/data_source";
const QHCLICKID: &str = "/data/data_detail/qhclickid";
const IMPRESSION: &str = "/data/data_detail/impression_id";
const JZQS: &str = "/data/data_detail/jzqs";
const TRANS_ID: &str = "/data/data_detail/trans_id";
const EVENT: &str = "/data/data_detail/event";
const EVENT_TIME: &str = "/data/data_detail/event_time";
const PARAM: &str = "/data/data_detail/event_param";

#[test]
fn a_good_upload_of_every_line_is_accepted() {
    for line in ["web", "ps", "ms", "zs"] {
        assert_eq!(changed(&account(), line, &[]), (0, String::new()), "{line}");
        let bare = [(REQUEST_TIME, Value::Null), (EVENT_TIME, Value::Null)];
        assert_eq!(changed(&account(), line, &bare), (0, String::new()), "{line} without times");
    }
}

#[test]
fn every_signature_vector_verifies_and_no_twin_passes_for_its_counterpart() {
    let vectors: Value = serde_json::from_str(include_str!("../../../../tests/fixtures/vectors.json")).unwrap();
    let vectors: Vec<&Value> = vectors["signatures"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|v| v["platform"] == "qihoo360" && v["inputs"]["post_body"].is_string())
        .collect();
    assert_eq!(vectors.len(), 8);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let verified = |vector: &Value, body: &Value| {
        let headers: Vec<(String, String)> =
            vector["headers"].as_object().unwrap().iter().map(|(n, v)| (n.clone(), text(v))).collect();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let judgement =
            judge(&request(&headers, text(&body["inputs"]["post_body"]).as_bytes()), &directory(vec![account()]), NOW);
        outcome(&judgement).0 != 2
    };
    for vector in &vectors {
        let secret = text(&vector["inputs"]["secret"]);
        assert_eq!(signature(&secret, text(&vector["inputs"]["post_body"]).as_bytes()), text(&vector["expected"]));
        for body in &vectors {
            // The vector with an empty secret must not verify anywhere, not even with its own body.
            let same = vector["inputs"]["post_body"] == body["inputs"]["post_body"];
            assert_eq!(verified(vector, body), same && !secret.is_empty(), "{} on {}", vector["id"], body["id"]);
        }
    }
}

#[test]
fn the_bodies_of_the_vectors_are_judged_as_the_rules_say() {
    let vectors: Value = serde_json::from_str(include_str!("../../../../tests/fixtures/vectors.json")).unwrap();
    let expected = [
        ("q360-01-seed-body", "request_time"),
        ("q360-02-seed-body-spaced", "request_time"),
        ("q360-03-zs-order-all-params", ""),
        ("q360-04-zs-utf8-raw", ""),
        ("q360-05-zs-utf8-escaped", ""),
        ("q360-06-web-submit", ""),
        ("q360-07-ms-app-pay", ""),
    ];
    for (id, part) in expected {
        let vector = vectors["signatures"].as_array().unwrap().iter().find(|v| v["id"] == id).unwrap();
        let body = vector["inputs"]["post_body"].as_str().unwrap();
        let judgement = judge(&signed(body.as_bytes()), &directory(vec![account()]), NOW);
        let (errno, problem) = outcome(&judgement);
        assert_eq!(errno == 0, part.is_empty(), "{id}: {problem}");
        assert!(problem.contains(part), "{id}: {problem}");
    }
}

#[test]
fn skew_is_judged_as_the_vectors_say() {
    let vectors: Value = serde_json::from_str(include_str!("../../../../tests/fixtures/vectors.json")).unwrap();
    for vector in vectors["clock_skew"].as_array().unwrap() {
        let (server, client) = (vector["server_ms"].as_i64().unwrap(), vector["client_ms"].as_i64().unwrap());
        // The clock of this platform counts seconds, so a fraction beyond the limit shows only in the next second.
        let skew = (client - server) / 1000 + (client - server) % 1000;
        let (errno, problem) = changed(&account(), "ps", &[(REQUEST_TIME, json!(NOW + skew))]);
        assert_eq!(errno == 0, vector["accepted"].as_bool().unwrap(), "{}: {problem}", vector["id"]);
    }
}

#[test]
fn a_key_or_signature_that_is_not_right_is_told_apart() {
    let body = good("ps").to_string();
    let sign = signature(SECRET, body.as_bytes());
    let kind = ("Content-Type", "application/json;charset=utf-8");
    let upper = sign.to_uppercase();
    let other = signature("another", body.as_bytes());
    let plain = [("App-Key", KEY), ("App-Sign", sign.as_str())];
    for (headers, errno) in [
        (vec![plain[0], plain[1], kind], 0),
        (vec![plain[0], plain[1], ("content-type", "Application/JSON; charset=UTF-8")], 0),
        (vec![plain[1], kind], 1),
        (vec![("App-Key", "nobody"), plain[1], kind], 1),
        (vec![plain[0], plain[0], plain[1], kind], 1),
        (vec![plain[0], kind], 2),
        (vec![plain[0], plain[1], plain[1], kind], 2),
        (vec![plain[0], ("App-Sign", &upper), kind], 2),
        (vec![plain[0], ("App-Sign", &other), kind], 2),
        (vec![plain[0], ("App-Sign", "short"), kind], 2),
        (plain.to_vec(), 3),
        (vec![plain[0], plain[1], ("Content-Type", "application/json")], 3),
        (vec![plain[0], plain[1], ("Content-Type", "application/json;charset=utf-8\"")], 3),
    ] {
        let judgement = judge(&request(&headers, body.as_bytes()), &directory(vec![account()]), NOW);
        assert_eq!(outcome(&judgement).0, errno, "{headers:?}");
    }
    let mut get = signed(body.as_bytes());
    get.method = "GET".to_owned();
    assert_eq!(judge(&get, &directory(vec![account()]), NOW).verdict.unwrap_err().answer.status, 405);
}

#[test]
fn both_secrets_of_a_rotation_are_valid() {
    let mut rotating = account();
    rotating.keys.push((KEY.to_owned(), "next".to_owned()));
    let body = good("ps").to_string();
    for (secret, errno) in [(SECRET, 0), ("next", 0), ("past", 2), ("", 2)] {
        let sign = signature(secret, body.as_bytes());
        let headers =
            [("App-Key", KEY), ("App-Sign", sign.as_str()), ("Content-Type", "application/json;charset=utf-8")];
        let judgement = judge(&request(&headers, body.as_bytes()), &directory(vec![rotating.clone()]), NOW);
        assert_eq!(outcome(&judgement).0, errno, "{secret}");
    }
}

#[test]
fn each_rule_of_the_body_is_broken_alone() {
    let param = |value: Value| [(EVENT, json!("ORDER")), (PARAM, value)];
    let cases = [
        ("ps", vec![(REQUEST_TIME, json!(NOW - 301))], "request_time"),
        ("ps", vec![(REQUEST_TIME, json!(NOW + 301))], "request_time"),
        ("ps", vec![("/data/data_industry", json!("ocpc_xx_convert"))], "data_industry"),
        ("ps", vec![(SOURCE, json!("tool"))], "data_source"),
        ("ps", vec![(IMPRESSION, json!("x"))], "impression_id: not of this line"),
        ("web", vec![(QHCLICKID, json!("x"))], "qhclickid: not of this line"),
        ("web", vec![(IMPRESSION, Value::Null)], "impression_id: mandatory"),
        ("web", vec![(IMPRESSION, json!(""))], "impression_id: mandatory"),
        ("ps", vec![(QHCLICKID, Value::Null)], "qhclickid: mandatory"),
        ("ms", vec![(QHCLICKID, json!("9356596331006111412"))], "qhclickid: not 16"),
        ("zs", vec![(QHCLICKID, json!("SATss51150532005"))], "qhclickid: not 12"),
        ("zs", vec![(JZQS, Value::Null)], "jzqs: mandatory"),
        ("zs", vec![(JZQS, json!(""))], "jzqs: empty"),
        ("ps", vec![(JZQS, json!("1000001"))], "jzqs: only on"),
        ("ps", vec![(TRANS_ID, Value::Null)], "trans_id: mandatory"),
        ("web", vec![(TRANS_ID, Value::Null)], "trans_id: mandatory"),
        ("zs", vec![(EVENT, json!("CALL")), (TRANS_ID, Value::Null)], "trans_id: mandatory"),
        ("ps", vec![(EVENT, json!("CALL")), (TRANS_ID, json!(""))], "trans_id: empty"),
        ("ps", vec![(EVENT, json!("SUBMITS"))], "event: no `SUBMITS`"),
        ("web", vec![(EVENT, json!("ORDER"))], "event: no `ORDER`"),
        ("ms", vec![(EVENT, json!("RETENTION"))], "event: no `RETENTION`"),
        ("ps", vec![(EVENT_TIME, json!(-1))], "event_time"),
        ("web", vec![(PARAM, json!({"score": 1}))], "event_param.score: not for"),
        ("ps", vec![(PARAM, json!({}))], "event_param: empty"),
        ("ps", vec![(PARAM, json!({"value": 1}))], "event_param.value: not for SUBMIT"),
        ("ps", vec![(PARAM, json!({"urtime": 1_705_487_632}))], "event_param.urtime: not for SUBMIT"),
        ("ps", param(json!({"bname": "x"})).to_vec(), "event_param.bname: not for ORDER"),
        ("ms", param(json!({"urtime": 1_705_487_632})).to_vec(), "event_param.urtime: not for ORDER"),
        ("ps", param(json!({"value": -1})).to_vec(), "event_param.value"),
        ("ps", param(json!({"score": 0})).to_vec(), "event_param.score"),
        ("ps", param(json!({"outeruserid": ""})).to_vec(), "event_param.outeruserid"),
        ("zs", param(json!({"bname": ""})).to_vec(), "event_param.bname"),
        ("ps", param(json!({"urtime": 170_548_763})).to_vec(), "event_param.urtime"),
        ("ps", param(json!({"urtime": 17_054_876_320_i64})).to_vec(), "event_param.urtime"),
    ];
    for (line, changes, part) in cases {
        let (errno, problem) = changed(&account(), line, &changes);
        assert_eq!(errno, 3, "{line} {changes:?}");
        assert!(problem.contains(part), "{problem} does not say {part}");
    }
}

#[test]
fn what_is_optional_may_be_there_or_not() {
    let all = json!({"value": 0, "score": 123, "outeruserid": "u", "bname": "角色", "urtime": 1_705_487_632});
    for (line, changes) in [
        ("zs", vec![(EVENT, json!("ORDER")), (PARAM, all)]),
        ("ps", vec![(EVENT, json!("CALL")), (TRANS_ID, Value::Null)]),
        ("ps", vec![(EVENT, json!("COUSTOMIZE")), (PARAM, json!({"urtime": 1_705_487_632}))]),
        ("ms", vec![(EVENT, json!("APP_PAY")), (PARAM, json!({"value": 100}))]),
        ("ps", vec![(REQUEST_TIME, json!(NOW - 300))]),
        ("ps", vec![(REQUEST_TIME, json!(NOW + 300))]),
    ] {
        assert_eq!(changed(&account(), line, &changes), (0, String::new()), "{line} {changes:?}");
    }
}

#[test]
fn the_form_of_the_body_is_strict() {
    let text = good("ps").to_string();
    for (from, to) in [
        ("{\"data\":", "{\"extra\":1,\"data\":"),
        ("\"data_industry\":", "\"extra\":1,\"data_industry\":"),
        ("\"event\":", "\"extra\":1,\"event\":"),
        ("\"event\":\"SUBMIT\"", "\"event\":\"SUBMIT\",\"event\":\"SUBMIT\""),
        ("\"event\":\"SUBMIT\"", "\"event\":null"),
        ("\"event\":\"SUBMIT\"", "\"event\":1"),
        ("\"event\":\"SUBMIT\"", "\"event\":\"\\ud800\""),
        ("\"event\":\"SUBMIT\"", "\"event\":\"SUBMIT\",\"jzqs\":null"),
        ("\"event\":\"SUBMIT\"", "\"event\":\"SUBMIT\",\"event_param\":[]"),
        ("\"event\":\"SUBMIT\"", "\"event\":\"SUBMIT\",\"event_param\":{\"score\":\"1\"}"),
        ("\"event\":\"SUBMIT\"", "\"event\":\"SUBMIT\",\"event_param\":{\"score\":1.0}"),
        ("1736899201", "1736899201.0"),
        ("1736899201", "\"1736899201\""),
        ("1736899201", "1736899201000"),
        ("1736899200", "2147483648"),
        ("{\"data\":", "["),
        ("}}", "}}x"),
        ("}}", "}"),
    ] {
        let body = text.replacen(from, to, 1);
        assert_ne!(body, text, "{from}");
        let judgement = judge(&signed(body.as_bytes()), &directory(vec![account()]), NOW);
        assert_eq!(outcome(&judgement).0, 3, "{body}");
    }
    let array = format!("{{\"data\":[{NOW},\"ocpc_ps_convert\"]}}");
    assert_eq!(outcome(&judge(&signed(array.as_bytes()), &directory(vec![account()]), NOW)).0, 3);
}

#[test]
fn an_account_of_a_tool_must_name_it_and_another_advertiser_is_not_taken() {
    let tool = Qihoo360Account { data_source: Some("tool".to_owned()), ..account() };
    assert_eq!(changed(&tool, "ps", &[(SOURCE, json!("tool"))]).0, 0);
    for changes in [vec![], vec![(SOURCE, json!(""))]] {
        assert!(changed(&tool, "ps", &changes).1.contains("data_source"));
    }
    let display = Qihoo360Account { jzqs: Some("1000001".to_owned()), ..account() };
    assert_eq!(changed(&display, "zs", &[]).0, 0);
    assert!(changed(&display, "zs", &[(JZQS, json!("7"))]).1.contains("jzqs: another"));
    let lenient = Qihoo360Account { any_click_length: true, ..account() };
    assert_eq!(changed(&lenient, "ps", &[(QHCLICKID, json!("9356596331006111412"))]).0, 0);
}

#[test]
fn accounts_that_share_a_key_are_told_apart_by_line_and_advertiser() {
    let of = |line: &str, jzqs: Option<&str>| Qihoo360Account {
        data_industry: Some(line.to_owned()),
        jzqs: jzqs.map(str::to_owned),
        ..account()
    };
    let directory = directory(vec![
        of("ocpc_ps_convert", None),
        of("ocpc_zs_convert", Some("1")),
        of("ocpc_zs_convert", Some("1000001")),
        Qihoo360Account { keys: vec![("other".to_owned(), "s".to_owned())], ..Qihoo360Account::default() },
    ]);
    let found = |upload: Value| judge(&signed(upload.to_string().as_bytes()), &directory, NOW).account;
    assert_eq!(found(good("ps")), Some(0));
    assert_eq!(found(good("zs")), Some(2));
    // For a product line that no account has, and for a body that cannot be read, the first account counts.
    assert_eq!(found(good("ms")), Some(0));
    assert_eq!(judge(&signed(b"{"), &directory, NOW).account, Some(0));
    // A refused body still tells the account.
    let mut extra = good("zs");
    extra["extra"] = json!(1);
    let judgement = judge(&signed(extra.to_string().as_bytes()), &directory, NOW);
    assert_eq!((judgement.account, judgement.event.as_deref()), (Some(2), Some("SUBMIT")));
    assert!(judgement.verdict.is_err());
}

#[test]
fn every_cell_of_the_matrix_is_accepted_or_refused_as_the_table_says() {
    let table = include_str!("../360-events.csv");
    let mut cells = 0;
    for row in table.lines().skip(1) {
        let columns: Vec<&str> = row.split(',').collect();
        for (index, line) in ["web", "ps", "ms", "zs"].into_iter().enumerate() {
            let (errno, problem) = changed(&account(), line, &[(EVENT, json!(columns[0]))]);
            assert_eq!(errno == 0, columns[1 + index] == "1", "{row} {line}: {problem}");
            cells += 1;
        }
    }
    assert_eq!(cells, 53 * 4);
}

#[test]
fn an_event_without_trans_id_is_known_by_click_and_event() {
    let mut upload = good("ps");
    upload["data"]["data_detail"]["event"] = json!("CALL");
    upload["data"]["data_detail"].as_object_mut().unwrap().remove("trans_id");
    let judgement = judge(&signed(upload.to_string().as_bytes()), &directory(vec![account()]), NOW);
    assert_eq!(judgement.id.as_deref(), Some("SATss51150532005 CALL"));
}
