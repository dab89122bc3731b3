use super::account::{AmountUnit, Settlement};
use super::form::Encoding;
use super::*;

const UID: &str = "0123456789abcdef0123456789abcdef";

fn account() -> BaizhuAccount {
    BaizhuAccount {
        install: Some("acc".to_owned()),
        register: Some("reg".to_owned()),
        back: Some("P-0193".to_owned()),
        ..BaizhuAccount::from(Settings::default())
    }
}

fn directory(terms: Vec<BaizhuAccount>) -> Baizhu {
    Baizhu { accounts: terms.into_iter().enumerate().collect() }
}

fn judge(request: &Request, endpoint: Endpoint, fake: &Baizhu) -> Judgement {
    fake.judge_at(endpoint, request)
}

fn request(content_type: &str, body: String) -> Request {
    Request {
        method: "POST".to_owned(),
        target: "/data/back".to_owned(),
        head: format!("POST /data/back HTTP/1.1\r\nContent-Type: {content_type}\r\n\r\n").into(),
        body: body.into(),
    }
}

fn multipart(fields: &[(&str, &str)]) -> Request {
    let parts: String = fields
        .iter()
        .map(|(name, value)| format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"))
        .collect();
    request("multipart/form-data; boundary=B", format!("{parts}--B--\r\n"))
}

/// Returns the body of the answer and the problem in the ledger.
fn outcome(judgement: &Judgement) -> (String, &str) {
    let (response, problem) = match &judgement.verdict {
        Ok(response) => (response, ""),
        Err(refusal) => (&refusal.answer, refusal.problem.as_str()),
    };
    (String::from_utf8(response.body.to_vec()).unwrap(), problem)
}

fn judged(account: BaizhuAccount, endpoint: Endpoint, fields: &[(&str, &str)]) -> String {
    let judgement = judge(&multipart(fields), endpoint, &directory(vec![account]));
    let (body, problem) = outcome(&judgement);
    assert_eq!(body == "{\"code\":\"success\"}", problem.is_empty());
    assert!(problem.is_empty() || body == "{\"code\":\"error\"}");
    problem.to_owned()
}

#[test]
fn each_endpoint_takes_its_fields() {
    assert_eq!(judged(account(), Endpoint::Install, &[("product", "acc"), ("uid", UID)]), "");
    assert_eq!(judged(account(), Endpoint::Register, &[("product", "reg"), ("uid", UID)]), "");
    let back = [
        ("product", "P-0193"),
        ("uid", UID),
        ("product-name", "角色扮演"),
        ("money", "23.45"),
        ("order_number", "o-1"),
        ("returned_money", "0.05"),
    ];
    assert_eq!(judged(account(), Endpoint::Back, &back), "");
    assert_eq!(judged(account(), Endpoint::Back, &back[..2]), "");
}

#[test]
fn each_rule_is_broken_alone() {
    let base = [("product", "P-0193"), ("uid", UID)];
    let with = |more: &[(&'static str, &'static str)]| [&base[..], more].concat();
    for (fields, part) in [
        (vec![("uid", UID)], "product: agreed with no account"),
        (vec![("product", "P-0193")], "uid: missing"),
        (vec![("product", "acc"), ("uid", UID)], "product: not the one agreed"),
        (vec![("product", "P-0193"), ("uid", &UID[1..])], "uid: not 32"),
        (vec![("product", "P-0193"), ("uid", "")], "uid: empty"),
        (with(&[("uid", UID)]), "uid: sent more than once"),
        (with(&[("product_name", "x")]), "product_name: no such field"),
        (with(&[("product-name", "")]), "product-name: empty"),
        (with(&[("product-name", "a\u{1}b")]), "product-name: holds a control"),
        (with(&[("order_number", "a\tb")]), "order_number: holds a control"),
        (with(&[("extra", "1")]), "extra: no such field"),
        (with(&[("money", "23.4")]), "money: not a decimal"),
        (with(&[("money", "23")]), "money: not a decimal"),
        (with(&[("money", "23.456")]), "money: not a decimal"),
        (with(&[("money", "2e1")]), "money: not a decimal"),
        (with(&[("money", "-1.00")]), "money: not a decimal"),
        (with(&[("money", "+1.00")]), "money: not a decimal"),
        (with(&[("money", ".50")]), "money: not a decimal"),
        (with(&[("money", "01.00")]), "money: not a decimal"),
        (with(&[("returned_money", "1,00")]), "returned_money: not a decimal"),
    ] {
        let problem = judged(account(), Endpoint::Back, &fields);
        assert!(problem.contains(part), "{problem:?} does not say {part:?}");
    }
    for endpoint in [Endpoint::Install, Endpoint::Register] {
        let product = endpoint.product(&account()).unwrap().to_owned();
        for name in ["product-name", "money", "order_number", "returned_money"] {
            let problem = judged(account(), endpoint, &[("product", &product), ("uid", UID), (name, "1.00")]);
            assert!(problem.contains("no such field"), "{name}: {problem}");
        }
    }
}

#[test]
fn a_uid_is_counted_in_characters() {
    let uid = "角".repeat(32);
    assert_eq!(judged(account(), Endpoint::Install, &[("product", "acc"), ("uid", &uid)]), "");
}

#[test]
fn amounts_follow_the_vectors_and_the_unit_of_the_account() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../../tests/fixtures/vectors.json")).unwrap();
    let fen = BaizhuAccount { amount_unit: AmountUnit::Fen, ..account() };
    let mut amounts = 0;
    for vector in vectors["amounts"].as_array().unwrap() {
        let Some(yuan) = vector["baizhu.money"].as_str() else { continue };
        let minor = vector["minor"].to_string();
        let send = |terms: &BaizhuAccount, money: &str| {
            judged(terms.clone(), Endpoint::Back, &[("product", "P-0193"), ("uid", UID), ("money", money)])
        };
        assert_eq!((send(&account(), yuan).as_str(), send(&fen, &minor).as_str()), ("", ""), "{yuan}");
        assert!(send(&account(), &minor).contains("money"), "{minor} as yuan");
        assert!(send(&fen, yuan).contains("money"), "{yuan} as fen");
        amounts += 1;
    }
    assert_eq!(amounts, 2);
}

