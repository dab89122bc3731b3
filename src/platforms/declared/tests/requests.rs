use serde_json::json;

use super::account::{NOW, body, configure, event, request, sender, sent};
use crate::platforms::{Part, Request};

const GET: &str = r#"
name = "get"
title = "Get"
base_url = "https://ad.example.com"
[events]
install = 1
pay = 3
[require]
"click.ks_callback" = "true"
"order.amount" = "native in [3]"
[check]
"click.ks_callback" = { when = "event.click.ks_callback | length > 20", says = "longer than 20" }
"params.note" = { when = "event.params.note and native == 1", says = "no note with installs" }
[[request]]
method = "GET"
url = "/track/activate"
query = { event_type = "{{ native }}", event_time = "{{ event.event_time_ms }}", callback = "{{ event.click.ks_callback }}", purchase_amount = "{{ event.order.amount | yuan | default('') }}", note = "{{ event.params.note | default('') }}", empty = "" }
headers = { X-Os = "{{ event.user.device.os | default('') }}" }
[answer]
delivered = "body.result == 1"
"#;

fn amount(minor: i64, currency: &str) -> serde_json::Value {
    json!({"amount": {"minor": minor, "currency": currency}})
}

fn header<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_query_keeps_its_order_is_encoded_and_leaves_out_what_is_empty() {
    let sender = sender(GET, "");
    let click = json!({"ks_callback": "a b+c/=&"});
    let request = sent(&*sender, json!({"click": click, "order": amount(5, "CNY")})).unwrap();
    assert_eq!(request.method, "GET");
    assert_eq!(
        request.path,
        "/track/activate?event_type=3&event_time=1736899200123&callback=a%20b%2Bc%2F%3D%26&purchase_amount=0.05"
    );
    assert_eq!((request.headers.len(), body(&request)), (0, ""));
    let user = json!({"device": {"os": "ios"}});
    let click = json!({"ks_callback": "x"});
    let request = sent(&*sender, json!({"event_type": "install", "click": click, "user": user})).unwrap();
    assert_eq!(request.path, "/track/activate?event_type=1&event_time=1736899200123&callback=x");
    assert_eq!(header(&request, "X-Os"), Some("ios"));
}

#[test]
fn an_event_is_refused_with_the_field_at_fault_and_the_first_rule_wins() {
    let sender = sender(GET, "");
    let field = |over| sent(&*sender, over).map(drop).unwrap_err().0;
    let good = json!({"ks_callback": "x"});
    assert_eq!(field(json!({})), "click.ks_callback");
    for bad in ["", "__CALLBACK__", "{{cb}}", "null", "a\r\nb", "标识"] {
        assert_eq!(
            field(json!({"click": {"ks_callback": bad}, "order": amount(1, "CNY")})),
            "click.ks_callback",
            "{bad:?}"
        );
    }
    assert_eq!(field(json!({"click": good})), "order.amount");
    assert_eq!(field(json!({"click": good, "order": amount(1, "USD")})), "order.amount.currency");
    assert_eq!(field(json!({"click": good, "order": amount(-1, "CNY")})), "order.amount.minor");
    let (path, says) =
        sent(&*sender, json!({"click": {"ks_callback": "x".repeat(21)}, "order": amount(1, "CNY")})).unwrap_err();
    assert_eq!((path.as_str(), says.as_str()), ("click.ks_callback", "longer than 20"));
    let note = |note| json!({"event_type": "install", "click": good, "params": {"note": note}});
    assert_eq!(field(note("x")), "params.note");
    // What becomes a part of the query or a header holds no control character.
    let with = json!({"click": good, "order": amount(1, "CNY"), "params": {"note": "a\nb"}});
    assert_eq!(field(with), "params.note");
}

const PERSON: &str = r#"
name = "person"
title = "Person"
base_url = "https://p.example.com"
[events]
pay = "pay"
[require]
"user.wechat.app_id" = "event.user.wechat.openid is defined"
[[request]]
url = "/x"
[request.json]
em = "{{ event.user.hashed.email_sha256 if event.user.hashed.email_sha256 is defined else (event.user.email | trim | lower | sha256 if event.user.email is defined) }}"
openid = "{{ event.user.wechat.openid }}"
idfa = "{{ event.user.device.idfa }}"
os = "{{ event.user.device.os }}"
order = "{{ event.order.order_id }}"
[answer]
delivered = "status == 200"
"#;

