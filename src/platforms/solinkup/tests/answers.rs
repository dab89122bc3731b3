use super::*;
use crate::platforms::call::{ItemResult, ItemStatus, PersonalKind};

fn http<'a>(status: u16, body: &'a [u8]) -> HttpAnswer<'a> {
    HttpAnswer { status, retry_after: None, headers: Headers::default(), body, now_ms: NOW }
}

fn call(name: &str) -> (Solinkup, PreparedCall) {
    let account = account("allow_destructive = true");
    let args = match name {
        "doudian.order_list" => orders(),
        "doudian.order_detail" => json!({"orderId": "1"}),
        "doudian.decrypt" => ciphers(3),
        "template.delete_flows" => json!({"parentTemplateId": "p"}),
        "template.list" | "doudian.auth_info" => json!({}),
        _ => report(),
    };
    let call = prepare_as(&account, name, &args, Paginate::All).unwrap();
    (account, call)
}

fn said(name: &str, body: &Value) -> CallReading {
    let (account, call) = call(name);
    account.read(&call, 0, &http(200, body.to_string().as_bytes()))
}

#[track_caller]
fn answered(name: &str, body: &Value) -> CallAnswer {
    match said(name, body) {
        CallReading::Answer(answer) => *answer,
        other => panic!("{name}: {other:?} of {body}"),
    }
}

/// Class and code of a refusal.
#[track_caller]
fn failed(name: &str, body: &Value) -> (Class, String) {
    match said(name, body) {
        CallReading::Failed(error) => (error.class().unwrap(), error.answer().unwrap().code.clone()),
        other => panic!("{name}: {other:?} of {body}"),
    }
}

fn own(success: bool, message: &str) -> Value {
    json!({"requestId": "r", "success": success, "code": "__200OK", "msgCode": "m", "message": message, "data": null, "pager": null})
}

fn doudian(err_no: Value, code: Value, sub_code: &str) -> Value {
    json!({"data": {"page": "0"}, "err_no": err_no, "message": "m", "code": code, "msg": "m", "sub_code": sub_code, "sub_msg": ""})
}

#[test]
fn each_envelope_is_opened() {
    let mut list = own(true, "执行成功");
    list["data"] = json!([{"templateId": "1"}]);
    let answer = answered("template.list", &list);
    assert_eq!((&*answer.code, &*answer.message, &answer.data), ("__200OK", "执行成功", &json!([{"templateId": "1"}])));
    let mut deleted = own(true, "操作成功");
    deleted["code"] = json!("200");
    assert_eq!(answered("template.delete_flows", &deleted).data, Value::Null);

    let orders = json!({"data": {"page": "0", "size": "20", "total": "1", "shop_order_list": [{"order_id": "1"}]},
        "err_no": 0, "message": "success", "code": 10000, "msg": "success", "sub_code": "", "sub_msg": ""});
    let answer = answered("doudian.order_list", &orders);
    assert_eq!((&*answer.code, &answer.data["shop_order_list"][0]["order_id"]), ("10000", &json!("1")));
    // The same inside of the platform's own envelope.
    let mut wrapped = own(true, "ok");
    wrapped["data"] = orders.clone();
    assert_eq!(answered("doudian.order_list", &wrapped).data, orders["data"]);

    let rows =
        json!({"code": 0, "message": "OK", "request_id": "2", "data": {"list": [{"ad_id": 1}], "page_info": {}}});
    let answer = answered("qianchuan.ad_report", &rows);
    assert_eq!((&*answer.code, &*answer.message, &answer.data), ("0", "OK", &rows["data"]));
    // Numbers as texts.
    assert_eq!(answered("qianchuan.ad_report", &json!({"code": "0", "data": {}})).code, "0");
    assert_eq!(answered("doudian.order_detail", &doudian(json!("0"), json!("10000"), "")).code, "10000");
}

