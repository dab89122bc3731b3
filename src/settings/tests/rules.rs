//! Rules between several keys, or between all accounts.

use super::*;
use crate::account::WhenUnavailable;
use crate::account::rollout::Share;
use crate::stub::tokens::Tokened;
use std::sync::Arc;

#[test]
fn the_lease_outlives_the_slowest_visit_and_shows_its_arithmetic() {
    // 5 s + 3 x 3 s + (200 ms + 400 ms) + 5 s = 19.6 s
    expect(
        &with("[dedupe]\nlease = \"19599ms\""),
        &[],
        "dedupe.lease",
        "5s + 3 tries x 3s + 600ms of inline delays + 5s = 19600ms",
    );
    good(&with("[dedupe]\nlease = \"19600ms\""), &[]);
    expect(&with("[dedupe]\nlease = \"5s\""), &[], "dedupe.lease", "the lease of 5s");
    // Delays double up to their maximum: 1 + 2 + 3 + 3 s.
    let text = with(
        "[dedupe]\nlease = \"23s\"\n[retry.inline]\nmax_retries = 4\ninitial = \"1s\"\nmax = \"3s\"\n[limits]\ntimeout = \"1s\"",
    );
    expect(&text, &[], "dedupe.lease", "5s + 5 tries x 1s + 9s of inline delays + 5s = 24s");
    good(&text.replace("\"23s\"", "\"24s\""), &[]);
}

#[test]
fn the_lease_is_judged_by_account() {
    let text =
        with("[dedupe]\nlease = \"30s\"\n[accounts.acme-ps]\nlimits.timeout = \"20s\"\nretry.inline.max_retries = 0");
    good(&text, &[]);
    let text =
        with("[dedupe]\nlease = \"29s\"\n[accounts.acme-ps]\nlimits.timeout = \"20s\"\nretry.inline.max_retries = 0");
    expect(
        &text,
        &[],
        "dedupe.lease",
        "account acme-ps may take: 5s + 1 tries x 20s + 0ms of inline delays + 5s = 30s",
    );
    let text = with("[dedupe]\nlease = \"15s\"");
    expect(&text, &[], "dedupe.lease", "too short for");
}

#[test]
fn the_lease_fits_the_session_timeout() {
    let text = with("[kafka.properties]\n\"session.timeout.ms\" = \"20000\"");
    expect(&text, &[], "dedupe.lease", "longer than session.timeout.ms of 20s");
    good(&with("dedupe.lease = \"20s\"\n[kafka.properties]\nsession.timeout.ms = 20000"), &[]);
}

#[test]
fn the_window_outlives_the_longest_account() {
    let text = with("[accounts.acme-bz]\nretry.max_age = \"10d\"\n");
    expect(&text, &[], "dedupe.window", "max_age + max_parked of account acme-bz (10d + 3d) + 2d = 15d");
}

#[test]
fn a_window_outlives_what_waits_by_two_days_or_is_warned_of() {
    good(&with("[dedupe]\nwindow = \"6d\""), &[]);
    expect(&with("[dedupe]\nwindow = \"143h\""), &[], "dedupe.window", "window_check = \"warn\"");
    let loaded = good(&with("[dedupe]\nwindow = \"143h\"\nwindow_check = \"warn\""), &[]);
    assert!(
        loaded.warnings.iter().any(|w| w.to_string().contains("has to be at least max_age")),
        "{:?}",
        loaded.warnings
    );
    expect(&with("[dedupe]\nwindow_check = \"never\""), &[], "dedupe.window_check", "refuse");
}

#[test]
fn properties_get_their_one_true_name() {
    let text = with(
        "[kafka.properties]\nsecurity.protocol = \"SASL_SSL\"\n\"sasl.mechanisms\" = \"PLAIN\"\n\"queue.buffering.max.ms\" = 5\nenable.ssl.certificate.verification = false",
    );
    let properties = good(&text, &[]).config.kafka.properties;
    let pairs: Vec<_> = properties.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let want = [
        "enable.ssl.certificate.verification=false",
        "linger.ms=5",
        "sasl.mechanism=PLAIN",
        "security.protocol=SASL_SSL",
    ];
    assert_eq!(pairs, want);
}