#[test]
fn an_empty_text_of_a_person_counts_as_absent_and_is_never_hashed() {
    let sender = sender(PERSON, "");
    let of = |user: serde_json::Value| sent(&*sender, json!({"user": user, "order": {"order_id": ""}}));
    for user in [
        json!({"email": "", "wechat": {"openid": ""}, "device": {"idfa": "", "os": ""}}),
        json!({"email": "  ", "hashed": {"email_sha256": ""}}),
    ] {
        assert_eq!(body(&of(user.clone()).unwrap()), "{}", "{user}");
    }
    let (field, says) = of(json!({"wechat": {"openid": "o", "app_id": ""}})).unwrap_err();
    assert_eq!((field.as_str(), says.as_str()), ("user.wechat.app_id", "missing or empty"));
}

#[test]
fn a_phone_without_a_digit_is_left_out() {
    let platform = PERSON.replace("openid = ", "phone = \"{{ event.user.phone | digits | sha256 if event.user.phone is defined }}\"\nend = \"{{ (event.user.phone | digits)[-11:] | md5 if event.user.phone is defined }}\"\nopenid = ");
    let sender = sender(&platform, "");
    let of = |phone: &str| body(&sent(&*sender, json!({"user": {"phone": phone}})).unwrap()).to_owned();
    assert_eq!(of("n/a"), "{}");
    let md5 = crate::platforms::signing::md5_hex("13812345678");
    assert!(of("+86 138-1234-5678").ends_with(&format!("\"end\":\"{md5}\"}}")), "{}", of("+86 138-1234-5678"));
}

