use super::*;
use crate::platforms::tokens::{Grant, Life};

#[test]
fn each_call_goes_to_its_path_with_its_common_parameters() {
    let account = account("allow_destructive = true");
    let delete = json!({"parentTemplateId": "ParentTemplateId_1"});
    let open = "OpenId%40128D573F0EB6405EAF334A731E31BFF3";
    let seven = "method,appKey,accessToken,timestamp,version,signMethod";
    let rows = [
        (
            "template.list",
            json!({}),
            "/openapi/oauth2/AppKey%404FF354C41EBF4187BA148E00E3EFED69/template/list".to_owned(),
            "appKey,timestamp,version".to_owned(),
            None,
        ),
        (
            "template.delete_flows",
            delete,
            "/openapi/oauth2/deleteFlowByParentTemplateId".to_owned(),
            "appKey,timestamp,version,openId,parentTemplateId".to_owned(),
            None,
        ),
        (
            "doudian.auth_info",
            json!({}),
            format!("/trigger/api/jinritemai/getAuthInfo/{open}"),
            seven.to_owned(),
            Some("getAuthInfo"),
        ),
        (
            "doudian.order_list",
            orders(),
            format!("/trigger/api/jinritemai/listOrder/{open}"),
            format!("{seven},createTimeStart,createTimeEnd,page,size"),
            Some("listOrder"),
        ),
        (
            "doudian.order_detail",
            json!({"orderId": "1"}),
            format!("/trigger/api/jinritemai/detailOrder/{open}"),
            format!("{seven},orderId"),
            Some("detailOrder"),
        ),
        (
            "doudian.decrypt",
            ciphers(1),
            format!("/trigger/api/jinritemai/batchDecrypts/{open}"),
            format!("{seven},cipher_infos"),
            Some("batchDecrypts"),
        ),
        (
            "qianchuan.advertiser_report",
            report(),
            format!("/trigger/api/juliangqianchuan/getAdvertiser/{open}"),
            format!("{seven},advertiser_id,start_date,end_date,fields,filtering"),
            Some("getAdvertiser"),
        ),
        (
            "qianchuan.ad_report",
            report(),
            format!("/trigger/api/juliangqianchuan/getReportAd/{open}"),
            format!("{seven},advertiser_id,start_date,end_date,fields,filtering"),
            Some("getReportAd"),
        ),
    ];
    for (name, args, path, members, method) in rows {
        let made = request(&account, &prepared(&account, name, &args), 0);
        assert_eq!((made.method, &*made.path), ("POST", path.as_str()), "{name}");
        let text = std::str::from_utf8(&made.body).unwrap();
        let order: Vec<&str> = members.split(',').collect();
        let at: Vec<usize> = order.iter().map(|member| text.find(&format!("\"{member}\":")).unwrap()).collect();
        assert!(at.is_sorted(), "{name}: {text}");
        let body = body(&made);
        assert_eq!(body.as_object().unwrap().len(), order.len(), "{name}: {text}");
        assert_eq!(body["method"].as_str(), method, "{name}");
        assert_eq!((&body["timestamp"], &body["version"]), (&json!(NOW.to_string()), &json!("1")), "{name}");
        assert_eq!(header(&made, "Content-Type"), Some("application/json;charset=utf-8"));
        assert_eq!(header(&made, "sign").map(str::len), Some(32), "{name}");
        assert_eq!(made.answer_bytes, 8 * 1024 * 1024, "orders are many");
    }
}

#[test]
fn token_requests_carry_what_their_examples_show() {
    let (source, seed) = account("token = { access = 'a', refresh = 'r', auth_code = 'c' }").tokens().unwrap();
    assert!(seed.rotates() && seed.access.is_some() && seed.code.is_some());
    let credential = credential();
    let context = Context { now_ms: NOW, credential: Some(&credential), token: None };
    let secret = SecretString::new("s-1");
    for (grant, path, method, name) in [
        (Grant::Code(&secret), "/openapi/oauth2/getAccessToken", "getAccessToken", "authCode"),
        (Grant::Refresh(&secret), "/openapi/oauth2/refreshAccessToken", "refreshAccessToken", "refreshToken"),
    ] {
        let made = source.token_request(grant, &context).unwrap();
        assert_eq!(&*made.path, path);
        let timestamp = NOW.to_string();
        let expected = json!({"method": method, "appKey": KEY, "timestamp": timestamp, "version": "1", name: "s-1"});
        assert_eq!(body(&made), expected);
        let shown = String::from_utf8(made.masked(Part::Body, &made.body, "***").into_owned()).unwrap();
        assert!(shown.contains(&format!("\"{name}\":\"***\"")), "{shown}");
    }
    let nobody = Context { credential: None, ..context };
    assert_eq!(source.token_request(Grant::Code(&secret), &nobody).unwrap_err().field, "secrets");
}

#[test]
fn secrets_are_masked_wherever_they_stand() {
    let account = account("");
    let made = request(&account, &prepared(&account, "doudian.order_list", &orders()), 0);
    let body = String::from_utf8(made.masked(Part::Body, &made.body, "***").into_owned()).unwrap();
    assert!(body.contains("\"accessToken\":\"***\"") && !body.contains(TOKEN), "{body}");
    let input = made.signature_input.as_ref().unwrap().expose();
    let shown = made.masked_text(Part::SignatureInput, input, "***").into_owned();
    assert!(shown.starts_with("***accessToken***appKey") && shown.ends_with("version1***"), "{shown}");
    assert!(!shown.contains(SECRET) && !shown.contains(TOKEN));
}