#[test]
fn accounts_of_one_key_state_one_rate() {
    let twin =
        "[accounts.acme-ms]\nplatform = \"qihoo360\"\nsecrets = [{ id = \"x\", key = \"KEY\", secret = \"T\" }]\n";
    good(&with(twin), &[]);
    let text = with(&format!("{twin}limits.rps = 50"));
    expect(
        &text,
        &[],
        "accounts.acme-ps.limits.rps",
        "accounts acme-ms and acme-ps share one rate, but state 50 and 20",
    );
    let own = with(&format!("{twin}limits = {{ rps = 50, shared_as = \"own\" }}"));
    assert_eq!(good(&own, &[]).config.accounts["acme-ms"].limits.shared_as, "own");
    let text = with("limits.shared_as = \"all\"\n[accounts.acme-ps.limits]\nrps = 5");
    expect(&text, &[], "accounts.acme-ps.limits.rps", "acme-bz and acme-ps");
}

#[test]
fn two_secrets_may_overlap_and_the_last_one_names_the_bucket() {
    let text = with(
        "[accounts.acme-ps]\nsecrets = [{ id = \"a\", key = \"K1\", secret = \"s\", not_after = \"2026-10-02T00:00:00+08:00\" }, { id = \"b\", key = \"K2\", secret = \"t\", not_before = 2026-10-01T00:00:00Z }]",
    );
    let config = good(&text, &[]).config;
    let ps = &config.accounts["acme-ps"];
    assert_eq!(ps.limits.shared_as, "K2");
    assert_eq!(ps.credentials[0].not_after_ms, Some(1_790_870_400_000));
    assert_eq!(ps.credentials[1].not_before_ms, Some(1_790_812_800_000));
}

#[test]
fn an_account_without_a_credential_now_is_told_apart_from_a_bad_file() {
    let text = with(
        "[accounts.acme-ps]\nsecrets = [{ id = \"a\", key = \"k\", secret = \"s\", not_after = \"2026-10-02T00:00:00Z\" }]",
    );
    let config = good(&text, &[]).config;
    assert_eq!(config.without_credential(1_700_000_000_000), []);
    assert_eq!(config.without_credential(1_900_000_000_000)[0].key, "accounts.acme-ps.secrets");
}

#[test]
fn an_account_that_sends_with_a_token_and_states_none_would_halt() {
    let account = |token: &str| {
        with(&format!(
            "[accounts.acme-doudian]\nplatform = \"solinkup\"\nopen_id = \"OpenId@1\"\n{token}\n\
             secrets = [{{ id = \"a\", key = \"AppKey@1\", secret = \"s\" }}]"
        ))
    };
    let keys = |token: &str| -> Vec<String> {
        let found = good(&account(token), &[]).config.without_credential(1_700_000_000_000);
        found.into_iter().map(|problem| problem.key).collect()
    };
    assert_eq!(keys(""), ["accounts.acme-doudian.token"]);
    for token in ["token.access = \"A\"", "token.refresh = \"R\"", "token.auth_code = \"C\"", "enabled = false"] {
        assert_eq!(keys(token), Vec::<String>::new(), "{token}");
    }
}

/// [`GOOD`] with an account whose tokens rotate, judged together with the others.
fn rotating(text: &str) -> (Vec<Problem>, Config) {
    let file = file(text);
    let report = Report::new(None);
    let layers = Layers {
        defaults: ("default.toml", DEFAULT),
        file: Some(&file.path),
        no_file: ("demo.toml", DEMO),
        env: &std::collections::BTreeMap::new(),
    };
    let mut settings = Settings::load(&layers, &report).unwrap();
    let root: Root = settings.read("accounts").unwrap();
    let files = crate::settings::platform_files::PlatformFiles::default();
    let mut drafts = accounts::read(&settings, &root, &files);
    for account in drafts.iter_mut().filter_map(|d| d.account.as_mut()).filter(|a| &*a.name == "acme-bz") {
        account.sender = Some(Arc::new(Tokened { items: 1 }));
    }
    crate::settings::rules::judge(&settings, &root, &drafts);
    let mut config = good(text, &[]).config;
    config.accounts = drafts.into_iter().filter_map(|d| d.account).map(|a| (a.name.clone(), Arc::new(a))).collect();
    (report.finish().problems, config)
}

