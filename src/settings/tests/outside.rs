//! The environment, placeholders, and values that must never be shown.

use super::*;
use crate::account::proxy::ProxyProtocol;

#[test]
fn the_environment_wins_over_the_file_whatever_the_type() {
    let pairs = [
        ("POSTBACK__LIMITS__RPS", "50"),
        ("POSTBACK__LIMITS__TIMEOUT", "2s"),
        ("POSTBACK__KAFKA__GROUP", "5"),
        ("POSTBACK__KAFKA__INPUT", "[\"a\", \"b\"]"),
        ("POSTBACK__KAFKA__CREATE_TOPICS", "false"),
        ("POSTBACK__KAFKA__PROPERTIES__SESSION_TIMEOUT_MS", "40000"),
        ("POSTBACK__KAFKA__PROPERTIES__SASL__PASSWORD", "p_p__p"),
        ("POSTBACK__RETRY__INLINE__MAX_RETRIES", "1"),
        ("POSTBACK__ACCOUNTS__ACME_PS__LIMITS__CONCURRENCY", "3"),
        ("POSTBACK__ACCOUNTS__ACME-BZ__SETTLEMENT", "cpa"),
        ("POSTBACK__ACCOUNTS__ACME_BZ__SUCCESS_VALUES", "[\"ok\"]"),
        ("POSTBACK__ACCOUNTS__ACME_PS__SECRETS__0__ID", "7"),
        ("POSTBACK__ACCOUNTS__ACME_PS__JZQS", "12"),
        (
            "POSTBACK__ACCOUNTS__NEW_ONE",
            "{ platform = \"baizhu\", product = { back = \"p\" }, limits = { rps = 1.5 } }",
        ),
        ("POSTBACK_TEST_KAFKA", "ignored"),
    ];
    let config = good(&with("[limits]\nrps = 10\nconcurrency = 4"), &pairs).config;
    let ps = &config.accounts["acme-ps"];
    assert_eq!((ps.limits.rps, ps.limits.concurrency, ps.limits.timeout), (50.0, 3, Duration::from_secs(2)));
    assert_eq!(config.accounts["acme-bz"].limits.concurrency, 4);
    assert_eq!(config.kafka.group, "5");
    assert_eq!(config.kafka.input, ["a", "b"]);
    assert!(!config.kafka.create_topics);
    assert_eq!(root::session_timeout(&config.kafka), Duration::from_secs(40));
    assert_eq!(config.kafka.properties["sasl.password"], "p_p__p");
    assert_eq!(config.retry.inline.max_retries, 1);
    assert_eq!(config.retry.inline.initial, Duration::from_millis(200));
    assert_eq!(ps.credentials[0].id, "7");
    assert_eq!(config.accounts["new-one"].limits.rps, 1.5);
}

#[test]
fn one_bare_word_is_a_list_of_one_and_a_table_adds_its_members() {
    let pairs = [("POSTBACK__KAFKA__INPUT", "conversions.cn"), ("POSTBACK__LIMITS", "{ rps = 7 }")];
    let config = good(&with("[limits]\nconcurrency = 4"), &pairs).config;
    assert_eq!(config.kafka.input, ["conversions.cn"]);
    let limits = &config.accounts["acme-ps"].limits;
    assert_eq!((limits.rps, limits.concurrency), (7.0, 4));
}

#[test]
fn a_variable_that_names_no_setting_is_a_problem() {
    expect(GOOD, &[("POSTBACK__LIMITS__RSP", "5")], "limits.rsp", "did you mean `rps`?");
    expect(GOOD, &[("POSTBACK__LIMIT__RPS", "5")], "limit", "did you mean `limits`?");
    expect(GOOD, &[("POSTBACK__", "5")], "", "POSTBACK__SECTION__KEY");
    expect(GOOD, &[("POSTBACK__LIMITS__RPS__X", "5")], "limits.rps.x", "no members");
    expect(
        GOOD,
        &[("POSTBACK__ACCOUNTS__ACME_PS__SECRETS__1__ID", "5")],
        "accounts.acme-ps.secrets.1.id",
        "no members",
    );
    expect(GOOD, &[("POSTBACK__LIMITS__RPS", "many")], "limits.rps", "above 0");
    expect(GOOD, &[("POSTBACK__LIMITS", "many")], "limits", "has to be a table");
}