#[test]
fn a_cpa_account_sends_no_amounts() {
    let cpa = BaizhuAccount { settlement: Settlement::Cpa, ..account() };
    for name in ["money", "returned_money"] {
        let problem = judged(cpa.clone(), Endpoint::Back, &[("product", "P-0193"), ("uid", UID), (name, "1.00")]);
        assert!(problem.contains("CPA"), "{problem}");
    }
    assert_eq!(judged(cpa, Endpoint::Back, &[("product", "P-0193"), ("uid", UID), ("order_number", "1")]), "");
}

#[test]
fn names_encoding_and_success_are_as_agreed() {
    let terms = BaizhuAccount {
        product_name_fields: vec!["product-name".to_owned(), "product_name".to_owned()],
        returned_money_field: "returned".to_owned(),
        encoding: Encoding::Urlencoded,
        success_value: "ok".to_owned(),
        ..account()
    };
    let directory = directory(vec![terms]);
    let send = |body: String| {
        let judgement = judge(&request("application/x-www-form-urlencoded", body), Endpoint::Back, &directory);
        let (body, problem) = outcome(&judgement);
        (body, problem.to_owned())
    };
    let start = format!("product=P-0193&uid={UID}");
    let both = format!("{start}&product-name=a&product_name=a&returned=1.00");
    assert_eq!(send(both), ("{\"code\":\"ok\"}".to_owned(), String::new()));
    assert!(send(format!("{start}&product-name=a&product_name=b")).1.contains("spellings differ"));
    assert!(send(format!("{start}&returned_money=1.00")).1.contains("returned_money: no such field"));
    let other = judge(&multipart(&[("product", "P-0193"), ("uid", UID)]), Endpoint::Back, &directory);
    assert!(outcome(&other).1.contains("not the encoding"), "{other:?}");
}

#[test]
fn the_account_is_found_by_product_and_the_ids_by_their_fields() {
    let second = BaizhuAccount { install: Some("acc2".to_owned()), back: None, ..account() };
    let directory = directory(vec![account(), second]);
    let judgement =
        judge(&multipart(&[("product", "acc2"), ("uid", UID), ("order_number", "7")]), Endpoint::Install, &directory);
    assert_eq!(judgement.account, Some(1));
    assert_eq!(judgement.event.as_deref(), Some("install"));
    assert_eq!(judgement.trans_id, None);
    let ids = vec![("uid", Some(UID.to_owned())), ("order_number", Some("7".to_owned()))];
    assert_eq!((judgement.ids, judgement.id.as_deref()), (ids, Some(UID)));
    // The product belongs to another endpoint, but it still tells the account.
    let wrong = judge(&multipart(&[("product", "acc2"), ("uid", UID)]), Endpoint::Back, &directory);
    assert_eq!(wrong.account, Some(1));
    assert_eq!(outcome(&wrong).0, "{\"code\":\"error\"}");
    let nobody = judge(&multipart(&[("product", "x"), ("uid", UID)]), Endpoint::Back, &directory);
    assert_eq!(nobody.account, None);
    let mut get = multipart(&[("product", "acc2"), ("uid", UID)]);
    get.method = "GET".to_owned();
    assert_eq!(judge(&get, Endpoint::Install, &directory).verdict.unwrap_err().answer.status, 405);
}