#[test]
fn a_token_request_counts_in_the_lease_of_an_account_with_tokens() {
    // 5 s + 3 x 3 s + (200 ms + 400 ms) + 3 s + 5 s = 22.6 s; without tokens it is 19.6 s.
    let (problems, _) = rotating(&with("dedupe.lease = \"22599ms\""));
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!(problem.key, "dedupe.lease");
    assert!(
        problem.reason.contains(
            "account acme-bz may take: 5s + 3 tries x 3s + 600ms of inline delays + 3s for a token + 5s = 22600ms"
        ),
        "{problem}"
    );
    assert_eq!(rotating(&with("dedupe.lease = \"22600ms\"")).0, []);
}

#[test]
fn tokens_that_rotate_need_a_key_and_nothing_else_does() {
    let (problems, config) = rotating(GOOD);
    let Some(problem) = config.without_token_key() else { panic!("tokens would be kept as they are") };
    assert_eq!((problems, &*problem.key), (Vec::new(), "redis.token_key"));
    assert!(problem.reason.contains("acme-bz") && problem.reason.contains("openssl rand -base64 32"), "{problem}");
    let key = "redis.token_key = \"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\"";
    let (problems, config) = rotating(&with(key));
    assert_eq!((problems, config.without_token_key()), (Vec::new(), None));
    assert_eq!(good(GOOD, &[]).config.without_token_key(), None);
}

#[test]
fn a_token_key_is_32_bytes_in_base64_and_is_not_repeated() {
    for key in ["MARKER", "TUFSS0VS", "TUFSS0VSTUFSS0VSTUFSS0VSTUFSS0VSTUFSS0VSTUFSS0VS"] {
        expect(GOOD, &[("POSTBACK__REDIS__TOKEN_KEY", key)], "redis.token_key", "openssl rand -base64 32");
        let found = bad(GOOD, &[("POSTBACK__REDIS__TOKEN_KEY", key)]);
        assert!(!format!("{found} {found:?}").contains(key), "{found}");
    }
}

#[test]
fn a_drain_that_ends_before_a_call_can_end_is_a_doubt() {
    let text = with(
        "[intake]\ndrain_timeout = \"4s\"\n[accounts.kdn]\nplatform = \"kdniao\"\ncall_limits = { timeout = \"5s\" }\n\
         secrets = [{ id = \"a\", business_id = \"1237100\", secret = \"s\" }]",
    );
    let warnings = good(&text, &[]).warnings;
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    assert_eq!(warning.key, "intake.drain_timeout");
    assert!(warning.reason.contains("the timeout 5s of account kdn"), "{warning}");
}

#[test]
fn doubts_are_warnings() {
    let text = with("[intake]\ndrain_timeout = \"3s\"\n[accounts.other]\nplatform = \"baizhu\"\nproduct.back = \"p\"");
    let keys: Vec<_> = good(&text, &[]).warnings.into_iter().map(|w| w.key).collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
    for key in ["intake.drain_timeout", "accounts.other.product.install", "accounts.other.product.register"] {
        assert!(keys.iter().any(|k| k == key), "{key} in {keys:?}");
    }
    let many: String = (0..31)
        .map(|i| {
            format!(
                "[accounts.a{i}]\nplatform = \"qihoo360\"\nsecrets = [{{ id = \"x\", key = \"K\", secret = \"s\" }}]\n"
            )
        })
        .collect();
    let warnings = good(&with(&many), &[]).warnings;
    assert!(warnings.len() == 1 && warnings[0].reason.contains("31 accounts"), "{warnings:?}");
    let off = with("[accounts.acme-ps]\nenabled = false\n[accounts.acme-bz]\nenabled = false");
    assert_eq!(good(&off, &[]).warnings[0].key, "accounts");
}