#[test]
fn only_time_and_signature_change_between_attempts() {
    let account = account("");
    let call = prepared(&account, "doudian.order_list", &orders());
    let (credential, token) = (credential(), SecretString::new(TOKEN));
    let at = |now_ms| {
        account.request(&call, 0, &Context { now_ms, credential: Some(&credential), token: Some(&token) }).unwrap()
    };
    let (first, second) = (at(NOW), at(NOW + 60_000));
    let swapped = String::from_utf8(first.body.to_vec()).unwrap();
    let swapped = swapped.replace(&NOW.to_string(), &(NOW + 60_000).to_string());
    assert_eq!(second.body, swapped.as_bytes());
    assert_ne!(header(&first, "sign"), header(&second, "sign"));
}

#[test]
fn nothing_is_signed_without_a_secret() {
    let account = account("");
    let call = prepared(&account, "template.list", &json!({}));
    for broken in [None, Some(Credential { secret: SecretString::default(), ..credential() })] {
        let context = Context { now_ms: NOW, credential: broken.as_ref(), token: None };
        assert_eq!(account.request(&call, 0, &context).unwrap_err().field, "secrets");
    }
}

#[test]
fn what_trigger_calls_say_of_their_signature_is_a_switch() {
    let made = |text: &str, name: &str| {
        let account = account(text);
        request(&account, &prepared(&account, name, &json!({})), 0)
    };
    let told = |text: &str| body(&made(text, "doudian.auth_info"))["signMethod"].as_str().map(str::to_owned);
    assert_eq!(told("").as_deref(), Some("md5"));
    assert_eq!(told("sign = { algorithm = 'hmac-sha256' }").as_deref(), Some("hmac-sha256"));
    assert_eq!(told("sign = { profile = 'text' }"), None);
    assert_eq!(told("sign = { profile = 'text', send_sign_method = true }").as_deref(), Some("md5"));
    assert_eq!(told("sign = { send_sign_method = false }"), None);
    assert_eq!(body(&made("sign = { send_sign_method = true }", "template.list"))["signMethod"], Value::Null);
    // The text does not sign it even where it is sent.
    let text = made("sign = { profile = 'text', send_sign_method = true }", "doudian.auth_info");
    assert!(!text.signature_input.unwrap().expose().contains("signMethod"));

    let unsigned = made("sign = { trigger = false }", "doudian.auth_info");
    assert_eq!((header(&unsigned, "sign"), &unsigned.signature_input), (None, &None));
    assert_eq!(body(&unsigned)["signMethod"], Value::Null);
    assert_eq!(body(&unsigned)["accessToken"], TOKEN);
    assert!(header(&made("sign = { trigger = false }", "template.list"), "sign").is_some());
}

#[test]
fn the_common_parameters_of_a_call_are_a_switch() {
    let account = account("call.template.list.common_params = ['appKey', 'accessToken', 'timestamp', 'version']");
    let made = request(&account, &prepared(&account, "template.list", &json!({})), 0);
    assert_eq!(body(&made)["accessToken"], TOKEN);
    assert!(made.signature_input.unwrap().expose().contains(&format!("accessToken{TOKEN}appKey")));
}

#[test]
fn pages_are_counted_from_the_one_that_is_asked_for() {
    let account = account("");
    let page = |name: &str, args: &Value, part: u64| {
        let call = prepare_as(&account, name, args, Paginate::All).unwrap();
        (body(&request(&account, &call, part))["page"].clone(), call.parts)
    };
    assert_eq!(page("doudian.order_list", &orders(), 3), (json!(3), Parts::Pages { first: 0, most: 501 }));
    let mut from = orders();
    from["page"] = json!(7);
    assert_eq!(page("doudian.order_list", &from, 2), (json!(9), Parts::Pages { first: 7, most: 494 }));
    from.as_object_mut().unwrap().remove("page");
    assert_eq!(page("doudian.order_list", &from, 0).0, json!(0));
    assert_eq!(page("qianchuan.ad_report", &report(), 1).0, json!(2));
    // The last page that the platform allows is within its limit.
    let call = prepare_as(&account, "doudian.order_list", &orders(), Paginate::All).unwrap();
    assert_eq!(body(&request(&account, &call, 500))["page"], 500);
    // Who wants one page gets the one that is asked for, and an absent one is not sent.
    let one = prepared(&account, "doudian.order_list", &from);
    assert_eq!((one.parts, body(&request(&account, &one, 0)).get("page")), (Parts::One, None));
}

#[test]
fn a_pair_is_refreshed_ahead_of_its_first_end() {
    let life = Life { issued_ms: 0, access_ends_ms: Some(604_800_000), refresh_ends_ms: Some(15_120_000) };
    let at = |text: &str| account(text).tokens().unwrap().0.refresh_at_ms(&life);
    assert_eq!(at(""), Some(14_520_000), "ten minutes before the refresh token ends");
    assert_eq!(at("token.refresh_before = '1h'"), Some(11_520_000));
    assert_eq!(account("").tokens().unwrap().0.refresh_at_ms(&Life::default()), None);
}
