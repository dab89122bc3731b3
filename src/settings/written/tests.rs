use super::super::Config;
use super::*;

/// What changes between two files over the defaults, as lines: what is taken, and what is not.
fn changes(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let found = between(before, after);
    let lines = |all: &[Changed]| all.iter().map(ToString::to_string).collect();
    (lines(&found.taken), lines(&found.at_restart))
}

fn between(before: &str, after: &str) -> Difference {
    let [before, after] = [before, after].map(load);
    difference(&before.written, &after.written, [&before.platforms, &after.platforms])
}

fn load(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("postback.toml");
    std::fs::write(&file, text).unwrap();
    let env = [("SECRET".to_owned(), "ocpc_ps_convert".to_owned()), ("OTHER".to_owned(), "ocpc_ms_convert".to_owned())];
    Config::load(Some(&file), env).unwrap_or_else(|found| panic!("{found}")).config
}

fn file(rest: &str) -> String {
    format!("kafka.brokers = \"b:9092\"\nredis.url = \"redis://:hidden@r:6379\"\n{rest}")
}

const ACME: &str = r#"
[accounts.acme]
platform = "qihoo360"
secrets = [{ id = "old", key = "app-key", secret = "very-secret" }]
data_industry = "ocpc_ps_convert"
[accounts.acme.limits]
rps = 20
"#;

#[test]
fn a_changed_setting_is_named_with_both_values_and_a_secret_only_by_its_key() {
    let after = ACME
        .replace("rps = 20", "rps = 50")
        .replace("very-secret", "corrected")
        .replace("\"old\"", "\"new\"")
        .replace("app-key", "other-key")
        .replace("ocpc_ps_convert", "ocpc_ms_convert");
    let (taken, at_restart) = changes(&file(ACME), &file(&after));
    let expected = [
        "accounts.acme.data_industry: \"ocpc_ps_convert\" → \"ocpc_ms_convert\"",
        "accounts.acme.limits.rps: 20 → 50",
        "accounts.acme.secrets.0.id: \"old\" → \"new\"",
        "accounts.acme.secrets.0.key: changed",
        "accounts.acme.secrets.0.secret: changed",
    ];
    assert_eq!((taken.as_slice(), at_restart.len()), (&expected.map(str::to_owned)[..], 0));
}

#[test]
fn a_setting_that_needs_a_restart_is_named_and_is_not_among_those_that_are_taken() {
    let before = file(&format!("dedupe.window = \"12d\"\ntelemetry.log = \"info\"\n{ACME}"));
    let after = before
        .replace("b:9092", "other:9092")
        .replace(":hidden@", ":other@")
        .replace("\"12d\"", "\"13d\"")
        .replace("\"info\"", "\"debug\"");
    let (taken, at_restart) = changes(&before, &after);
    assert_eq!(taken, ["telemetry.log: \"info\" → \"debug\""]);
    let expected =
        ["dedupe.window: \"12d\" → \"13d\"", "kafka.brokers: \"b:9092\" → \"other:9092\"", "redis.url: changed"];
    assert_eq!(at_restart, expected);
}

#[test]
fn nothing_that_may_be_secret_is_shown_wherever_it_stands() {
    let hook = |account: &str| {
        format!(
            "[accounts.hook]\nplatform = \"webhook\"\nbase_url = \"https://hooks.example/T0/{account}\"\n\
             secret = \"{account:A<12}\"\nproxy = \"http://user:pw-{account}@proxy:1\"\n"
        )
    };
    let found = between(&file(&hook("first")), &file(&hook("second")));
    let text = format!("{found:?}");
    for hidden in ["first", "second", "T0", "pw-"] {
        assert!(!text.contains(hidden), "{hidden} in {text}");
    }
    assert_eq!(found.taken.len(), 3, "{text}");
    // A value from the environment is not shown either, whatever its key.
    let from = |name: &str| file(&ACME.replace("\"ocpc_ps_convert\"", &format!("\"${{{name}}}\"")));
    let (taken, _) = changes(&from("SECRET"), &from("OTHER"));
    assert_eq!(taken, ["accounts.acme.data_industry: changed"]);
    let text = format!("{:?}", load(&file(ACME)).written);
    assert_eq!(text, "Written");
}

#[test]
fn accounts_that_come_and_go_are_named_key_by_key() {
    let (taken, at_restart) = changes(&file(ACME), &file(&ACME.replace("accounts.acme", "accounts.other")));
    assert!(taken.contains(&"accounts.acme.platform: removed".to_owned()), "{taken:?}");
    assert!(taken.contains(&"accounts.other.platform: added, \"qihoo360\"".to_owned()), "{taken:?}");
    assert!(taken.contains(&"accounts.other.secrets.0.secret: added".to_owned()), "{taken:?}");
    assert_eq!(at_restart.len(), 0);
}