#[test]
fn an_account_overrides_what_it_states_and_inherits_the_rest() {
    let text = with(
        "[limits]\nrps = 7\n[accounts.acme-ps]\nbase_urls = [\"https://a.example/\", \"https://b.example/x/\"]\npath = \"/y\"\nlimits.concurrency = 2\nretry = { max_attempts = 3, inline = { max_retries = 0 } }\nvalidate = { max_event_age = \"2d\", max_future = \"1m\", click_len = \"strict\" }\nwhen_unavailable = \"deliver\"\non_ambiguous = \"dead_letter\"\nrollout.percent = 12.5\nmap.order = \"SUBMIT\"",
    );
    let config = good(&text, &[]).config;
    let ps = &config.accounts["acme-ps"];
    assert_eq!(ps.base_urls, ["https://a.example", "https://b.example/x"]);
    assert_eq!(ps.path.as_deref(), Some("/y"));
    assert_eq!((ps.limits.rps, ps.limits.concurrency), (7.0, 2));
    assert_eq!((ps.retry.max_attempts, ps.retry.inline.max_retries, ps.retry.tiers.len()), (3, 0, 4));
    assert_eq!(ps.retry.inline.max, Duration::from_secs(1));
    assert_eq!(ps.validate.max_event_age, Some(Duration::from_secs(2 * 86_400)));
    assert_eq!(ps.validate.max_future, Duration::from_secs(60));
    assert_eq!(ps.when_unavailable, WhenUnavailable::Deliver);
    assert_eq!(ps.on_ambiguous, OnAmbiguous::DeadLetter);
    assert_eq!(ps.rollout, Share::of_hundredths(1_250));
    assert_eq!(config.accounts["acme-bz"].rollout, Share::ALL);
}

/// A file with every possible mistake. The report has to name each of the needles.
#[test]
fn a_file_that_is_wrong_in_many_places_names_them_all() {
    let secret = "secrets = [{ id = \"a\", key = \"k\", secret = \"s\" }]\ndata_industry = \"ocpc_ps_convert\"\n";
    let text = format!(
        "[kafka]\ngroup = \"g\"\n[redis]\nprefix = \"x\"\n[dedupe]\nwhen_unavailable = \"shrug\"\n[retry]\nmax_attemps = 3\n[limits]\ntimeout = \"soon\"\n\
         [intake]\nmax_in_flight_bytes = \"lots\"\n[admin]\nlisten = \"0.0.0.0:1234\"\n\
         [accounts.acme-ps]\nplatform = \"qihoo360\"\nsecrets = [{{ id = \"a\", key = \"k\", secret = \"${{NOT_SET_ANYWHERE}}\" }}]\n\
         [accounts.acme-zs]\nplatform = \"qihoo360\"\nsecrets = [{{ id = \"a\", key = \"k\", secret = \"${{SEC_ACME_ZS}}\" }}]\ndata_industry = \"ocpc_zs_convert\"\n\
         [accounts.plainhttp]\nplatform = \"qihoo360\"\nbase_url = \"http://example.org\"\n{secret}\
         [accounts.literal]\nplatform = \"qihoo360\"\nbase_url = \"https://10.1.2.3\"\n{secret}\
         [accounts.ambi]\nplatform = \"qihoo360\"\non_ambiguous = \"park\"\n{secret}\
         [accounts.odd]\nplatform = \"teleport\"\nbase_url = \"https://example.org\"\n\
         [accounts.nosecret]\nplatform = \"qihoo360\"\nsecrets = [{{ id = \"a\", key = \"k\", secret = \"\" }}]\n\
         [accounts.zone]\nplatform = \"qihoo360\"\nnatural_day = {{ tz = \"Mars/Olympus\" }}\n{secret}"
    );
    let found = bad(&text, &[]);
    let shown = found.to_string();
    for needle in [
        "max_attemps",
        "max_attempts",
        "limits.timeout",
        "intake.max_in_flight_bytes",
        "dedupe.when_unavailable",
        "kafka.brokers",
        "redis.url",
        "accounts.literal.base_url",
        "accounts.ambi.on_ambiguous",
        "NOT_SET_ANYWHERE",
        "accounts.acme-ps.secrets.0.secret",
        "accounts.acme-zs.jzqs",
        "accounts.plainhttp.base_url",
        "teleport",
        "accounts.nosecret.secrets.0.secret",
        "Mars/Olympus",
        "admin.token",
        "SEC_ACME_ZS",
    ] {
        assert!(shown.contains(needle), "{needle} is not named in\n{shown}");
    }
    assert_eq!(shown.lines().count(), 16, "{shown}");
}