#[test]
fn success_comes_first_and_then_what_stands_inside() {
    let mut inner = own(true, "执行成功");
    inner["data"] = doudian(json!(40003), json!(40003), "isv.access-token-expired:2");
    assert_eq!(failed("doudian.order_list", &inner), (Class::Refresh, "40003".into()));
    let mut outer = own(false, "token invalid");
    outer["data"] = doudian(json!(0), json!(10000), "");
    assert_eq!(failed("doudian.order_list", &outer).0, Class::Refresh);
    for success in [json!("true"), json!(1), json!("false")] {
        let mut odd = own(true, "?");
        odd["success"] = success;
        assert_eq!(failed("template.list", &odd).0, Class::Retry, "only true is success");
    }
    let mut known = own(false, "?");
    known["err_no"] = json!(30001);
    assert_eq!(failed("doudian.order_list", &known).0, Class::Halt);
    let mut known = own(false, "?");
    known["data"] = json!({"code": 40105});
    assert_eq!(failed("qianchuan.ad_report", &known).0, Class::Refresh);
}

#[test]
fn what_is_no_envelope_leaves_it_to_the_status() {
    for (name, body) in [
        ("template.list", "[]"),
        ("template.list", "<html>"),
        ("template.list", ""),
        ("template.list", "{\"data\":{}}"),
        ("doudian.order_list", "{}"),
        ("doudian.decrypt", "{\"data\":{}}"),
        ("qianchuan.ad_report", "{\"code\":\"ok\",\"data\":{}}"),
        ("qianchuan.ad_report", "{\"code\":null}"),
    ] {
        let (account, call) = call(name);
        assert!(matches!(account.read(&call, 0, &http(200, body.as_bytes())), CallReading::Nothing), "{name} {body}");
    }
}

#[test]
fn refusals_of_the_platform_are_classed_by_their_words() {
    for (message, class) in [
        ("accessToken已过期", Class::Refresh),
        ("Access TOKEN missing", Class::Refresh),
        ("令牌无效", Class::Refresh),
        ("签名错误", Class::Halt),
        ("Invalid Sign", Class::Halt),
        ("appkey not found", Class::Halt),
        ("没有权限", Class::Halt),
        ("未授权", Class::Halt),
        ("系统繁忙", Class::Retry),
        ("timestamp与服务器时间相差超过5分钟", Class::Retry),
    ] {
        assert_eq!(failed("template.list", &own(false, message)).0, class, "{message}");
    }
    let other = account("classify = { refresh_patterns = ['expired$'], halt_patterns = ['busy'] }");
    let call = prepared(&other, "template.list", &json!({}));
    for (message, class) in [("系统busy", Class::Halt), ("key expired", Class::Refresh), ("签名错误", Class::Retry)]
    {
        let body = own(false, message).to_string();
        let CallReading::Failed(error) = other.read(&call, 0, &http(200, body.as_bytes())) else { panic!("{message}") };
        assert_eq!(error.class(), Some(class), "{message}");
    }
    let CallReading::Failed(DeliveryError::Retry(answer)) = said("template.list", &own(false, "系统繁忙")) else {
        panic!("not tried again")
    };
    assert!(answer.unclassified, "somebody has to look at it");
}

#[test]
fn every_row_of_the_code_table_of_doudian_has_its_class() {
    let rows: [(i64, &str, Class); 24] = [
        (10001, "", Class::Retry),
        (20000, "dop.service-error:1", Class::Retry),
        (60000, "isv.traffic-limited:1", Class::Retry),
        (90000, "", Class::Retry),
        (30001, "", Class::Halt),
        (30002, "", Class::Halt),
        (70000, "", Class::Halt),
        (40001, "isv.signature-missing:1", Class::Halt),
        (40001, "isv.app-id-missing:1", Class::Halt),
        (40001, "isv.access-token-missing:1", Class::Halt),
        (40001, "isv.parameter-missing:1", Class::Permanent),
        (40002, "", Class::Permanent),
        (40003, "isv.access-token-expired:1", Class::Refresh),
        (40003, "isv.access-token-no-existed:1", Class::Refresh),
        (40003, "isv.access-token-invalid:1", Class::Halt),
        (40003, "isv.signature-invalid:1", Class::Halt),
        (40003, "isv.app-id-invalid:1", Class::Halt),
        (40003, "isv.timestamp-invalid:1", Class::Retry),
        (40003, "isv.parameter-invalid:1", Class::Permanent),
        (40004, "", Class::Permanent),
        (50001, "isp.token-generation:1", Class::Halt),
        (50001, "", Class::Retry),
        (50002, "", Class::Retry),
        (12345, "isv.没有权限", Class::Halt),
    ];
    for (code, sub_code, class) in rows {
        assert_eq!(
            failed("doudian.order_detail", &doudian(json!(code), json!(code), sub_code)),
            (class, code.to_string()),
            "{code} {sub_code}"
        );
        // Either of both members tells.
        let by_code = doudian(json!(0), json!(code), sub_code);
        assert_eq!(failed("doudian.order_detail", &by_code).0, class, "{code} {sub_code}");
        let by_err_no = doudian(json!(code), json!(null), sub_code);
        assert_eq!(failed("doudian.order_detail", &by_err_no), (class, code.to_string()), "{code} {sub_code}");
    }
    let existed = doudian(json!(40003), json!(40003), "isv.idempotent-id-existed:1");
    assert_eq!(answered("doudian.order_detail", &existed).code, "40003");
}

