//! Embedded parts: both or neither, and no request leaves the host.

use super::*;

const LOCAL: &str = r#"
[kafka]
brokers = "embedded"
[redis]
url = "embedded"
[accounts.acme-bz]
platform = "baizhu"
base_url = "http://127.0.0.1:9470"
allow_http = true
allow_private = true
product = { install = "p", register = "p", back = "p" }
"#;

fn only(found: &Problems) -> (&str, &str) {
    assert_eq!(found.problems.len(), 1, "{found}");
    (&found.problems[0].key, &found.problems[0].reason)
}

#[test]
fn both_parts_may_be_embedded() {
    assert!(good(LOCAL, &[]).config.is_embedded());
    assert!(!good(GOOD, &[]).config.is_embedded());
}

#[test]
fn one_alone_is_refused_wherever_it_is_stated() {
    for (name, value, key, reason) in [
        ("POSTBACK__KAFKA__BROKERS", "h:9092", "redis.url", "but kafka.brokers is not"),
        ("POSTBACK__REDIS__URL", "redis://h", "kafka.brokers", "but redis.url is not"),
    ] {
        let found = bad(LOCAL, &[(name, value)]);
        let (found_key, why) = only(&found);
        assert!(found_key == key && why.contains(reason), "{found}");
        let found = Config::load(None, env(&[(name, value)])).err().unwrap();
        assert_eq!(only(&found).0, key);
    }
    let found = bad(GOOD, &[("POSTBACK__KAFKA__BROKERS", "embedded")]);
    assert!(found.to_string().starts_with("environment POSTBACK__KAFKA__BROKERS: kafka.brokers: "), "{found}");
    let real = [("POSTBACK__KAFKA__BROKERS", "h:9092"), ("POSTBACK__REDIS__URL", "redis://h")];
    assert!(!good(LOCAL, &real).config.is_embedded());
}

#[test]
fn an_account_that_leaves_the_host_is_refused_by_name_and_key() {
    for url in ["https://convert.dop.360.cn", "http://10.0.0.1", "http://0.0.0.0:1", "http://x.localhost:1"] {
        let found = bad(LOCAL, &[("POSTBACK__ACCOUNTS__ACME_BZ__BASE_URL", url)]);
        let (key, reason) = only(&found);
        assert_eq!(key, "accounts.acme-bz.base_url");
        assert!(reason.contains("account acme-bz does not lead to this host"), "{found}");
    }
    for url in ["http://localhost:1", "http://[::1]:1", "http://127.9.9.9", "http://2130706433"] {
        good(LOCAL, &[("POSTBACK__ACCOUNTS__ACME_BZ__BASE_URL", url)]);
    }
    let production = LOCAL.replace("base_url = \"http://127.0.0.1:9470\"\n", "");
    let found = bad(&production, &[]);
    assert_eq!(only(&found).0, "accounts.acme-bz.base_url");
    let failover = LOCAL.replace("base_url = ", "base_urls = [\"https://a.example\", ").replace("9470\"", "9470\"]");
    let found = bad(&failover, &[]);
    assert_eq!(only(&found).0, "accounts.acme-bz.base_urls");
}

#[test]
fn inputs_are_named_and_no_pattern() {
    let found = bad(&LOCAL.replace("[redis]", "input = [\"^conv.*\"]\n[redis]"), &[]);
    assert!(only(&found).0 == "kafka.input" && only(&found).1.contains("embedded broker"), "{found}");
}

#[test]
fn without_a_file_the_demo_is_run_and_the_environment_still_wins() {
    let config = Config::load(None, env(&[("POSTBACK__LIMITS__RPS", "7")])).unwrap_or_else(|p| panic!("{p}")).config;
    assert!(config.is_embedded());
    assert!(config.accounts.len() >= 2);
    for account in config.accounts.values() {
        assert_eq!(account.base_urls, [DEMO_URL], "{}", account.name);
        assert_eq!(account.limits.rps, 7.0);
    }
    let found = Config::load(None, env(&[("POSTBACK__LIMITS__RSP", "7")])).err().unwrap();
    assert!(only(&found).1.contains("did you mean `rps`?"), "{found}");
}