#[test]
fn limits_of_calls_are_judged_as_those_of_conversions() {
    let kdniao = |name: &str, limits: &str| {
        format!(
            "[accounts.{name}]\nplatform = \"kdniao\"\nsecrets = [{{ id = \"a\", business_id = \"7\", secret = \"s\" }}]\n\
             call_limits = {{ shared_as = \"one\", {limits} }}\n"
        )
    };
    let both = |limits: &str| with(&format!("{}{}", kdniao("kdn-a", "rps = 5"), kdniao("kdn-b", limits)));
    good(&both("rps = 5.0"), &[]);
    let text = both("rps = 7");
    expect(&text, &[], "accounts.kdn-b.call_limits.rps", "kdn-a and kdn-b share one rate, but state 5 and 7");
    let text = with(&kdniao("kdn-a", "timeout = \"2s\", connect_timeout = \"2500ms\""));
    expect(&text, &[], "accounts.kdn-a.call_limits.connect_timeout", "longer than the timeout of 2s");
}

#[test]
fn a_whole_url_among_the_keys_of_a_platform_leads_to_the_base_url() {
    let account = |url: &str, base: &str| {
        with(&format!(
            "[accounts.tx]\nplatform = \"tencent_ads\"\naccount_id = 1\n{base}\n\
             token = {{ access = \"a\", refresh = \"r\", client_id = \"c\", client_secret = \"s\", url = \"{url}\" }}\n"
        ))
    };
    let (own, below) = ("base_url = \"https://tx.example.com\"", "base_url = \"https://tx.example.com/proxy\"");
    for (url, base) in [
        ("/oauth", ""),
        ("https://api.e.qq.com/oauth/token", ""),
        ("https://api.e.qq.com/oauth/token", own),
        ("https://tx.example.com:443/oauth", own),
        ("/oauth", below),
    ] {
        good(&account(url, base), &[]);
    }
    for (url, base) in [
        ("https://tx.example.com/oauth", ""),
        ("http://tx.example.com/oauth", own),
        ("https://tx.example.com:8443/oauth", own),
        ("https://tx.example.com/proxy/oauth", below),
    ] {
        expect(&account(url, base), &[], "accounts.tx.token.url", "leads to another address than the base URL");
    }
}

#[test]
fn accounts_of_one_contract_state_the_same_limits_of_their_calls() {
    let kdniao = |name: &str, id: &str, keys: &str| {
        format!(
            "[accounts.{name}]\nplatform = \"kdniao\"\n{keys}\n\
             secrets = [{{ id = \"a\", business_id = \"0\", secret = \"s\" }}, {{ id = \"b\", business_id = \"{id}\", secret = \"s\" }}]\n"
        )
    };
    let both =
        |keys: &str| with(&format!("{}{}", kdniao("kdn-a", "7", "daily_limit = 300"), kdniao("kdn-b", "7", keys)));
    good(&both("daily_limit = 300\nmin_interval = \"1800s\""), &[]);
    let why =
        "accounts kdn-a and kdn-b have one EBusinessID, and what both ask is counted together, but they state 300 and";
    let (key, told) = ("accounts.kdn-b.daily_limit", "state one daily_limit for both");
    expect(&both("daily_limit = 200"), &[], key, &format!("{why} 200; {told}"));
    expect(&both(""), &[], key, &format!("{why} 500; {told}"));
    let key = "accounts.kdn-b.min_interval";
    expect(
        &both("daily_limit = 300\nmin_interval = \"5m\""),
        &[],
        key,
        "but they state 30m and 5m; state one min_interval",
    );
    // What only subscribes is not counted, and another contract has its own count.
    good(&both("request_type = 1008\ndaily_limit = 200"), &[]);
    good(&with(&format!("{}{}", kdniao("kdn-a", "7", "daily_limit = 300"), kdniao("kdn-b", "8", ""))), &[]);
}