#[test]
fn placeholders_are_filled_everywhere_but_not_twice() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "line ${X}\n").unwrap();
    let path = folder.path().join("postback.toml");
    let text = with(
        "redis.url = \"redis://:${PASS}@h\"\nlimits.rps = \"${RPS}\"\n[accounts.acme-ps]\nsecrets = [{ id = \"${A}-${B}\", key = \"k\", secret = \"${file:secret}\" }]",
    );
    std::fs::write(&path, text).unwrap();
    let pairs = env(&[("PASS", "p${A}"), ("RPS", "9"), ("A", "x"), ("B", "")]);
    let config = Config::load(Some(&path), pairs).unwrap_or_else(|found| panic!("{found}")).config;
    assert_eq!(config.redis.url.expose(), "redis://:p${A}@h");
    let ps = &config.accounts["acme-ps"];
    assert_eq!(ps.credentials[0].id, "x-");
    assert_eq!(ps.credentials[0].secret.expose(), "line ${X}");
    assert_eq!(ps.limits.rps, 9.0);
}

#[test]
fn a_placeholder_that_cannot_be_filled_names_key_and_variable() {
    let secret = |text: &str| {
        with(&format!("[accounts.acme-ps]\nsecrets = [{{ id = \"a\", key = \"k\", secret = \"{text}\" }}]"))
    };
    let key = "accounts.acme-ps.secrets.0.secret";
    expect(&secret("${NOT_SET_ANYWHERE}"), &[], key, "NOT_SET_ANYWHERE is not set");
    expect(&secret("${file:no/such}"), &[], key, "the file no/such cannot be read");
    expect(&secret("${OPEN"), &[], key, "without a closing }");
    expect(&secret("${}"), &[], key, "without a name");
    expect(&secret("${EMPTY}"), &[("EMPTY", "")], key, "is empty");
    expect(&with("[kafka]\nbrokers = \"${BROKERS}\""), &[], "kafka.brokers", "BROKERS is not set");
    expect(&with("[limits]\nrps = \"${RPS}\""), &[], "limits.rps", "RPS is not set");
    expect(&with("[accounts.acme-ps]\njzqs = \"${JZQS}\""), &[], "accounts.acme-ps.jzqs", "JZQS is not set");
}