#[test]
fn ids_of_a_person_hold_no_placeholder_and_no_control_characters() {
    let sender = sender(PERSON, "");
    let field = |user: serde_json::Value| sent(&*sender, json!({"user": user})).map(drop).unwrap_err().0;
    for bad in ["__IDFA__", "{{idfa}}", "null", "a\nb"] {
        assert_eq!(field(json!({"device": {"idfa": bad}})), "user.device.idfa", "{bad:?}");
        assert_eq!(field(json!({"hashed": {"email_sha256": bad}})), "user.hashed.email_sha256", "{bad:?}");
        assert_eq!(field(json!({"wechat": {"openid": bad, "app_id": "wx"}})), "user.wechat.openid", "{bad:?}");
    }
    // What no platform and no system gives is no id either.
    for bad in ["$idfa$", "n/a", "Null", "-"] {
        assert_eq!(field(json!({"device": {"idfa": bad}})), "user.device.idfa", "{bad:?}");
    }
    let os = sent(&*sender, json!({"user": {"device": {"os": "null"}}})).unwrap();
    assert_eq!(body(&os), r#"{"os":"null"}"#, "the name of a system is no id");
}

#[test]
fn what_is_called_a_hash_and_is_none_is_never_sent() {
    let platform = PERSON.replace(
        "openid = ",
        "phone = \"{{ event.user.hashed.phone_md5 }}\"\nother = \"{{ event.user.hashed.other }}\"\nopenid = ",
    );
    let sender = sender(&platform, "");
    let of = |hashed: serde_json::Value| sent(&*sender, json!({"user": {"hashed": hashed}}));
    let md5 = crate::platforms::signing::md5_hex("13812345678");
    for (name, digits) in [("phone_md5", 32), ("email_sha256", 64)] {
        for raw in ["13812345678", "li@example.com", &md5[1..], &format!("{}g", &md5[1..])] {
            let (field, says) = of(json!({name: raw})).unwrap_err();
            assert_eq!(field, format!("user.hashed.{name}"), "{raw}");
            assert_eq!(says, format!("no hash: it has to be {digits} hexadecimal digits"), "{raw}");
        }
    }
    assert_eq!(body(&of(json!({"phone_md5": md5})).unwrap()), format!("{{\"phone\":\"{md5}\"}}"));
    assert!(of(json!({"phone_md5": md5.to_uppercase()})).is_ok());
    // Of what nobody knows how it is made nothing can be said, and what no request carries does no harm.
    assert_eq!(body(&of(json!({"other": "x", "phone_sha256": "13812345678"})).unwrap()), r#"{"other":"x"}"#);
}

#[test]
fn pages_of_a_click_are_no_ids() {
    let platform = PERSON.replace("openid = ", "referrer = \"{{ event.click.referrer }}\"\nopenid = ");
    let sender = sender(&platform, "");
    let of = |referrer: &str| sent(&*sender, json!({"click": {"referrer": referrer}}));
    assert_eq!(body(&of("-").unwrap()), r#"{"referrer":"-"}"#);
    assert_eq!(of("__REFERRER__").unwrap_err().0, "click.referrer");
}

#[test]
fn an_event_whose_value_no_path_can_hold_is_refused_with_that_field() {
    let early = GET.replace("url = \"/track/activate\"", "url = \"/track/{{ event.params.id }}/{{ native }}\"");
    let late = GET.replace("url = \"/track/activate\"", "url = \"/track/{{ event.params.id }}/{{ now_ms }}\"");
    assert!(early != GET && late != GET);
    for platform in [early, late] {
        let sender = sender(&platform, "");
        let of = |id: &str| {
            let over = json!({"event_type": "install", "click": {"ks_callback": "x"}, "params": {"id": id}});
            sent(&*sender, over).map(|request| request.path.into_owned())
        };
        assert!(of("a%20b").unwrap().starts_with("/track/a%20b/"));
        for bad in ["a b", "a#b", "<a>"] {
            assert_eq!(of(bad).unwrap_err().0, "params.id", "{bad:?}");
        }
    }
}

#[test]
fn control_characters_of_an_event_are_refused_in_a_header_that_is_made_when_it_is_sent() {
    let late = |value: &str| {
        let header = format!("headers = {{ X-Os = \"{value}\", X-N = \"{{{{ now_ms }}}}\" }}");
        GET.replace("headers = { X-Os = \"{{ event.user.device.os | default('') }}\" }", &header)
    };
    let signed = GET
        .replace("[answer]", "sign = { header = \"X-S\", value = \"{{ now_ms }}{{ event.params.note }}\" }\n[answer]");
    for (platform, field) in [
        (late("{{ event.params.note }}-{{ now_ms }}"), "params.note"),
        (late("{{ native }}-{{ event.params.note }}-{{ now_ms }}"), "params.note"),
        (late("{{ event | json }}{{ event.params.note }}{{ now_ms }}"), "params.note"),
        (signed, "params.note"),
    ] {
        assert!(platform != GET, "{platform}");
        let sender = sender(&platform, "");
        let of = |note: &str| {
            let over = json!({"event_type": "pay", "order": amount(1, "CNY"), "click": {"ks_callback": "x"}, "params": {"note": note}});
            sent(&*sender, over).map(drop)
        };
        of("a \u{e9} \\ \"b\"").unwrap();
        for bad in ["a\nb", "a\u{7f}", "\r\nX-Evil: 1"] {
            assert_eq!(of(bad).unwrap_err(), (field.to_owned(), "control characters".to_owned()), "{bad:?}");
        }
    }
}

#[test]
fn control_characters_of_an_item_are_refused_where_a_header_holds_the_items() {
    let platform = BATCH.replace(
        "headers = { X-Kind = \"{{ event.params.kind | default('') }}\" }",
        "headers = { X-Items = \"{{ items | json }}\" }",
    );
    let sender = sender(&platform, "token = 't'");
    let of = |note: &str| {
        let over = json!({"click": {"logid_url": "https://x/?bd_vid=1"}, "params": {"a": note}});
        sender.prepare(&event(over)).map(drop)
    };
    assert!(of("a\nb").is_ok(), "JSON writes it as an escape");
    assert!(of("a\u{7f}").is_err());
}

#[test]
fn an_undefined_value_is_an_error_that_names_it() {
    let strict = GET.replace(" | default('') }}\", note", " }}\", note");
    let sender = sender(&strict, "");
    let over = json!({"event_type": "install", "click": {"ks_callback": "x"}});
    let (field, detail) = sent(&*sender, over).unwrap_err();
    assert_eq!(
        (field.as_str(), detail.as_str()),
        ("order.amount", "missing: request.0.query.purchase_amount needs event.order.amount")
    );
}

pub(super) const WEBHOOK: &str = r#"
name = "hook"
title = "Hook"
base_url = "https://hooks.example.com"
[account.keys]
secret = { secret = true, required = true }
[events]
pay = "pay"
[[request]]
url = "/in"
headers = { Content-Type = "application/json", webhook-id = "{{ event.trans_id }}", webhook-timestamp = "{{ now_ms | seconds }}" }
body = "{{ event | json }}"
sign = { header = "webhook-signature", value = "v1,{{ (event.trans_id ~ '.' ~ (now_ms | seconds) ~ '.' ~ body) | hmac_sha256(account.secret | replace('whsec_', '') | unbase64) | unhex | base64 }}" }
[answer]
delivered = "status >= 200 and status < 300"
halt = "status == 410"
"#;

#[test]
fn a_webhook_carries_the_event_as_it_was_published_and_a_signature_over_it() {
    let sender = sender(WEBHOOK, "secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'");
    let text = "{ \"trans_id\":\"t-1\", \"platform\":\"p\",\"account\":\"a\",\"event_type\":\"pay\",\n\
                \"event_time_ms\": 1736899200123.0, \"later\": [1.50, \"a \\u00e9\"], \"order\": null }";
    let event = crate::event::decode(Some(text.as_bytes())).unwrap();
    let request = request(&*sender, &[&sender.prepare(&event).unwrap()]);
    assert_eq!(
        body(&request),
        "{\"trans_id\":\"t-1\",\"platform\":\"p\",\"account\":\"a\",\"event_type\":\"pay\",\
         \"event_time_ms\":1736899200123.0,\"later\":[1.50,\"a \\u00e9\"],\"order\":null}"
    );
    assert_eq!(header(&request, "webhook-timestamp"), Some("1736899201"));
    let input = format!("t-1.1736899201.{}", body(&request));
    assert_eq!(request.signature_input.as_ref().map(|input| input.expose().to_owned()), Some(input));
    let signature = header(&request, "webhook-signature").unwrap();
    assert!(signature.starts_with("v1,") && signature.len() == 47, "{signature}");
    assert!(request.secrets.is_empty(), "{:?}", request.secrets);
}

#[test]
fn the_example_of_standard_webhooks_is_reproduced() {
    let platform =
        WEBHOOK.replace("{{ event | json }}", "{{ event.params.text }}").replace("name = \"hook\"", "name = \"std\"");
    let sender = sender(&platform, "secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'");
    let over = json!({"trans_id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "params": {"text": "{\"test\": 2432232314}"}});
    let prepared = sender.prepare(&event(over)).unwrap();
    let context = crate::platforms::Context { now_ms: 1_614_265_330_000, credential: None, token: None };
    let request = sender.request(&[&prepared], &context).unwrap();
    assert_eq!(header(&request, "webhook-signature"), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
}

pub(super) const BATCH: &str = r#"
name = "batch"
title = "Batch"
base_url = "https://b.example.com"
[account.keys]
token = { secret = true, required = true }
[events]
pay = 26
refund = 99
[require]
"click.logid_url" = "native != 99"
[[request]]
when = "native == 99"
url = "/invalid"
form = { id = "{{ event.trans_id }}", token = "{{ account.token }}", none = "" }
sign = { query = "sign", value = "{{ (method ~ url ~ (body | lower) ~ account.token) | md5 }}" }
[[request]]
url = "/upload"
headers = { X-Kind = "{{ event.params.kind | default('') }}" }
json = { token = "{{ account.token }}", at = "{{ now_ms | seconds }}", conversionTypes = "{{ items }}" }
[batch]
max_items = 3
max_bytes = "1KiB"
item = { logidUrl = "{{ event.click.logid_url }}", newType = "{{ native }}", convertValue = "{{ event.order.amount | fen }}", confidence = 100, ext = { a = "{{ event.params.a }}", list = ["{{ event.params.a }}", 1] } }
[answer]
delivered = "body.status == 0"
"#;

#[test]
fn a_batch_is_one_request_with_what_each_event_contributes() {
    let sender = sender(BATCH, "token = 'se/cr et'");
    let one = |id: &str, minor: Option<i64>, kind: Option<&str>| {
        let order = minor.map(|minor| amount(minor, "CNY"));
        let params = json!({"a": minor.map(|_| "x\"y"), "kind": kind});
        let over = json!({"trans_id": id, "click": {"logid_url": format!("https://x/?bd_vid={id}")}, "order": order,
                          "params": params});
        sender.prepare(&event(over)).unwrap()
    };
    let (a, b, c) = (one("1", Some(2345), None), one("2", None, None), one("3", None, Some("k")));
    assert_eq!(a.route, b.route);
    assert_ne!(a.route, c.route, "another header, another request");
    let request = request(&*sender, &[&a, &b]);
    assert_eq!(
        body(&request),
        "{\"token\":\"se/cr et\",\"at\":1736899201,\"conversionTypes\":[\
         {\"logidUrl\":\"https://x/?bd_vid=1\",\"newType\":26,\"convertValue\":2345,\"confidence\":100,\
         \"ext\":{\"a\":\"x\\\"y\",\"list\":[\"x\\\"y\",1]}},\
         {\"logidUrl\":\"https://x/?bd_vid=2\",\"newType\":26,\"confidence\":100,\"ext\":{\"list\":[1]}}]}"
    );
    assert_eq!(request.headers, [("Content-Type", "application/json".to_owned())]);
    assert_eq!(request.masked(Part::Body, &request.body, "***")[..22], *b"{\"token\":\"***\",\"at\":17");
    assert_eq!((sender.batch().items, sender.batch().bytes), (3, 1024));
}

#[test]
fn what_is_not_batched_shares_its_request_with_nobody() {
    let sender = sender(BATCH, "token = 'se/cr et'");
    let refund = |id: &str| sender.prepare(&event(json!({"event_type": "refund", "trans_id": id}))).unwrap();
    let (a, b) = (refund("1"), refund("2"));
    assert_ne!(a.route, b.route);
    let request = request(&*sender, &[&a]);
    assert_eq!(body(&request), "id=1&token=se%2Fcr+et");
    let (path, sign) = request.path.split_once("?sign=").unwrap();
    assert_eq!((path, sign.len()), ("/invalid", 32));
    assert_eq!(request.masked_text(Part::Body, body(&request), "***"), "id=1&token=***");
    let input = request.signature_input.as_ref().unwrap().expose();
    assert_eq!(input, "POST/invalidid=1&token=se%2fcr+etse/cr et");
    let shown = request.masked_text(Part::SignatureInput, input, "***").into_owned();
    assert_eq!(shown, "POST/invalid******");
}

pub(super) const CALLBACK: &str = r#"
name = "cb"
title = "Callback"
base_url = "https://als.example.com"
[account.keys]
akey = { secret = true, required = true }
[events]
pay = "ORDER"
[[request]]
callback = "click.bd_callback_url"
hosts = ["als.baidu.com"]
method = "GET"
url = "{{ event.click.bd_callback_url | replace('{{ATYPE}}', native) | replace('{{AVALUE}}', event.order.amount | fen | default(0) | string) }}"
sign = { query = "sign", value = "{{ (url ~ account.akey) | md5 }}" }
[answer]
delivered = "body.error_code == 0"
"#;

#[test]
fn a_callback_goes_to_a_listed_host_and_nowhere_else() {
    let sender = sender(CALLBACK, "akey = 'K'");
    let url = "https://als.baidu.com/cb/actionCb?a_type={{ATYPE}}&a_value={{AVALUE}}&x=1";
    let over = json!({"click": {"bd_callback_url": url}, "order": amount(990, "CNY")});
    let prepared = sender.prepare(&event(over.clone())).unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(prepared.callback.as_ref().map(ToString::to_string).as_deref(), Some("https://als.baidu.com"));
    let request = request(&*sender, &[&prepared]);
    let whole = "https://als.baidu.com/cb/actionCb?a_type=ORDER&a_value=990&x=1";
    assert_eq!(request.signature_input.unwrap().expose(), format!("{whole}K"));
    let sign = crate::platforms::signing::md5_hex(format!("{whole}K"));
    assert_eq!(request.path, format!("/cb/actionCb?a_type=ORDER&a_value=990&x=1&sign={sign}"));
    for bad in ["https://evil.example/cb", "https://als.baidu.com.evil.example/", "x", ""] {
        let (field, _) = sent(&*sender, json!({"click": {"bd_callback_url": bad}})).unwrap_err();
        assert_eq!(field, "click.bd_callback_url", "{bad}");
    }
    assert_eq!(sender.callback_hosts(), ["als.baidu.com"]);
}

#[test]
fn a_callback_is_fixed_where_the_platform_states_its_url() {
    let is_fixed = |platform: &str| {
        let url = "https://als.baidu.com/cb?a_type={{ATYPE}}";
        let over = json!({"click": {"bd_callback_url": url}, "order": amount(990, "CNY")});
        let prepared = sender(platform, "akey = 'K'").prepare(&event(over)).unwrap();
        prepared.callback.map(|callback| callback.is_fixed)
    };
    assert_eq!(is_fixed(CALLBACK), Some(false));
    let from = CALLBACK.find("\nurl = \"").unwrap() + 1;
    let to = from + CALLBACK[from..].find('\n').unwrap();
    let platform = CALLBACK.replace(&CALLBACK[from..to], "url = \"https://als.baidu.com/track\"");
    assert_eq!(is_fixed(&platform), Some(true));
}

pub(super) const TOKENS: &str = r#"
name = "tok"
title = "Tokens"
base_url = "https://api.example.com"
[account.keys]
"token.client_id" = {}
[events]
pay = "PURCHASE"
[[request]]
url = "/add"
query = { access_token = "{{ token.access }}", nonce = "{{ (event.trans_id ~ now_ms) | md5 }}" }
json = { value = "{{ event.order.amount | decimal }}", type = "{{ native }}", now = "{{ now_ms }}", both = "{{ event.trans_id ~ now_ms }}" }
[answer]
delivered = "body.code == 0"
refresh = "body.code == 11000"
code = "body.code"
[token]
request = { method = "GET", url = "/oauth", query = { client_id = "{{ account.token.client_id }}", refresh_token = "{{ token.refresh }}" } }
access = "body.data.access_token"
refresh = "body.data.refresh_token"
expires_in = "body.data.expires_in"
failed = "body.code != 0"
"#;

#[test]
fn a_token_is_masked_wherever_it_stands_and_late_parts_still_see_the_event() {
    let sender = sender(TOKENS, "token = { refresh = 'R-1', client_id = 'c' }");
    let over = json!({"order": amount(1234, "KWD")});
    let request = sent(&*sender, over).unwrap();
    let nonce = crate::platforms::signing::md5_hex(format!("t-1{NOW}"));
    assert_eq!(request.path, format!("/add?access_token=TOKEN-7&nonce={nonce}"));
    assert_eq!(request.masked_text(Part::Path, &request.path, "***"), format!("/add?access_token=***&nonce={nonce}"));
    assert_eq!(
        body(&request),
        format!("{{\"value\":1.234,\"type\":\"PURCHASE\",\"now\":{NOW},\"both\":\"t-1{NOW}\"}}")
    );
    let prepared = sender.prepare(&event(json!({}))).unwrap();
    let context = crate::platforms::Context { now_ms: NOW, credential: None, token: None };
    assert_eq!(sender.request(&[&prepared], &context).unwrap_err().field, "token");
}

#[test]
fn tokens_are_asked_for_and_read_as_the_file_says() {
    use crate::error::{Class, DeliveryError};
    use crate::platforms::headers::Headers;
    use crate::platforms::reading::HttpAnswer;
    use crate::platforms::tokens::Grant;
    let sender = sender(TOKENS, "token = { refresh = 'R-1', client_id = 'c' }");
    let (source, seed) = sender.tokens().unwrap();
    assert_eq!(seed.refresh.as_ref().map(|token| token.expose().to_owned()).as_deref(), Some("R-1"));
    assert!(seed.rotates() && seed.access.is_none());
    let context = crate::platforms::Context { now_ms: NOW, credential: None, token: None };
    let request = source.token_request(Grant::Refresh(seed.refresh.as_ref().unwrap()), &context).unwrap();
    assert_eq!((request.method, &*request.path), ("GET", "/oauth?client_id=c&refresh_token=R-1"));
    assert_eq!(request.masked_text(Part::Path, &request.path, "***"), "/oauth?client_id=c&refresh_token=***");
    let read = |status, body: &str| {
        let headers = Headers::default();
        source.token_from(&HttpAnswer { status, retry_after: None, headers, body: body.as_bytes(), now_ms: 1_000 })
    };
    let issued =
        read(200, r#"{"code":0,"data":{"access_token":"A","refresh_token":"R-2","expires_in":"60"}}"#).unwrap();
    assert_eq!((issued.access.expose(), issued.access_ends_ms), ("A", Some(61_000)));
    assert_eq!(issued.refresh.unwrap().expose(), "R-2");
    let class = |status, body| read(status, body).map(drop).unwrap_err().class();
    assert_eq!(class(200, r#"{"code":11009}"#), Some(Class::Halt));
    assert_eq!(class(200, r#"{"code":0}"#), Some(Class::Retry));
    assert_eq!(class(200, "nonsense"), Some(Class::Retry));
    assert_eq!(class(500, r#"{"code":0,"data":{"access_token":"A"}}"#), Some(Class::Retry));
    // What is broken or overloaded refuses no refresh token.
    assert_eq!(class(503, r#"{"code":10000}"#), Some(Class::Retry));
    assert_eq!(class(429, r#"{"code":11016}"#), Some(Class::Throttled));
    assert_eq!(class(400, r#"{"code":11009}"#), Some(Class::Halt));
    assert_eq!(class(401, r#"{"code":11009}"#), Some(Class::Halt));
    assert!(matches!(read(200, r#"{"code":11009}"#), Err(DeliveryError::Halt(answer)) if answer.code == "11009"));
    let optional = TOKENS.replace("\"{{ token.access }}\"", "\"{{ token.access if token is defined }}\"");
    let without = configure(&optional, "token = { client_id = 'c' }", &[]).unwrap_or_else(|told| panic!("{told:?}"));
    assert!(without.sender.unwrap().tokens().is_none(), "an account without a token sends without one");
}

#[test]
fn the_request_for_tokens_sees_the_access_token_so_far() {
    use crate::platforms::tokens::Grant;
    let platform =
        TOKENS.replace("client_id = \"", "old = \"{{ token.access if token.access is defined }}\", client_id = \"");
    let sender = sender(&platform, "token = { refresh = 'R-1', client_id = 'c' }");
    let (source, seed) = sender.tokens().unwrap();
    let path = |token: Option<&crate::secret::SecretString>| {
        let context = crate::platforms::Context { now_ms: NOW, credential: None, token };
        source.token_request(Grant::Refresh(seed.refresh.as_ref().unwrap()), &context).unwrap().path.into_owned()
    };
    let access = crate::secret::SecretString::new("A-1");
    assert_eq!(path(Some(&access)), "/oauth?old=A-1&client_id=c&refresh_token=R-1");
    assert_eq!(path(None), "/oauth?client_id=c&refresh_token=R-1");
}

#[test]
fn a_token_is_refreshed_after_the_share_of_its_life_that_the_account_states() {
    use crate::platforms::tokens::Life;
    let key = "\"token.client_id\" = {}\n\"token.refresh_ratio\" = { default = 0.8 }";
    let platform = TOKENS.replace("\"token.client_id\" = {}", key);
    let with_ratio = format!("{platform}refresh_ratio = \"{{{{ account.token.refresh_ratio }}}}\"\n");
    let at = |platform: &str, ratio: &str| {
        let keys = format!("token = {{ refresh = 'R-1', client_id = 'c'{ratio} }}");
        let (source, _) = sender(platform, &keys).tokens().unwrap();
        source.refresh_at_ms(&Life { issued_ms: 1_000, access_ends_ms: Some(10_001_000), refresh_ends_ms: None })
    };
    assert_eq!(at(&platform, ""), Some(9_401_000), "ten minutes before its end");
    for (ratio, ms) in [("", 8_001_000), (", refresh_ratio = 0.5", 5_001_000), (", refresh_ratio = 1", 10_001_000)] {
        assert_eq!(at(&with_ratio, ratio), Some(ms), "{ratio}");
    }
    let told = |ratio: &str| {
        let keys = format!("token = {{ refresh = 'R-1', client_id = 'c', refresh_ratio = {ratio} }}");
        configure(&with_ratio, &keys, &[]).map(drop).unwrap_err()
    };
    let range = "a.token.refresh_ratio: has to be a number from 0.5 to 1: token.refresh_ratio is made of it";
    assert_eq!(told("0.4"), [range]);
    assert_eq!(told("'0.9'")[0], "a.toml:1: a.token.refresh_ratio: has to be a number");
}

#[test]
fn a_key_for_a_url_takes_a_path_or_a_whole_url_whose_path_is_used() {
    use crate::platforms::tokens::Grant;
    let key = "\"token.client_id\" = {}\n\"token.url\" = { kind = \"url\", default = \"/oauth\" }";
    let platform = TOKENS
        .replace("\"token.client_id\" = {}", key)
        .replace("url = \"/oauth\"", "url = \"{{ account.token.url }}\"");
    let configured = |url: &str| {
        let keys = format!("token = {{ refresh = 'R-1', client_id = 'c'{url} }}");
        configure(&platform, &keys, &[]).map(|configured| {
            let (source, seed) = configured.sender.unwrap().tokens().unwrap();
            let context = crate::platforms::Context { now_ms: NOW, credential: None, token: None };
            let request = source.token_request(Grant::Refresh(seed.refresh.as_ref().unwrap()), &context).unwrap();
            (request.path.into_owned(), configured.addresses)
        })
    };
    let query = "client_id=c&refresh_token=R-1";
    assert_eq!(configured("").unwrap(), (format!("/oauth?{query}"), vec![]));
    assert_eq!(configured(", url = '/v2/oauth'").unwrap(), (format!("/v2/oauth?{query}"), vec![]));
    let whole = "https://api.example.com/v2/oauth?a=b";
    let address = ("token.url".to_owned(), whole.to_owned());
    assert_eq!(configured(&format!(", url = '{whole}'")).unwrap(), (format!("/v2/oauth?a=b&{query}"), vec![address]));
    for bad in
        ["", "oauth", "ftp://a.example.com/x", "https://u:p@a.example.com/x", "https://a.example.com/x#y", "/a b"]
    {
        let told = configured(&format!(", url = '{bad}'")).unwrap_err();
        assert!(told.iter().all(|told| told.contains("a.token.url: ")), "{bad}: {told:?}");
    }
}

#[test]
fn a_late_part_that_needs_what_the_event_lacks_refuses_it_when_it_is_prepared() {
    let platform = TOKENS.replace(
        "event.trans_id ~ now_ms }}\" }",
        "event.user.user_id ~ now_ms | string }}-{{ event.user.user_id }}\" }",
    );
    let sender = sender(&platform, "token = { refresh = 'R-1', client_id = 'c' }");
    assert_eq!(sent(&*sender, json!({})).map(drop).unwrap_err().0, "user.user_id");
    let with = sent(&*sender, json!({"user": {"user_id": "u"}})).unwrap();
    assert!(body(&with).ends_with(&format!("\"both\":\"u{NOW}-u\"}}")), "{}", body(&with));
}