#[test]
fn a_topic_for_results_is_none_that_the_worker_has_for_something_else() {
    let results = |names: &str| with(&format!("[kafka]\nreceipts = \"rec\"\nresult_topics = [{names}]"));
    good(&results("\"answers\", \"postback.results\""), &[]);
    for (name, whose) in [
        ("postback.dlt", "the topic of kafka.dead_letter"),
        ("rec", "the topic of kafka.receipts"),
        ("postback.retry.5s", "the topic of kafka.retry_prefix"),
        ("postback.retry.7s", "a topic that the worker made itself (kafka.retry_prefix)"),
        ("postback.parked.acme-ps", "the topic of kafka.parked_prefix"),
    ] {
        expect(&results(&format!("\"{name}\"")), &[], "kafka.result_topics", whose);
    }
}

#[test]
fn accounts_that_answer_for_another_one_exist_and_make_the_same_call() {
    let kdniao = |name: &str, others: &str| {
        format!(
            "[accounts.{name}]\nplatform = \"kdniao\"\nsecrets = [{{ id = \"a\", business_id = \"7\", secret = \"s\" }}]\n\
             alternates = [{others}]\n"
        )
    };
    let both = |others: &str| with(&format!("{}{}", kdniao("kdn-a", others), kdniao("kdn-b", "")));
    good(&both("\"kdn-b\""), &[]);
    let key = "accounts.kdn-a.alternates";
    expect(&both("\"kdn-a\""), &[], key, "names the account itself");
    expect(&both("\"kdn-c\""), &[], key, "there is no such account");
    expect(&both("\"acme-bz\""), &[], key, "does not make the call kdniao.track_query");
}

#[test]
fn an_account_of_a_platform_in_a_file_answers_for_another_one_if_it_makes_the_same_call() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples/platforms");
    let both = |platform: &str, keys: &str| {
        let files = format!("platform_files = [\"{examples}/{platform}.toml\"]\n");
        let accounts = format!(
            "[accounts.kdn]\nplatform = \"kdniao\"\nsecrets = [{{ id = \"a\", business_id = \"7\", secret = \"s\" }}]\n\
             alternates = [\"other\"]\n[accounts.other]\nplatform = \"{platform}\"\n{keys}\n"
        );
        with(&format!("{files}{accounts}"))
    };
    let kuaidi100 = |keys: &str| both("kuaidi100", &format!("customer = \"c\"\nkey = \"k\"\n{keys}"));
    good(
        &kuaidi100(
            "call_limits = { rps = 5 }\nreply = { allow_pii = true, restricted_topics = [\"postback.results\"] }",
        ),
        &[],
    );
    let ga4 = both("ga4", "measurement_id = \"m\"\napi_secret = \"s\"");
    let told = "names other, which does not make the call kdniao.track_query";
    expect(&ga4, &[], "accounts.kdn.alternates", told);
    let none = "takes calls alone, and no conversions";
    expect(&kuaidi100("map = { pay = 7 }"), &[], "accounts.other.map.pay", none);
}

#[test]
fn what_has_no_effect_on_the_results_of_calls_is_a_doubt() {
    let accounts = |first: &str, second: &str| {
        with(&format!(
            "[accounts.kdn-a]\nplatform = \"kdniao\"\nsecrets = [{{ id = \"a\", business_id = \"1\", secret = \"s\" }}]\n{first}\n\
             [accounts.kdn-b]\nplatform = \"kdniao\"\nsecrets = [{{ id = \"a\", business_id = \"2\", secret = \"s\" }}]\n{second}\n"
        ))
    };
    let keys = |first: &str, second: &str| -> Vec<String> {
        good(&accounts(first, second), &[]).warnings.into_iter().map(|warning| warning.key).collect()
    };
    let alternates = "alternates = [\"kdn-b\"]";
    assert_eq!(keys(alternates, ""), Vec::<String>::new());
    assert_eq!(keys(alternates, "enabled = false"), ["accounts.kdn-a.alternates"]);
    let topics = "restricted_topics = [\"postback.results\"]";
    assert_eq!(keys(&format!("reply = {{ {topics} }}"), ""), ["accounts.kdn-a.reply.restricted_topics"]);
    assert_eq!(keys("reply = { allow_pii = true }", ""), ["accounts.kdn-a.reply.allow_pii"]);
    assert_eq!(keys(&format!("reply = {{ allow_pii = true, {topics} }}"), ""), Vec::<String>::new());
}
