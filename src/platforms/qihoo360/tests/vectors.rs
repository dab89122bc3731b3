use super::*;

/// The published vector of 360 with this id.
fn vector(id: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../../../../tests/fixtures/vectors.json")).unwrap();
    all["signatures"].as_array().unwrap().iter().find(|v| v["id"] == id).unwrap().clone()
}

/// What `sender` makes of `event`, signed as the vector says.
fn signed(sender: &Qihoo360, event: &ConversionEvent, id: &str, now_s: i64) -> (String, Vec<(&'static str, String)>) {
    let v = vector(id);
    let mut credential = credential(v["inputs"]["secret"].as_str().unwrap());
    credential.key = v["inputs"]["app_key"].as_str().unwrap().to_owned();
    let prepared = sender.prepare(event).unwrap();
    let context = Context { now_ms: now_s * 1000 + 999, credential: Some(&credential), token: None };
    let request = sender.request(&[&prepared], &context).unwrap();
    let body = String::from_utf8(request.body.to_vec()).unwrap();
    let input = request.signature_input.unwrap();
    assert_eq!(input.expose(), format!("{}{body}", credential.secret.expose()));
    (body, request.headers)
}

fn assert_is_vector(sender: &Qihoo360, event: &ConversionEvent, id: &str, now_s: i64) {
    let v = vector(id);
    let (body, headers) = signed(sender, event, id, now_s);
    assert_eq!(body, v["inputs"]["post_body"].as_str().unwrap(), "{id}");
    for name in ["App-Key", "App-Sign", "Content-Type"] {
        let value = headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
        assert_eq!(value, v["headers"][name].as_str(), "{id} {name}");
    }
    assert_eq!(headers.len(), 3);
}

#[test]
fn every_signature_vector_is_the_digest_of_its_exact_bytes() {
    let all: Value = serde_json::from_str(include_str!("../../../../tests/fixtures/vectors.json")).unwrap();
    let mut seen = 0;
    for v in all["signatures"].as_array().unwrap().iter().filter(|v| v["platform"] == "qihoo360") {
        let digest = md5_hex(v["string_to_sign"].as_str().unwrap());
        assert_eq!(Some(digest.as_str()), v["expected"].as_str(), "{}", v["id"]);
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn the_same_value_in_other_bytes_signs_differently() {
    for (id, twin) in
        [("q360-01-seed-body", "q360-02-seed-body-spaced"), ("q360-04-zs-utf8-raw", "q360-05-zs-utf8-escaped")]
    {
        let (a, b) = (vector(id), vector(twin));
        let parsed = |v: &Value| serde_json::from_str::<Value>(v["inputs"]["post_body"].as_str().unwrap()).unwrap();
        assert_eq!(parsed(&a), parsed(&b), "{id}");
        assert_ne!(a["expected"], b["expected"], "{id}");
    }
}

#[test]
fn the_example_body_comes_out_byte_for_byte() {
    let sender = sender("data_industry = 'ocpc_ps_convert'\nevent_param.disallowed = 'send'");
    let event = edited(|e| {
        e["event_type"] = json!("form_submit");
        e["trans_id"] = json!("202cb962ac59075b964b07152d234b70");
        e["event_time_ms"] = json!(1_545_033_743_000_i64);
        e["click"] = json!({"qhclickid": "9356596331006111412"});
        e["user"] = json!(null);
        e["params"] = json!(null);
    });
    assert_is_vector(&sender, &event, "q360-01-seed-body", 1_545_033_743);
    let (body, headers) = signed(&sender, &event, "q360-02-seed-body-spaced", 1_545_033_743);
    let spaced = vector("q360-02-seed-body-spaced");
    assert_ne!(body, spaced["inputs"]["post_body"].as_str().unwrap());
    assert!(headers.iter().all(|(_, value)| Some(value.as_str()) != spaced["expected"].as_str()));
}

#[test]
fn display_orders_come_out_with_every_member_and_raw_utf8() {
    let sender = sender("data_industry = 'ocpc_zs_convert'\njzqs = '1000001'");
    let display = |name: &str| {
        edited(|e| {
            e["click"] = json!({"sourceid": "a1b2c3d4e5f6"});
            e["params"]["bname"] = json!(name);
        })
    };
    assert_is_vector(&sender, &display("RPG"), "q360-03-zs-order-all-params", 1_736_899_201);
    let event = display("角色扮演");
    assert_is_vector(&sender, &event, "q360-04-zs-utf8-raw", 1_736_899_201);
    let (body, headers) = signed(&sender, &event, "q360-05-zs-utf8-escaped", 1_736_899_201);
    let escaped = vector("q360-05-zs-utf8-escaped");
    assert_ne!(body, escaped["inputs"]["post_body"].as_str().unwrap());
    assert!(headers.iter().all(|(_, value)| Some(value.as_str()) != escaped["expected"].as_str()));
}

#[test]
fn the_web_line_comes_out_with_its_own_id_and_without_members() {
    let sender = sender("data_industry = 'ocpc_web_convert'");
    let event = edited(|e| {
        e["event_type"] = json!("form_submit");
        e["trans_id"] = json!("202cb962ac59075b964b07152d234b70");
    });
    assert_is_vector(&sender, &event, "q360-06-web-submit", 1_736_899_201);
}

#[test]
fn nothing_is_signed_without_a_secret() {
    let sender = sender("data_industry = 'ocpc_ps_convert'");
    let prepared = sender.prepare(&edited(|_| {})).unwrap();
    let request = |credential: Option<&Credential>| {
        sender.request(&[&prepared], &Context { now_ms: NOW, credential, token: None })
    };
    // An empty secret still yields a digest, so it has to be refused.
    let empty = vector("q360-08-empty-secret");
    assert_eq!(empty["inputs"]["secret"], "");
    assert_eq!(request(None).unwrap_err().field, "secrets");
    assert_eq!(request(Some(&credential(""))).unwrap_err().field, "secrets");
    for key in ["", "a b", "a\r\nX: y", "键"] {
        let bad = Credential { key: key.into(), ..credential("s") };
        assert_eq!(request(Some(&bad)).unwrap_err().field, "secrets", "{key:?}");
    }
    assert!(request(Some(&credential("s"))).is_ok());
}

#[test]
fn one_request_carries_one_conversion() {
    let sender = sender("data_industry = 'ocpc_ps_convert'");
    let prepared = sender.prepare(&edited(|_| {})).unwrap();
    let credential = credential("s");
    let context = Context { now_ms: NOW, credential: Some(&credential), token: None };
    assert!(sender.request(&[], &context).is_err());
    assert!(sender.request(&[&prepared, &prepared], &context).is_err());
    assert_eq!(sender.batch().items, 1);
}

#[test]
fn only_the_request_time_changes_between_attempts() {
    let sender = sender("data_industry = 'ocpc_ps_convert'");
    let prepared = sender.prepare(&edited(|_| {})).unwrap();
    let credential = credential("s");
    let body = |now_ms| {
        sender.request(&[&prepared], &Context { now_ms, credential: Some(&credential), token: None }).unwrap().body
    };
    let (a, b) = (body(NOW), body(NOW + 60_000));
    let swapped =
        String::from_utf8(a.to_vec()).unwrap().replace("\"request_time\":1736899201", "\"request_time\":1736899261");
    assert_eq!(b, swapped.as_bytes());
}

#[test]
fn amounts_are_fen_as_the_vectors_say() {
    let all: Value = serde_json::from_str(include_str!("../../../../tests/fixtures/vectors.json")).unwrap();
    let sender = sender("data_industry = 'ocpc_ps_convert'");
    for v in all["amounts"].as_array().unwrap() {
        let event = edited(|e| e["order"]["amount"] = json!({"minor": v["minor"], "currency": v["currency"]}));
        match v.get("qihoo360.event_param.value") {
            Some(value) => assert_eq!(body(&sender, &event)["data"]["data_detail"]["event_param"]["value"], *value),
            None => assert_eq!(refusal(&sender, &event), ("invalid", "order.amount.currency".into())),
        }
    }
}