#[test]
fn every_row_of_the_code_table_of_qianchuan_has_its_class() {
    for (code, class) in [
        (40000, Class::Permanent),
        (40100, Class::Throttled),
        (40105, Class::Refresh),
        (40115, Class::Halt),
        (51010, Class::Retry),
    ] {
        let body = json!({"code": code, "message": "m", "request_id": "r", "data": {}});
        assert_eq!(failed("qianchuan.advertiser_report", &body), (class, code.to_string()), "{code}");
    }
}

#[test]
fn items_come_back_in_the_order_of_the_event_whatever_the_answer_does() {
    let account = account("");
    let cipher = |id: &str, text: &str| json!({"auth_id": id, "cipher_text": text});
    let args = json!({"cipher_infos": [cipher("1", "a"), cipher("1", "b"), cipher("2", "c"), cipher("1", "a"), cipher("3", "d")]});
    let call = prepared(&account, "doudian.decrypt", &args);
    let info = |id: &str, text: &str, plain: &str, err_no: Value| json!({"auth_id": id, "cipher_text": text, "decrypt_text": plain, "err_no": err_no, "err_msg": "m", "is_virtual_tel": false});
    let body = json!({"data": {"decrypt_infos": [
        info("2", "c", "", json!("200001")), info("1", "b", "B", json!("0")), info("1", "a", "A", json!(0))
    ]}});
    let CallReading::Answer(answer) = account.read(&call, 0, &http(200, body.to_string().as_bytes())) else {
        panic!("no answer")
    };
    let items = answer.items.unwrap();
    let seen: Vec<_> = items
        .iter()
        .map(|i| (i.index, i.auth_id.as_deref().unwrap(), i.status, &*i.code, i.data["decrypt_text"].as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (0, "1", ItemStatus::Ok, "0", Some("A")),
            (1, "1", ItemStatus::Ok, "0", Some("B")),
            (2, "2", ItemStatus::Error, "200001", Some("")),
            (3, "1", ItemStatus::Ok, "0", Some("A")),
            (4, "3", ItemStatus::Error, "", None),
        ]
    );
    assert_eq!(items[2].message, "m");
    assert!(!items[4].message.is_empty());
    assert_eq!(answer.data, Value::Null);
    assert!(answer.personal.iter().any(|p| p.at == "decrypt_text" && p.kind == PersonalKind::Value));
    assert_eq!(items[0].data, json!({"decrypt_text": "A", "is_virtual_tel": false, "cipher_text": "a"}));
}

#[test]
fn items_without_their_text_are_taken_in_turn_and_chunks_count_on() {
    let account = account("");
    let call = prepared(&account, "doudian.decrypt", &ciphers(60));
    let asked = ciphers(60)["cipher_infos"].as_array().unwrap()[50..].to_vec();
    let infos: Vec<Value> =
        asked.iter().map(|i| json!({"auth_id": i["auth_id"], "decrypt_text": i["cipher_text"], "err_no": 0})).collect();
    let body = json!({"data": {"decrypt_infos": infos}}).to_string();
    let CallReading::Answer(answer) = account.read(&call, 1, &http(200, body.as_bytes())) else { panic!("no answer") };
    let items: Vec<ItemResult> = answer.items.unwrap();
    assert_eq!(items.len(), 10);
    for (n, item) in items.iter().enumerate() {
        assert_eq!((item.index, item.auth_id.as_deref()), (50 + n as u64, asked[n]["auth_id"].as_str()));
        assert_eq!(item.data["decrypt_text"], asked[n]["cipher_text"]);
    }
}

