use std::cell::RefCell;
use std::net::SocketAddr;

use super::*;
use crate::sandbox::{Sandbox, SandboxAccount};
use crate::settings::Config;

const ADDRESS: &str = "127.0.0.1:0";

/// A platform that agreed on this signature, and the worker's account of it.
async fn platform(sign: Value, secret: &str) -> (Sandbox, Arc<Account>) {
    let account = SandboxAccount::new("acme", "solinkup", json!({ "sign": sign }), &[("AppKey@1", "AppSecret@1")]);
    let sandbox = Sandbox::start(ADDRESS.parse::<SocketAddr>().unwrap(), vec![account]).await.unwrap();
    let account = configured(
        &sandbox.base_url(),
        "solinkup",
        &format!("[{{ id = 'a', key = 'AppKey@1', secret = '{secret}' }}]"),
    );
    (sandbox, account)
}

fn configured(url: &str, platform: &str, secrets: &str) -> Arc<Account> {
    let env = [
        ("POSTBACK__ACCOUNTS__ACME__PLATFORM", platform),
        ("POSTBACK__ACCOUNTS__ACME__BASE_URL", url),
        ("POSTBACK__ACCOUNTS__ACME__ALLOW_HTTP", "true"),
        ("POSTBACK__ACCOUNTS__ACME__ALLOW_PRIVATE", "true"),
        ("POSTBACK__ACCOUNTS__ACME__SECRETS", secrets),
    ];
    let env = env.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let config = Config::load(None, env).unwrap_or_else(|found| panic!("{found}")).config;
    config.accounts["acme"].clone()
}

async fn looked(account: &Arc<Account>) -> (Result<Found, Exit>, Vec<String>) {
    let said = RefCell::new(Vec::new());
    let say = |line: &str| {
        said.borrow_mut().push(line.to_owned());
        Ok(())
    };
    let found = look(account, Duration::from_millis(1), say).await;
    (found, said.into_inner())
}

#[tokio::test]
async fn the_first_variant_that_is_accepted_ends_the_probe_and_its_keys_are_printed() {
    let (sandbox, account) = platform(json!({ "version_label": "v", "algorithm": "hmac-sha256" }), "AppSecret@1").await;
    let (found, said) = looked(&account).await;
    let found = found.unwrap();
    assert_eq!(sandbox.ledger().len(), said.len(), "one request per variant that was tried");
    assert_eq!(sandbox.ledger().iter().filter(|entry| entry.accepted).count(), 1);
    assert!(said[0].contains("refused: ") && said[0].contains("sign.algorithm = \"md5\""), "{said:?}");
    assert!(said.last().unwrap().contains("accepted"), "{said:?}");
    let text = found.text();
    assert!(text.contains("[accounts.acme]\n") || text.contains("[accounts.acme]:\n"), "{text}");
    assert!(text.contains("\n  sign.version_label = \"v\"\n  sign.algorithm = \"hmac-sha256\"\n"), "{text}");
    assert!(text.contains("not found out: sign.profile"), "{text}");
    let json = found.json();
    assert_eq!(json["keys"], json!({ "sign.version_label": "v", "sign.algorithm": "hmac-sha256" }));
    assert_eq!(json["tried"].as_array().unwrap().len(), said.len());
    assert!(found.exit().is_ok());
}

#[tokio::test]
async fn where_none_is_accepted_all_are_tried_and_the_exit_is_1() {
    let (sandbox, account) = platform(json!({}), "AppSecret@other").await;
    let (found, said) = looked(&account).await;
    let found = found.unwrap();
    assert_eq!((said.len(), sandbox.ledger().len()), (6, 6));
    let exit = found.exit().unwrap_err();
    assert_eq!(exit.code, 1);
    assert!(exit.text.contains("none of 6 variants") && exit.text.contains("secret"), "{}", exit.text);
    assert_eq!(found.json()["keys"], Value::Null);
}

#[tokio::test]
async fn a_platform_that_fails_ends_the_probe_at_once() {
    let (sandbox, account) = platform(json!({}), "AppSecret@1").await;
    sandbox.set_faults(&json!({ "acme": { "status": 503 } })).unwrap();
    let exit = looked(&account).await.0.unwrap_err();
    assert_eq!((exit.code, sandbox.ledger().len()), (1, 1));
    assert!(exit.text.contains("judges no variant now"), "{}", exit.text);
    sandbox.shutdown().await;
    let exit = looked(&account).await.0.unwrap_err();
    assert_eq!(exit.code, 1);
}

#[tokio::test]
async fn requests_are_a_second_apart() {
    assert_eq!(PACE, Duration::from_secs(1));
    let (_sandbox, account) = platform(json!({ "version_label": "v" }), "AppSecret@1").await;
    let began = std::time::Instant::now();
    let found = look(&account, Duration::from_millis(150), |_| Ok(())).await.unwrap();
    let Of::Variants { tried, .. } = &found.of else { panic!("{found:?}") };
    assert_eq!(tried.len(), 2);
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn of_other_platforms_the_connection_is_tested_and_nothing_is_sent() {
    let sandbox = Sandbox::start(ADDRESS.parse::<SocketAddr>().unwrap(), SandboxAccount::examples()).await.unwrap();
    let account = configured(&sandbox.base_url(), "qihoo360", "[{ id = 'a', key = 'k', secret = 's' }]");
    let (found, _) = looked(&account).await;
    let found = found.unwrap();
    assert!(found.exit().is_ok() && found.text().contains("connected"), "{}", found.text());
    assert_eq!(found.json()["connections"][0]["connected"], true);
    assert!(sandbox.ledger().is_empty());
    sandbox.shutdown().await;
    let found = looked(&account).await.0.unwrap();
    assert_eq!(found.exit().unwrap_err().code, 1);
    assert!(!found.text().contains("connected;"), "{}", found.text());
}

#[test]
fn an_unknown_account_is_bad_usage() {
    let args = |account: &str| Args { account: account.into(), config: None, json: true };
    let exit = run(&args("demo-360-pss")).unwrap_err();
    assert_eq!(exit.code, 2);
    assert!(exit.text.contains("demo-360-ps"), "{}", exit.text);
}
