//! What a test needs of an account, and the keys of accounts.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::problem::Report;
use crate::config::{read, tree};
use crate::error::{DeliveryError, Fault};
use crate::event::{ConversionEvent, decode};
use crate::platforms::declared::load;
use crate::platforms::{Configured, Context, Platform, Prepared, Request, Sender};
use crate::secret::SecretString;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Common {
    #[serde(rename = "enabled")]
    _enabled: bool,
}

/// An account of the platform with these keys; or its problems.
pub(super) fn configure(platform: &str, keys: &str, map: &[(&str, &str)]) -> Result<Configured, Vec<String>> {
    let platform = load("p.toml", platform).unwrap_or_else(|found| panic!("{found}"));
    let report = Report::default();
    let table = tree::parse(&"a.toml".into(), keys).unwrap();
    let (_, mut rest) = read::split::<Common>(table, "a", &["validate"], &report);
    let map: BTreeMap<_, _> = map.iter().map(|(event, native)| ((*event).to_owned(), (*native).to_owned())).collect();
    let configured = platform.configure(&mut rest, map);
    let mut told: Vec<_> = report.finish().problems.iter().map(ToString::to_string).collect();
    match configured {
        Ok(configured) if told.is_empty() => Ok(configured),
        Ok(_) => Err(told),
        Err(problems) => {
            told.extend(problems.into_iter().map(|(key, reason)| format!("a.{key}: {reason}")));
            Err(told)
        }
    }
}

pub(super) fn sender(platform: &str, keys: &str) -> Arc<dyn Sender> {
    configure(platform, keys, &[]).unwrap_or_else(|told| panic!("{told:?}")).sender.unwrap()
}

/// An event with these members over the usual ones.
pub(super) fn event(over: Value) -> ConversionEvent {
    let mut event = json!({
        "trans_id": "t-1", "platform": "p", "account": "a", "event_type": "pay", "event_time_ms": 1_736_899_200_123_i64,
    });
    if let (Some(event), Value::Object(over)) = (event.as_object_mut(), over) {
        event.extend(over);
    }
    decode(Some(event.to_string().as_bytes())).unwrap()
}

pub(super) const NOW: i64 = 1_736_899_201_000;

pub(super) fn request(sender: &dyn Sender, items: &[&Prepared]) -> Request {
    let token = SecretString::new("TOKEN-7");
    let token = sender.tokens().map(|_| &token);
    sender.shown_request(items, &Context { now_ms: NOW, credential: None, token }).unwrap()
}

/// The request of one event; or the field and the text of its refusal.
pub(super) fn sent(sender: &dyn Sender, over: Value) -> Result<Request, (String, String)> {
    match sender.prepare(&event(over)) {
        Ok(prepared) => Ok(request(sender, &[&prepared])),
        Err(
            DeliveryError::Invalid(Fault { field, detail }) | DeliveryError::UnmappedEvent(Fault { field, detail }),
        ) => Err((field.into_owned(), detail)),
        Err(other) => panic!("{other:?}"),
    }
}

pub(super) fn body(request: &Request) -> &str {
    std::str::from_utf8(&request.body).unwrap()
}

const PLATFORM: &str = r#"
name = "keys"
title = "Keys"
base_url = "https://keys.example.com"
[account.keys]
access_token = { secret = true, required = true }
style = { values = ["underscore", "hyphen"], default = "underscore" }
base = { values = [0, 1], default = 0 }
loud = { kind = "flag" }
"app.id" = { required = true }
[events]
pay = 3
[[request]]
url = "/x"
json = { style = "{{ account.style }}", base = "{{ account.base }}", loud = "{{ account.loud }}", id = "{{ account.app.id }}", n = "{{ native }}" }
[answer]
delivered = "status == 200"
"#;