#[test]
fn more_pages_follow_while_the_answer_says_so() {
    let more = |name: &str, part: u64, body: Value| {
        let (account, call) = call(name);
        match account.read(&call, part, &http(200, body.to_string().as_bytes())) {
            CallReading::Answer(answer) => answer.more,
            other => panic!("{name}: {other:?}"),
        }
    };
    // Every answer names the first page, whichever was asked for.
    let orders = |part: u64, total: Value, count: usize| {
        let list: Vec<Value> = (0..count).map(|n| json!({"order_id": n})).collect();
        let data = json!({"page": 0, "size": 1, "total": total, "shop_order_list": list});
        more("doudian.order_list", part, json!({"data": data, "err_no": 0, "code": 10000}))
    };
    assert!(orders(0, json!("101"), 100) && orders(1, json!(201), 100));
    assert!(!orders(1, json!("101"), 1) && !orders(0, json!(100), 100));
    assert!(!orders(0, json!(1000), 0), "an empty page is the last one");
    assert!(!orders(0, json!(null), 100));
    assert!(orders(499, json!(1_000_000), 100) && !orders(500, json!(1_000_000), 100), "up to 50,000 orders");
    let rows = |part: u64, total: Value| {
        let data = json!({"list": [{}], "page_info": {"page": 1, "total_page": total}});
        more("qianchuan.ad_report", part, json!({"code": 0, "data": data}))
    };
    assert!(rows(0, json!(3)) && rows(1, json!("3")));
    assert!(!rows(2, json!(3)) && !rows(0, json!(null)));
}

#[test]
fn personal_data_of_orders_is_found_at_every_level() {
    let order = json!({
        "order_id": "1", "encrypt_post_tel": "13812345678", "encrypt_post_receiver": "张三", "buyer_words": "请打 13812345678",
        "post_addr": {"city": {"id": "110000", "name": "市辖区"}, "encrypt_detail": "丹棱街1号"}, "doudian_open_id": "#x",
        "user_id_info": {"encrypt_id_card_no": "#y"}, "pay_amount": "500", "shop_name": "s", "product_name": "p",
        "sku_order_list": [{"encrypt_post_tel": "13812345678", "account_list": {"account_info": [{"encrypt_account_id": "1"}]}}]
    });
    let body = json!({"data": {"shop_order_list": [order, {"new_mobile_no": "1"}]}, "err_no": 0, "code": 10000});
    let answer = answered("doudian.order_list", &body);
    let at: Vec<_> =
        answer.personal.iter().map(|p| p.at.strip_prefix("shop_order_list.*.").unwrap().to_owned()).collect();
    let expected = [
        "buyer_words",
        "doudian_open_id",
        "encrypt_post_receiver",
        "encrypt_post_tel",
        "new_mobile_no",
        "post_addr.city.id",
        "post_addr.city.name",
        "post_addr.encrypt_detail",
        "sku_order_list.*.account_list.account_info.*.encrypt_account_id",
        "sku_order_list.*.encrypt_post_tel",
        "user_id_info.encrypt_id_card_no",
    ];
    assert_eq!(at, expected);
    assert_eq!(answer.personal[0].kind, PersonalKind::Text);
    let rows = json!({"code": 0, "data": {"list": [{"ad_id": 1}]}});
    assert!(answered("qianchuan.ad_report", &rows).personal.is_empty());
}

#[test]
fn tokens_are_read_and_a_refusal_asks_for_authorisation() {
    let source = account("").tokens().unwrap().0;
    let from = |status: u16, body: &Value| {
        let body = body.to_string();
        let headers = Headers::default();
        source.token_from(&HttpAnswer { status, retry_after: None, headers, body: body.as_bytes(), now_ms: NOW })
    };
    let mut sample = own(true, "执行成功");
    sample["data"] = json!({
        "openId": OPEN_ID, "accessToken": TOKEN, "refreshToken": "RefreshToken@1", "accessTokenExpired": 1653018049464_i64,
        "refreshTokenExpired": "1652428181000"
    });
    let issued = from(200, &sample).unwrap();
    assert_eq!((issued.access.expose(), issued.access_ends_ms), (TOKEN, Some(1_653_018_049_464)));
    assert_eq!(issued.refresh_ends_ms, Some(1_652_428_181_000), "also as a text");
    let class = |status, body: &Value| from(status, body).unwrap_err().class().unwrap();
    assert_eq!(class(200, &own(false, "系统繁忙")), Class::Halt, "SPEC 4.7: a refresh that fails halts");
    assert_eq!(class(200, &own(false, "timestamp与服务器时间相差超过5分钟")), Class::Retry);
    assert_eq!(class(503, &own(false, "?")), Class::Retry);
    assert_eq!(class(429, &own(false, "?")), Class::Throttled);
    assert_eq!(class(401, &own(true, "?")), Class::Halt);
    assert_eq!(class(500, &sample), Class::Retry);
    assert_eq!(class(200, &own(true, "no tokens")), Class::Ambiguous);
    assert_eq!(class(200, &json!("text")), Class::Ambiguous);
}