#[test]
fn a_secret_that_was_damaged_on_its_way_is_refused_by_its_key() {
    let ps = |member: &str, value: &str| {
        let (key, secret) = if member == "key" { (value, "s") } else { ("k", value) };
        with(&format!("[accounts.acme-ps]\nsecrets = [{{ id = \"a\", key = \"{key}\", secret = \"{secret}\" }}]"))
    };
    let property = |name: &str, value: &str| with(&format!("[kafka.properties]\n\"{name}\" = \"{value}\""));
    let places: [(&str, String); 7] = [
        ("accounts.acme-ps.secrets.0.secret", ps("secret", "${V}")),
        ("accounts.acme-ps.secrets.0.key", ps("key", "${V}")),
        ("redis.url", with("[redis]\nurl = \"${V}\"")),
        ("admin.token", with("[admin]\ntoken = \"${V}\"")),
        ("kafka.properties.sasl.password", property("sasl.password", "${V}")),
        ("kafka.properties.sasl.username", property("sasl.username", "${V}")),
        ("kafka.properties.ssl.key.password", property("ssl.key.password", "${V}")),
    ];
    let plain = |key: &str| if key == "redis.url" { "redis://:MARKER@h" } else { "MARKER" };
    for (key, text) in &places {
        let marker = plain(key);
        for (damaged, why) in [
            (format!(" {marker}"), "blank or a line break"),
            (format!("{marker} "), "blank or a line break"),
            (format!("{marker}\n"), "blank or a line break"),
            (format!("{marker}\r\n"), "blank or a line break"),
            (format!("\t{marker}"), "blank or a line break"),
            (format!("{marker}\u{3000}"), "blank or a line break"),
            (format!("\u{feff}{marker}"), "byte order mark"),
            (format!("{marker}\u{200b}"), "invisible"),
            (marker.replace("MA", "MA\n"), "control character"),
            (marker.replace("MA", "MA\u{1}"), "control character"),
        ] {
            let found = bad(text, &[("V", &damaged)]);
            let named: Vec<_> = found.problems.iter().map(|p| p.key.as_str()).collect();
            assert_eq!(named, [*key], "{damaged:?}\n{found}");
            assert!(found.problems[0].reason.contains(why), "{damaged:?}\n{found}");
            assert!(!format!("{found}\n{found:?}").contains("RKER"), "{found}");
        }
        if !key.contains("ssl.key") {
            good(text, &[("V", marker)]);
        }
    }
    // A blank in the middle is allowed in a secret, but not in a URL.
    assert_eq!(good(&ps("secret", "a b"), &[]).config.accounts["acme-ps"].credentials[0].secret.expose(), "a b");
    expect(&with("[redis]\nurl = \"redis://:a b@h\""), &[], "redis.url", "%20");
    expect(&with("[redis]\nurl = \"redis://:${V}@h\""), &[("V", "secret\n")], "redis.url", "control character");
    // A list of secrets in an environment variable is judged like one in the file.
    let list = [("POSTBACK__ACCOUNTS__ACME_PS__SECRETS", r#"[{ id = "a", key = "k", secret = "s " }]"#)];
    expect(GOOD, &list, "accounts.acme-ps.secrets.0.secret", "blank or a line break");
}

#[test]
fn a_certificate_in_lines_may_end_with_one_and_holds_nothing_invisible() {
    let pem = |text: &str| with(&format!("[kafka.properties]\n\"ssl.ca.pem\" = \"{text}\""));
    let found = bad(&pem("\\uFEFF-----BEGIN CERTIFICATE-----\\n"), &[]);
    assert_eq!(found.problems[0].key, "kafka.properties.ssl.ca.pem");
    assert!(found.problems[0].reason.contains("byte order mark"), "{found}");
    let lines = load(&pem("-----BEGIN CERTIFICATE-----\\nMARKER\\n-----END CERTIFICATE-----\\n"), &[]);
    if let Err(found) = lines {
        // librdkafka judges the certificate; line breaks in it are no problem.
        assert!(!found.to_string().contains("control character"), "{found}");
    }
}

#[test]
fn a_byte_order_mark_before_a_file_is_skipped_and_in_a_secret_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rps"), "\u{feff}9\n").unwrap();
    std::fs::write(folder.path().join("secret"), "\u{feff}s3cret\n").unwrap();
    let path = folder.path().join("postback.toml");
    let load = |text: &str| {
        std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
        Config::load(Some(&path), env(&[]))
    };
    let text = with("[limits]\nrps = \"${file:rps}\"\n[accounts.acme-ps]\njzqs = \"${file:rps}\"");
    let config = load(&text).unwrap_or_else(|found| panic!("{found}")).config;
    assert_eq!(config.accounts["acme-ps"].limits.rps, 9.0);
    let text = with("[accounts.acme-ps]\nsecrets = [{ id = \"a\", key = \"k\", secret = \"${file:secret}\" }]");
    let Err(found) = load(&text) else { panic!("a secret with a mark is taken") };
    assert_eq!(found.problems[0].key, "accounts.acme-ps.secrets.0.secret");
    assert!(found.problems[0].reason.contains("byte order mark"), "{found}");
    // The secrets of platforms whose keys a file of theirs states.
    for account in [
        "platform = \"meta\"\npixel_id = \"1\"\naccess_token = \"${file:secret}\"",
        "platform = \"oceanengine\"\napp_secret = \"${file:secret}\"",
        "platform = \"baidu\"\ntoken = \"t\"\nakey = \"${file:secret}\"",
        "platform = \"baidu\"\ntoken = \"${file:secret}\"",
    ] {
        let Err(found) = load(&with(&format!("[accounts.other]\n{account}"))) else { panic!("taken: {account}") };
        let key = account.lines().find(|line| line.contains("file:")).unwrap().split(' ').next().unwrap();
        assert_eq!(found.problems[0].key, format!("accounts.other.{key}"));
        assert!(found.problems[0].reason.contains("byte order mark"), "{found}");
    }
    // The line number of a problem is that of the file, with and without a byte order mark.
    let Err(found) = load("[kafka]\nbrokers = 5\n") else { panic!("passed") };
    assert!(found.to_string().contains("postback.toml:2: kafka.brokers"), "{found}");
}

#[test]
fn no_secret_is_ever_shown() {
    // Each of these texts would be in a message if messages showed values.
    for over in [
        "[redis]\nurl = \"MARKER\"",
        "[redis]\nurl = \"redis://:MARKER@h:port\"",
        "[admin]\ntoken = \"MARKER\\u007F\"",
        "[admin]\nlisten = \"${V}\"",
        "[limits]\ntimeout = \"${V}\"",
        "[limits]\nrps = \"${V}\"",
        "[intake]\nmax_in_flight_bytes = \"${V}\"",
        "[telemetry]\nformat = \"${V}\"\nlog = \"${V}=${V}=\"",
        "[kafka]\ninput = [\"${V} \"]",
        "[kafka.properties]\n\"session.timeout.ms\" = \"MARKER\"",
        "[kafka.properties]\n\"sasl.pasword\" = \"MARKER\"",
        "[accounts.acme-ps]\nbase_url = \"https://u:MARKER@example.org\"",
        "[accounts.acme-ps]\nbase_url = \"${V}\"",
        "[accounts.acme-ps]\nplatform = \"${V}\"",
        "[accounts.acme-ps]\nsecrets = \"MARKER\"",
        "[accounts.acme-ps]\nsecrets = [\"MARKER\"]",
        "[accounts.acme-ps]\nsecrets = [{ id = \"a\", key = \"MARKER MARKER\", secret = \"MARKER\", not_after = \"MARKER\" }]",
        "[accounts.acme-ps]\nsecrets = [{ id = \"MARKER\", key = \"k\", secret = 5 }]",
        "[accounts.acme-ps]\nnatural_day.tz = \"${V}\"",
        "[accounts.acme-ps]\nerrno2 = \"${V}\"",
        "[accounts.acme-ps]\nmap.order = \"${V}\"",
        "[accounts.acme-ps]\ntokn = \"MARKER\"",
    ] {
        let found = bad(&with(over), &[("V", "MARKER")]);
        let shown = format!("{found}\n{found:?}");
        assert!(!shown.contains("MARKER"), "{over}\n{shown}");
    }
    for (name, value) in [
        ("LIMITS__TIMEOUT", "MARKER"),
        ("ACCOUNTS__ACME_PS__ERRNO2", "MARKER"),
        ("ACCOUNTS__ACME_PS__NATURAL_DAY__TZ", "MARKER \\\" '"),
        ("ACCOUNTS__ACME_PS__EVENT_PARAM__VALUE_EVENTS", "[\"MARKER\"]"),
        ("ACCOUNTS__ACME_PS__NATURAL_DAY", "{ tz = \"MARKER\" }"),
        ("ACCOUNTS__ACME_PS__BASE_URLS", "[\"MARKER\"]"),
    ] {
        let found = bad(GOOD, &[(&format!("POSTBACK__{name}"), value)]);
        assert!(found.problems.len() == 1 && !format!("{found}\n{found:?}").contains("MARKER"), "{found}");
    }
}

#[test]
fn a_loaded_configuration_prints_no_secret() {
    let text = with(
        "kafka.properties.\"sasl.password\" = \"MARKER\"\nredis.url = \"redis://:MARKER@h\"\nredis.token_key = \"TUFSS0VSTUFSS0VSTUFSS0VSTUFSS0VSTUFSS0VSTUE=\"\nadmin.token = \"MARKER\"\n[accounts.acme-ps]\nsecrets = [{ id = \"a\", key = \"k\", secret = \"MARKER\" }]\nproxy = \"http://MARKER:MARKER@h\"",
    );
    let config = good(&text, &[]).config;
    let credentials: Vec<_> = config.accounts.values().map(|a| (&a.credentials, &a.proxy)).collect();
    let shown = format!("{:?} {:?} {:?} {:?}", config.kafka, config.redis, config.admin, credentials);
    assert!(!shown.contains("MARKER") && !shown.contains("TUFSS0VS"), "{shown}");
    assert_eq!(config.admin.token.expose(), "MARKER");
}

#[test]
fn a_proxy_takes_its_password_from_the_environment_and_a_bad_one_is_not_repeated() {
    let with_proxy = |url: &str| with(&format!("[accounts.acme-ps]\nproxy = \"{url}\""));
    let env = [("PROXY_PASSWORD", "MARKER")];
    let config = good(&with_proxy("socks5://li:${PROXY_PASSWORD}@proxy.example"), &env).config;
    let proxy = config.accounts["acme-ps"].proxy.as_ref().unwrap();
    assert_eq!(proxy.login.as_ref().map(|login| login.password.expose()), Some("MARKER"));
    assert!(config.accounts.values().any(|account| account.proxy.is_none()), "it is the account's own");
    let config = good(&with_proxy("https://li:${PROXY_PASSWORD}@proxy:443"), &env).config;
    let proxy = config.accounts["acme-ps"].proxy.as_ref().unwrap();
    assert_eq!((proxy.protocol, &*proxy.host, proxy.port), (ProxyProtocol::Https, "proxy", 443));
    for url in ["socks4://li:${PROXY_PASSWORD}@proxy.example", "http://li:${PROXY_PASSWORD}@proxy.example/path"] {
        let found = bad(&with_proxy(url), &env);
        let shown = format!("{found}\n{found:?}");
        assert!(found.problems.len() == 1 && shown.contains("accounts.acme-ps.proxy"), "{shown}");
        assert!(!shown.contains("MARKER"), "{shown}");
    }
    expect(&with_proxy("${NOT_SET_ANYWHERE}"), &[], "accounts.acme-ps.proxy", "NOT_SET_ANYWHERE is not set");
}