#[test]
fn keys_are_read_with_their_kinds_and_defaults() {
    let sender = sender(PLATFORM, "access_token = 'S'\nloud = true\napp = { id = 'i' }\nbase = 1");
    let request = sent(&*sender, json!({})).unwrap();
    assert_eq!(body(&request), r#"{"style":"underscore","base":1,"loud":true,"id":"i","n":3}"#);
    let sender = self::sender(PLATFORM, "access_token = 'S'\napp.id = 'i'");
    assert_eq!(body(&sent(&*sender, json!({})).unwrap()), r#"{"style":"underscore","base":0,"id":"i","n":3}"#);
}

#[test]
fn what_is_wrong_with_a_key_is_told_and_a_secret_is_not_repeated() {
    let told = |keys: &str| configure(PLATFORM, keys, &[]).map(drop).unwrap_err();
    assert_eq!(
        told("access_token = 5\nstyle = 'x'\nbase = 2\nlod = 1\napp = { id = 'i', x = 1 }"),
        [
            "a.toml:1: a.access_token: has to be a string in quotes",
            "a.toml:2: a.style: has to be \"underscore\" or \"hyphen\"",
            "a.toml:3: a.base: has to be 0 or 1",
            "a.toml:4: a.lod: is no key of this table; did you mean `loud`?",
            "a.toml:5: a.app.x: is no key of this table; it has id",
        ]
    );
    assert_eq!(
        told("app = 5"),
        ["a.toml:1: a.app: has to be a table", "a.access_token: is missing", "a.app.id: is missing"]
    );
    let text = told("access_token = 'S'\napp.id = 'i'\nbase = 'x'");
    assert_eq!(text, ["a.toml:3: a.base: has to be a whole number"]);
    let secret = told("access_token = ' MARKER'\napp.id = 'i'");
    assert!(secret.len() == 1 && !secret[0].contains("MARKER"), "{secret:?}");
}

#[test]
fn an_accounts_map_goes_over_the_platforms_events() {
    let keys = "access_token = 'S'\napp.id = 'i'";
    let sender = configure(PLATFORM, keys, &[("pay", "7"), ("lead", "9")]).unwrap().sender.unwrap();
    assert!(body(&sent(&*sender, json!({})).unwrap()).ends_with("\"n\":7}"));
    assert_eq!(sender.native("lead", None).as_deref(), Some("9"));
    assert_eq!(sender.native("pay", Some("12")).as_deref(), Some("12"));
    assert_eq!(sender.natives(), ["7", "9"]);
    for wrong in ["x", "07", ""] {
        assert_eq!(sender.native("pay", Some(wrong)), None, "{wrong}");
    }
    let told = configure(PLATFORM, keys, &[("pay", "PAY")]).map(drop).unwrap_err();
    assert_eq!(told, ["a.map.pay: has to be a whole number, as all native events"]);
    let (field, detail) = sent(&*sender, json!({"event_type": "pya"})).unwrap_err();
    assert_eq!((field.as_str(), detail.contains("nearest known name is pay")), ("event_type", true), "{detail}");
    let (field, _) = sent(&*sender, json!({"platform_event": "x"})).unwrap_err();
    assert_eq!(field, "platform_event");
}

#[test]
fn a_member_of_the_map_applies_to_the_forms_that_take_its_kind() {
    let platform = r#"
name = "kinds"
title = "Kinds"
base_url = "https://kinds.example.com"
[events]
pay = 26
[[request]]
when = "event.click.app is defined"
url = "/app"
json = { n = "{{ native }}" }
events = { pay = "orders" }
[[request]]
url = "/web"
json = { n = "{{ native }}" }
[answer]
delivered = "status == 200"
"#;
    let (app, web) = (json!({"click": {"app": "x"}}), json!({}));
    let native = |sender: &dyn Sender, over: &Value| body(&sent(sender, over.clone()).unwrap()).to_owned();
    for (mapped, of_app, of_web) in
        [("10", r#"{"n":"orders"}"#, r#"{"n":10}"#), ("buy", r#"{"n":"buy"}"#, r#"{"n":26}"#)]
    {
        let sender = configure(platform, "", &[("pay", mapped)]).unwrap().sender.unwrap();
        assert_eq!(
            (native(&*sender, &app), native(&*sender, &web)),
            (of_app.to_owned(), of_web.to_owned()),
            "{mapped}"
        );
    }
    // One form alone gets a native event of the map.
    let sender = configure(platform, "", &[("lead", "3")]).unwrap().sender.unwrap();
    assert_eq!(native(&*sender, &json!({"event_type": "lead"})), r#"{"n":3}"#);
    assert_eq!(sent(&*sender, json!({"event_type": "lead", "click": {"app": "x"}})).unwrap_err().0, "event_type");
    let (field, detail) = sent(&*sender, json!({"platform_event": "7", "click": {"app": "x"}})).unwrap_err();
    assert_eq!((field.as_str(), detail.contains("are names")), ("platform_event", true), "{detail}");
    for (mapped, says) in [("07", "or a name that is no number"), ("", "is empty")] {
        let told = configure(platform, "", &[("pay", mapped)]).map(drop).unwrap_err();
        assert!(told.len() == 1 && told[0].starts_with("a.map.pay: ") && told[0].contains(says), "{told:?}");
    }
}

#[test]
fn a_secret_that_every_request_needs_and_an_account_lacks_is_told_when_it_is_configured() {
    let told = |platform: &str, keys: &str| match configure(platform, keys, &[]) {
        Ok(_) => Vec::new(),
        Err(told) => told,
    };
    let platform = |request: &str| {
        format!(
            "name = \"lack\"\ntitle = \"L\"\nbase_url = \"https://l.example.com\"\n[account.keys]\n\
             secret = {{ secret = true }}\nid = {{}}\n[events]\npay = 1\n{request}\n[answer]\ndelivered = \"status == 200\"\n"
        )
    };
    let one = |text: &str| platform(&format!("[[request]]\nurl = \"/x\"\n{text}"));
    for (text, key) in [
        ("query = { s = \"{{ account.secret }}\" }", "secret"),
        ("query = { s = \"{{ account.id }}\" }", "id"),
        ("headers = { S = \"a {{ account.secret | upper }}\" }", "secret"),
        ("json = { s = \"{{ account.secret }}\" }", "secret"),
        ("form = { s = \"{{ account.secret }}\" }", "secret"),
        ("body = \"{{ event.trans_id }}{{ account.secret }}\"", "secret"),
        ("sign = { header = \"S\", value = \"{{ (url ~ account.secret) | md5 }}\" }", "secret"),
        ("query = { s = \"{{ account.secret if account.id is not defined else '' }}\" }", "secret"),
    ] {
        let found = told(&one(text), "");
        let expected = format!("a.{key}: is missing, and nothing could be sent: request.0 needs {key}");
        assert_eq!(found, [expected], "{text}");
        assert_eq!(told(&one(text), "secret = 'S'\nid = 'i'"), Vec::<String>::new(), "{text}");
    }
    for text in [
        "query = { s = \"{{ account.secret if account.secret is defined }}\" }",
        "query = { s = \"{{ account.secret | default('') }}\" }",
        "json = { s = \"{{ account.id }}\" }",
        "sign = { header = \"S\", value = \"{{ (body ~ account.secret) | md5 if account.secret is defined }}\" }",
    ] {
        assert_eq!(told(&one(text), ""), Vec::<String>::new(), "{text}");
    }
    // Where one request can be made, the file's rules say which events need the other.
    let two = platform(
        "[[request]]\nwhen = \"event.click.x is defined\"\nurl = \"/x\"\nquery = { s = \"{{ account.secret }}\" }\n\
         [[request]]\nurl = \"/y\"\nquery = { i = \"{{ account.id }}\" }",
    );
    assert_eq!(told(&two, "id = 'i'"), Vec::<String>::new());
    assert_eq!(
        told(&two, ""),
        ["a.id: is missing, and nothing could be sent: request.0 needs secret, request.1 needs id"]
    );
}

#[test]
fn an_account_that_asks_for_tokens_needs_what_the_request_for_one_names() {
    let platform = super::requests::TOKENS
        .replace("\"token.client_id\" = {}", "\"token.client_id\" = {}\n\"token.client_secret\" = { secret = true }")
        .replace(
            "client_id = \"{{ account.token.client_id }}\"",
            "client_id = \"{{ account.token.client_id }}\", s = \"{{ account.token.client_secret }}\"",
        );
    let told = |keys: &str| match configure(&platform, keys, &[]) {
        Ok(_) => Vec::new(),
        Err(told) => told,
    };
    assert_eq!(
        told("token = { refresh = 'R', client_id = 'c' }"),
        ["a.token.client_secret: is missing: token.request needs it"]
    );
    assert_eq!(told("token = { refresh = 'R', client_id = 'c', client_secret = 's' }"), Vec::<String>::new());
    assert_eq!(told("token = { access = 'A' }"), Vec::<String>::new(), "a permanent token asks for nothing");
}

#[test]
fn an_account_without_a_token_is_told_where_every_request_needs_one() {
    let told = |platform: &str, keys: &str| configure(platform, keys, &[]).map(drop).err().unwrap_or_default();
    let tokens = super::requests::TOKENS;
    assert_eq!(
        told(tokens, "token = { client_id = 'c' }"),
        ["a.token.access: is missing, and nothing could be sent: request.0 needs token.access"]
    );
    assert_eq!(told(tokens, "token = { access = 'A' }"), Vec::<String>::new());
    // A code gets no pair where the request for one names the refresh token alone, and the other way round.
    assert_eq!(
        told(tokens, "token = { auth_code = 'C', client_id = 'c' }"),
        ["a.token.refresh: is missing: token.request needs it"]
    );
    let code = tokens.replace("{{ token.refresh }}", "{{ token.code }}");
    assert_eq!(
        told(&code, "token = { refresh = 'R', client_id = 'c' }"),
        ["a.token.auth_code: is missing: token.request needs it"]
    );
    let both = tokens.replace("{{ token.refresh }}", "{{ token.refresh if token.refresh is defined else token.code }}");
    for keys in ["token = { auth_code = 'C', client_id = 'c' }", "token = { refresh = 'R', client_id = 'c' }"] {
        assert_eq!(told(&both, keys), Vec::<String>::new(), "{keys}");
    }
}

#[test]
fn a_key_that_makes_no_path_or_no_number_is_told() {
    let platform = r#"
name = "made"
title = "Made"
base_url = "https://made.example.com"
[account.keys]
at = { default = "/x" }
base = { default = "0" }
[events]
pay = 1
[[request]]
url = "{{ account.at }}"
json = { all = "{{ items }}" }
[batch]
item = { id = "{{ event.trans_id }}" }
[answer]
delivered = "status == 200"
[answer.items]
at = "body.errors"
index = "position"
index_base = "{{ account.base }}"
permanent = "true"
"#;
    let told = |keys: &str| configure(platform, keys, &[]).map(drop).err().unwrap_or_default();
    assert_eq!(told(""), Vec::<String>::new());
    assert_eq!(told("at = '/y'\nbase = '1'"), Vec::<String>::new());
    assert_eq!(told("at = 'y'"), ["a.at: makes no path that begins with /: request.0.url is made of it"]);
    assert_eq!(told("at = '@evil.example'"), ["a.at: makes no path that begins with /: request.0.url is made of it"]);
    for wrong in ["/a b", "/a#b", "/a\\tb", "/汉 "] {
        let found = told(&format!("at = \"{wrong}\""));
        assert_eq!(found, ["a.at: makes no path that begins with /: request.0.url is made of it"], "{wrong}");
    }
    let two = platform.replace("{{ account.at }}", "/{{ account.base }}{{ account.at }}");
    let told_of = configure(&two, "at = '/a b'", &[]).map(drop).err().unwrap_or_default();
    assert_eq!(told_of, ["a.at: makes no path that begins with /: request.0.url is made of it"]);
    assert_eq!(told("base = 'one'"), ["a.base: has to be a whole number: answer.items.index_base is made of it"]);
}

#[test]
fn a_key_that_a_filter_does_not_take_is_told_and_not_repeated() {
    let file = include_str!("../../../../config/platforms/webhook.toml");
    let told = |secret: &str| configure(file, &format!("secret = '{secret}'"), &[]).map(drop).err().unwrap_or_default();
    for fine in ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "YWI="] {
        assert_eq!(told(fine), Vec::<String>::new(), "{fine}");
    }
    for wrong in ["MARKER no base64", "whsec_MARKE", "MARKER-1"] {
        assert_eq!(
            told(wrong),
            ["a.secret: cannot be used: request.0.sign is made of it, and unbase64 takes base64"],
            "{wrong}"
        );
    }
}
