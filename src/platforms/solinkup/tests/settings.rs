use super::*;

#[track_caller]
fn problems(text: &str) -> Vec<String> {
    let problems = config(text).check().err().unwrap_or_default();
    assert!(problems.iter().all(|(_, reason)| !reason.is_empty()));
    problems.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn every_problem_of_an_account_is_found_at_once() {
    let text = r#"
        open_id = ""
        max_span_days = 0
        sign = { algorithm = "sha1", extra_params = ["a b"] }
        token = { refresh_before = "2d" }
        classify = { halt_patterns = ["("], refresh_patterns = [""] }
        call.template.list.common_params = ["method", "appkey"]
        call.token.get.common_params = ["accessToken"]
    "#;
    let expected = [
        "open_id",
        "sign.algorithm",
        "sign.extra_params",
        "max_span_days",
        "call.token.get.common_params",
        "call.template.list.common_params",
        "call.template.list.common_params",
        "classify.refresh_patterns",
        "classify.halt_patterns",
        "token.refresh_before",
    ];
    assert_eq!(problems(text), expected);
    assert_eq!(problems(""), Vec::<String>::new());
    assert_eq!(problems("open_id = \"a\\nb\""), ["open_id"]);
}

#[test]
fn a_signature_that_would_publish_the_secret_is_refused_with_the_reason() {
    let found = config("sign = { algorithm = 'base64' }").check().unwrap_err();
    assert_eq!(found[0].0, "sign.algorithm");
    assert!(found[0].1.contains("publish the secret"), "{found:?}");
}

#[test]
fn a_setting_outside_its_list_does_not_parse() {
    for text in ["sign.profile = 'php'", "sign.version_label = 'ver'", "sign.trigger = 'no'", "token.access = ''"] {
        assert!(toml::from_str::<Config>(text).is_err(), "{text}");
    }
}

#[test]
fn every_documented_key_is_known() {
    let known = keys::names::<Config>();
    let documented = [
        "open_id",
        "sign.profile",
        "sign.version_label",
        "sign.algorithm",
        "sign.send_sign_method",
        "sign.extra_params",
        "sign.trigger",
        "token.access",
        "token.refresh",
        "token.auth_code",
        "token.refresh_before",
        "allow_destructive",
        "classify.refresh_patterns",
        "classify.halt_patterns",
        "max_span_days",
        "strict_fields",
        "call.template.list.common_params",
        "call.doudian.order_list.common_params",
    ];
    for key in documented {
        assert!(known.iter().any(|k| k == key), "{key}: {known:?}");
    }
}

#[test]
fn what_will_refuse_calls_is_a_warning() {
    let keys =
        |text: &str| config(text).check().unwrap().warnings().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(""), ["open_id"]);
    assert_eq!(keys(&format!("open_id = '{OPEN_ID}'")), Vec::<String>::new());
}

#[test]
fn tokens_are_never_printed() {
    let config = config("token = { access = 'AccessToken@1', refresh = 'r-secret', auth_code = 'c-secret' }");
    let printed = format!("{config:?}");
    assert!(!printed.contains("AccessToken@1") && !printed.contains("secret"), "{printed}");
    // The sandbox has to know them.
    assert_eq!(keys::agreed(&config)["token"]["access"], "AccessToken@1");
}

#[test]
fn it_is_in_the_list_and_takes_no_conversions() {
    let platform = list::find("solinkup").unwrap();
    assert_eq!((platform.title(), platform.base_url()), ("数环通", "https://api.solinkup.com"));
    let shape = platform.credential().unwrap();
    assert_eq!((shape.public, shape.secret), ("key", "secret"));
    assert!((shape.check)(KEY).is_ok());
    for bad in ["a b", "a\nb", "键"] {
        assert!((shape.check)(bad).is_err(), "{bad:?}");
    }
}