#[test]
fn any_bytes_are_an_answer_and_none_is_a_panic() {
    let names = ["template.list", "doudian.order_list", "doudian.decrypt", "qianchuan.ad_report"];
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        "\"success\":",
        "true",
        "false",
        "\"data\":",
        "null",
        "\"err_no\":",
        "-1",
        ",",
        "\"x\"",
        "1e999",
        "\u{0}",
    ];
    let calls = names.map(call);
    let mut seed = 7_u64;
    for round in 0..20_000 {
        let mut body = String::new();
        for _ in 0..round % 12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            body.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
        }
        let (account, call) = &calls[round % calls.len()];
        let _ = account.read(call, 0, &http(200, body.as_bytes()));
    }
}

#[test]
fn a_refused_timestamp_halts_only_where_our_clock_is_off_by_the_platforms_date() {
    let date = |ahead_ms: i64| {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(u64::try_from(NOW + ahead_ms).unwrap());
        let mut headers = http::HeaderMap::new();
        headers.insert("date", httpdate::fmt_http_date(at).parse().unwrap());
        headers
    };
    let minute = 60_000;
    let (account, call) = call("doudian.order_list");
    let said = |ahead_ms: i64, body: &Value| {
        let headers = date(ahead_ms);
        let body = body.to_string();
        let answer = HttpAnswer { headers: Headers::new(&headers), ..http(200, body.as_bytes()) };
        match account.read(&call, 0, &answer) {
            CallReading::Failed(error) => error,
            other => panic!("{other:?}"),
        }
    };
    for body in [
        own(false, "timestamp与服务器时间相差超过5分钟"),
        own(false, "签名错误: timestamp"),
        doudian(json!(40003), json!(40003), "isv.timestamp-invalid:1"),
    ] {
        for ahead in [6 * minute, -6 * minute] {
            let error = said(ahead, &body);
            assert_eq!(error.class(), Some(Class::Halt), "{body}");
            assert!(error.answer().unwrap().detail.contains("clock"), "{error:?}");
        }
    }
    assert_eq!(said(4 * minute, &own(false, "timestamp与服务器时间相差超过5分钟")).class(), Some(Class::Retry));
    assert_eq!(said(0, &doudian(json!(40003), json!(40003), "isv.timestamp-invalid:1")).class(), Some(Class::Retry));
    assert_eq!(said(0, &own(false, "签名错误: timestamp")).class(), Some(Class::Halt), "it is the signature then");
}

#[test]
fn a_failure_that_lists_no_text_is_one_of_the_whole_request() {
    let said = |code: i64, infos: Value| {
        let mut body = doudian(json!(code), json!(if code == 0 { 10_000 } else { code }), "");
        body["data"] = json!({"decrypt_infos": infos});
        body
    };
    assert_eq!(failed("doudian.decrypt", &said(20000, json!([]))), (Class::Retry, "20000".into()));
    assert_eq!(failed("doudian.decrypt", &said(30001, json!([]))).0, Class::Halt);
    // Where it lists some, each says for itself; and without a failure there is nothing to say.
    let one = json!([{"auth_id": "order-0", "cipher_text": "c0", "err_no": 0, "decrypt_text": "x"}]);
    assert_eq!(answered("doudian.decrypt", &said(20000, one)).items.unwrap().len(), 3);
    assert_eq!(answered("doudian.decrypt", &said(0, json!([]))).items.unwrap().len(), 3);
    assert_eq!(answered("doudian.decrypt", &json!({"data": {"decrypt_infos": []}})).items.unwrap().len(), 3);
}
