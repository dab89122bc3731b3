use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::account::OnAmbiguous;
use crate::telemetry::Format;

const GOOD: &str = r#"
[kafka]
brokers = "h:9092"
[redis]
url = "redis://h"
[accounts.acme-ps]
platform = "qihoo360"
secrets = [{ id = "a", key = "KEY", secret = "SECRET" }]
data_industry = "ocpc_ps_convert"
[accounts.acme-bz]
platform = "baizhu"
product = { install = "p", register = "p", back = "p" }
"#;

struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("postback.toml");
    std::fs::write(&path, text).unwrap();
    File { _folder: folder, path }
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(text: &str, pairs: &[(&str, &str)]) -> Result<Loaded, Problems> {
    Config::load(Some(&file(text).path), env(pairs))
}

fn good(text: &str, pairs: &[(&str, &str)]) -> Loaded {
    load(text, pairs).unwrap_or_else(|found| panic!("{found}"))
}

fn bad(text: &str, pairs: &[(&str, &str)]) -> Problems {
    load(text, pairs).err().unwrap_or_else(|| panic!("passed: {text}"))
}

/// [`GOOD`] with members added or replaced.
fn with(over: &str) -> String {
    fn lay(under: &mut toml::Table, over: toml::Table) {
        for (key, value) in over {
            match (under.get_mut(&key), value) {
                (Some(toml::Value::Table(old)), toml::Value::Table(new)) => lay(old, new),
                (_, value) => _ = under.insert(key, value),
            }
        }
    }
    let mut table: toml::Table = GOOD.parse().unwrap();
    lay(&mut table, over.parse().unwrap_or_else(|error| panic!("{over}: {error}")));
    toml::to_string(&table).unwrap()
}

#[track_caller]
fn expect(text: &str, pairs: &[(&str, &str)], key: &str, reason: &str) {
    let found = bad(text, pairs);
    assert!(
        found.problems.iter().any(|p| p.key == key && p.reason.contains(reason)),
        "no `{key}: …{reason}…` for\n{text}\nin\n{found}"
    );
    assert_eq!(found.problems.len(), 1, "more than one problem for\n{text}\n{found}");
}

#[test]
fn the_defaults_and_two_accounts_are_a_configuration() {
    let Loaded { config, warnings } = good(GOOD, &[]);
    assert_eq!(warnings, []);
    assert_eq!(config.kafka.group, "postback");
    assert_eq!(config.kafka.input, ["conversions"]);
    assert_eq!(config.dedupe.window, Duration::from_secs(12 * 86_400));
    assert_eq!(config.retry.tiers.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["5s", "30s", "5m", "30m"]);
    assert_eq!(config.retry.inline.max, Duration::from_secs(1));
    assert_eq!(config.intake.max_in_flight_bytes, 64 << 20);
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.telemetry.format, Format::Auto);
    assert_eq!(root::session_timeout(&config.kafka), Duration::from_secs(45));
    let ps = &config.accounts["acme-ps"];
    assert_eq!(ps.platform, "qihoo360");
    assert_eq!(ps.base_urls, ["https://convert.dop.360.cn"]);
    assert_eq!(ps.limits.shared_as, "KEY");
    assert_eq!(ps.validate.max_event_age, None);
    assert_eq!(ps.on_ambiguous, OnAmbiguous::Retry);
    let bz = &config.accounts["acme-bz"];
    assert_eq!(bz.base_urls, ["https://sc.anhuiry.com"]);
    assert_eq!(bz.limits.shared_as, "acme-bz");
    assert_eq!(bz.validate.max_event_age, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(bz.limits.rps, 20.0);
}

#[test]
fn the_default_file_names_every_key_and_nothing_else() {
    // The default file must name every key: a key that it names and nobody reads would be unknown here, and a key that
    // is read but not named is missing in the list of known keys.
    let defaults: toml::Table = DEFAULT.parse().unwrap();
    let mut paths = vec![vec!["retry", "inline"]];
    paths.extend(defaults.iter().filter(|(_, value)| value.is_table()).map(|(key, _)| vec![key.as_str()]));
    for path in paths {
        let table = path.iter().fold(&defaults, |table, key| table[*key].as_table().unwrap());
        if path == ["kafka"] {
            assert!(table["properties"].as_table().unwrap().is_empty());
        }
        let name = path.join(".");
        let found = bad(&with(&format!("[{name}]\nqqqqqqqqqqqqqqqqqqqq = 1")), &[]);
        let mut names: Vec<_> = table.keys().map(String::as_str).collect();
        names.sort_unstable();
        let reason = format!("is no key of this table; it has {}", names.join(", "));
        assert_eq!(found.problems[0].reason, reason, "[{name}]");
    }
    assert!(!defaults.contains_key("accounts"), "accounts of a demo do not belong here");
}

#[test]
fn every_default_says_its_reason() {
    for line in DEFAULT.lines().filter(|l| !l.starts_with('#') && l.contains('=')) {
        assert!(line.contains(" # "), "{line}");
    }
}

#[test]
fn each_problem_names_its_exact_key() {
    for (over, key, reason) in [
        ("[kafka]\nbrokers = \"\"", "kafka.brokers", "is empty"),
        ("[kafka]\nbrokers = \"a:1,,b:2\"", "kafka.brokers", "empty parts"),
        ("[kafka]\nbrokers = \"embedded\"", "kafka.brokers", "but redis.url is not"),
        ("[kafka]\ngroup = 5", "kafka.group", "string"),
        ("[kafka]\ninput = []", "kafka.input", "no topic"),
        ("[kafka]\ninput = \"x\"", "kafka.input", "list"),
        ("[kafka]\ninput = [\"a b\"]", "kafka.input", "no topic name"),
        ("[kafka]\ninput = [\"^(\"]", "kafka.input", "no regular expression"),
        ("[kafka]\ninput = [\"^postback\"]", "kafka.input", "the worker writes itself"),
        ("[kafka]\ninput = [\"postback.retry.5s\"]", "kafka.input", "the worker writes itself"),
        ("[kafka]\ninput = [\"postback.retry.7s\"]", "kafka.input", "taken for a topic that the worker made itself"),
        ("[kafka]\ninput = [\"postback.parked.gone\"]", "kafka.input", "(kafka.parked_prefix)"),
        ("[kafka]\nstart_from = \"middle\"", "kafka.start_from", "\"earliest\""),
        ("[kafka]\nretry_prefix = \"\"", "kafka.retry_prefix", "no topic name"),
        ("[kafka]\nparked_prefix = \"postback.retry.x\"", "kafka.parked_prefix", "inside each other"),
        ("[kafka]\ndead_letter = \"postback.results\"", "kafka.results", "same topic as kafka.dead_letter"),
        ("[kafka]\nreceipts = \"postback.retry.1\"", "kafka.receipts", "begins with kafka.retry_prefix"),
        ("[kafka]\nresult_topics = [\"/\"]", "kafka.result_topics", "no topic name"),
        ("[kafka]\ncreate_topics = \"yes\"", "kafka.create_topics", "true or false"),
        ("[kafka]\npartitions = 0", "kafka.partitions", "from 1"),
        ("[kafka]\nreplication = -1", "kafka.replication", "from 0"),
        (
            "[kafka.properties]\n\"enable.auto.commit\" = true",
            "kafka.properties.enable.auto.commit",
            "cannot be set here",
        ),
        ("[kafka.properties]\n\"bootstrap.servers\" = \"x\"", "kafka.properties.bootstrap.servers", "kafka.brokers"),
        (
            "[kafka.properties]\n\"metadata.broker.list\" = \"x\"",
            "kafka.properties.metadata.broker.list",
            "kafka.brokers",
        ),
        ("[kafka.properties]\ngroup.protocol = \"consumer\"", "kafka.properties.group.protocol", "classic"),
        ("[kafka.properties]\n\"partitioner\" = \"random\"", "kafka.properties.partitioner", "Java"),
        ("[kafka.properties]\n\"test.mock.num.brokers\" = 3", "kafka.properties.test.mock.num.brokers", "brokers"),
        ("[kafka.properties]\n\"acks\" = 1", "kafka.properties.acks", "all"),
        ("[kafka.properties]\n\"sesion.timeout.ms\" = 1", "kafka.properties.sesion.timeout.ms", "`session.timeout.ms`"),
        (
            "[kafka.properties]\n\"session.timeout.ms\" = \"long\"",
            "kafka.properties.session.timeout.ms",
            "does not accept",
        ),
        ("[kafka.properties]\n\"debug\" = [1]", "kafka.properties.debug", "string, a number"),
        (
            "[kafka.properties]\n\"linger.ms\" = 5\nqueue.buffering.max.ms = 6",
            "kafka.properties.queue.buffering.max.ms",
            "another name of linger.ms,",
        ),
        ("[kafka.properties]\n\"request.required.acks\" = 1", "kafka.properties.request.required.acks", "all"),
        ("[kafka.properties]\n\"delivery.timeout.ms\" = 1", "kafka.properties.delivery.timeout.ms", "held"),
        (
            "[kafka.properties]\n\"sasl.mechanism\" = \"PLAIN\"\n\"sasl.mechanisms\" = \"PLAIN\"",
            "kafka.properties.sasl.mechanisms",
            "another name of sasl.mechanism,",
        ),
        ("[redis]\nurl = \"http://h\"", "redis.url", "redis://"),
        ("[redis]\nurl = \"embedded\"", "redis.url", "but kafka.brokers is not"),
        ("[redis]\nprefix = \"a b\"", "redis.prefix", "visible ASCII"),
        ("[redis]\nca_file = \"/ca.pem\"", "redis.ca_file", "rediss://"),
        ("[dedupe]\nwindow = \"31d\"", "dedupe.window", "to 30d"),
        ("[dedupe]\nwindow = \"4d\"", "dedupe.window", "max_age + max_parked of [retry] (1d + 3d)"),
        ("[dedupe]\nlease = \"soon\"", "dedupe.lease", "not \"soon\""),
        ("[dedupe]\nlease = \"46s\"", "dedupe.lease", "longer than session.timeout.ms of 45s"),
        ("[dedupe]\nwhen_unavailable = \"shrug\"", "dedupe.when_unavailable", "\"hold\" or \"deliver\", not \"shrug\""),
        ("[retry]\ntiers = []", "retry.tiers", "at least one"),
        ("[retry]\ntiers = [\"5s\", \"5s\"]", "retry.tiers", "ascend"),
        ("[retry]\ntiers = [\"1m\", \"5s\"]", "retry.tiers", "ascend"),
        ("[retry]\ntiers = [\"05s\"]", "retry.tiers", "no delay"),
        ("[retry]\nmax_attempts = 0", "retry.max_attempts", "from 1"),
        ("[retry]\nmax_attemps = 3", "retry.max_attemps", "did you mean `max_attempts`?"),
        ("[retry]\nmax_age = 5", "retry.max_age", "duration in quotes"),
        ("[retry]\nmax_parked = \"1w\"", "retry.max_parked", "no duration"),
        ("[retry.inline]\nmax_retry = 1", "retry.inline.max_retry", "did you mean `max_retries`?"),
        ("retry.inline = 5", "retry.inline", "has to be a table"),
        ("[limits]\nrps = 0", "limits.rps", "above 0"),
        ("[limits]\nrps = 1000001", "limits.rps", "at most 1000000"),
        ("[limits]\nrps = nan", "limits.rps", "above 0"),
        ("[limits]\nconcurrency = 65537", "limits.concurrency", "to 65536"),
        ("[limits]\ntimeout = \"soon\"", "limits.timeout", "not \"soon\""),
        ("[limits]\nconnect_timeout = \"4s\"", "limits.connect_timeout", "longer than the timeout of 3s"),
        ("[validate]\nmax_event_age = \"x\"", "validate.max_event_age", "no duration"),
        ("[validate]\naccept_raw_identifiers = 1", "validate.accept_raw_identifiers", "true or false"),
        ("[intake]\nmax_in_flight = 0", "intake.max_in_flight", "from 1"),
        ("[intake]\nmax_in_flight_bytes = \"lots\"", "intake.max_in_flight_bytes", "no size"),
        ("[intake]\nmax_in_flight_bytes = \"64KiB\"", "intake.max_in_flight_bytes", "from 1048576"),
        ("[intake]\ndrain_timeout = \"0s\"", "intake.drain_timeout", "from 1ms"),
        ("[admin]\nlisten = \"here\"", "admin.listen", "IP:port"),
        ("[admin]\nlisten = \"0.0.0.0:9464\"", "admin.token", "is empty"),
        ("[admin]\nlisten = \"[::]:9464\"", "admin.token", "is empty"),
        ("[admin]\ntoken = 12345", "admin.token", "string in quotes"),
        (
            "[admin]\nlabel = \"a name of an environment that is longer than 40\"",
            "admin.label",
            "at most 40 characters",
        ),
        ("[telemetry]\nlog = \"a=b=c\"", "telemetry.log", "no filter"),
        ("[telemetry]\nformat = \"xml\"", "telemetry.format", "\"auto\" or \"text\" or \"json\""),
        ("[telemetry]\nlisten = \"x\"", "telemetry.listen", "IP:port"),
        (
            "[telemetry]\notlp = \"http://collector:4318\"",
            "telemetry.otlp",
            "has to be empty: this version sends no traces",
        ),
        ("[limit]\nrps = 1", "limit", "did you mean `limits`?"),
        ("limits = 5", "limits", "has to be a table"),
        ("accounts = 5", "accounts", "has to be a table"),
        ("[[limits]]\nrps = 1", "limits", "write single brackets, e.g. [limits]"),
        ("[[accounts]]\nname = \"a\"", "accounts", "write single brackets, e.g. [limits] or [accounts.acme-ps]"),
    ] {
        expect(&with(over), &[], key, reason);
    }
}

#[test]
fn each_problem_of_an_account_names_its_exact_key() {
    for (over, key, reason) in [
        ("platform = \"teleport\"", "platform", "not \"teleport\""),
        ("base_url = \"http://example.org\"", "base_url", "allow_http"),
        ("base_url = \"https://10.1.2.3\"", "base_url", "allow_private"),
        ("base_url = \"https://example.org\"\nbase_urls = [\"https://example.org\"]", "base_urls", "beside base_url"),
        ("base_urls = []", "base_urls", "at least one"),
        ("base_urls = [\"https://example.org\", \"x\"]", "base_urls", "no URL"),
        ("path = \"x\"", "path", "begins with one /"),
        ("path = \"//evil.example\"", "path", "begins with one /"),
        ("allow_http = \"yes\"", "allow_http", "true or false"),
        ("allow_private = 1", "allow_private", "true or false"),
        ("secrets = []", "secrets", "is empty"),
        ("secrets = \"x\"", "secrets", "list of tables"),
        ("secrets = [\"x\"]", "secrets.0", "has to be a table"),
        ("secrets = [{ id = \"a\", key = \"k\", secret = \"\" }]", "secrets.0.secret", "is empty"),
        ("secrets = [{ id = \"a\", key = \"k\" }]", "secrets.0.secret", "is missing"),
        ("secrets = [{ id = \"a\", key = \"k k\", secret = \"s\" }]", "secrets.0.key", "visible ASCII"),
        ("secrets = [{ id = \"a\", key = \"k\", secret = \"s\", sercet = \"x\" }]", "secrets.0.sercet", "`secret`"),
        (
            "secrets = [{ id = \"a\", key = \"k\", secret = \"s\" }, { id = \"a\", key = \"k\", secret = \"t\" }]",
            "secrets.1.id",
            "another secret",
        ),
        (
            "secrets = [{ id = \"a\", key = \"k\", secret = \"s\", not_before = \"2026-10-01\" }]",
            "secrets.0.not_before",
            "RFC 3339",
        ),
        (
            "secrets = [{ id = \"a\", key = \"k\", secret = \"s\", not_before = 2026-10-01T00:00:00Z, not_after = 2026-10-01T00:00:00Z }]",
            "secrets.0.not_after",
            "later",
        ),
        ("limits.rp = 5", "limits.rp", "did you mean `rps`?"),
        ("limits.rps = \"5\"", "limits.rps", "not \"5\""),
        ("limits.timeout = \"500ms\"", "limits.connect_timeout", "longer than the timeout of 500ms"),
        ("retry.tiers = [\"1s\"]", "retry.tiers", "all accounts share"),
        ("retry.inline.max_retries = -1", "retry.inline.max_retries", "from 0"),
        ("rollout.percent = 101", "rollout.percent", "from 0 to 100"),
        ("rollout.percent = 12.345", "rollout.percent", "two decimals"),
        ("rollout.percent = \"10\"", "rollout.percent", "from 0 to 100"),
        ("when_unavailable = \"x\"", "when_unavailable", "\"hold\""),
        ("on_ambiguous = \"park\"", "on_ambiguous", "not \"park\""),
        ("map.order = \"NOPE\"", "map.order", "NOPE"),
        ("map.order = 5", "map.order", "no event code"),
        ("map.order = true", "map.order", "a text or a whole number"),
        ("map = 5", "map", "has to be a table"),
        ("map = [{ pay = \"x\" }]", "map", "write single brackets"),
        ("enabled = \"no\"", "enabled", "true or false"),
        ("validate.max_event_age = \"x\"", "validate.max_event_age", "no duration"),
        ("validate.accept_raw_identifiers = true", "validate.accept_raw_identifiers", "cannot differ"),
        ("validate.click_len = \"x\"", "validate.click_len", "has to be \"off\" or \"warn\" or \"strict\""),
        ("validate.clik_len = \"off\"", "validate.clik_len", "did you mean `click_len`?"),
        ("data_industry = \"ocpc_zs_convert\"", "jzqs", "needs it"),
        ("data_industri = \"x\"", "data_industri", "did you mean `data_industry`?"),
        ("natural_day.tz = \"Mars/Olympus\"", "natural_day.tz", "Mars/Olympus"),
        ("natural_day.gard = \"60s\"", "natural_day.gard", "did you mean `guard`?"),
        ("natural_day = 5", "natural_day", "has to be a table"),
        ("natural_day.anchor = \"x\"", "natural_day.anchor", "has to be \"first_attempt\" or"),
        ("event_param.value_events = 5", "event_param.value_events", "has to be a list"),
        ("errno2 = \"x\"", "errno2", "has to be \"halt\" or \"permanent\", not \"x\""),
        ("product.install = \"p\"", "product", "is no key"),
    ] {
        expect(&with(&format!("[accounts.acme-ps]\n{over}")), &[], &format!("accounts.acme-ps.{key}"), reason);
    }
    for (over, key, reason) in [
        ("secrets = [{ id = \"a\", key = \"k\", secret = \"s\" }]", "secrets", "signs nothing"),
        ("validate.click_len = \"off\"", "validate.click_len", "is no key"),
        ("settlement = \"x\"", "settlement", "has to be \"cpa\" or \"cps\""),
        ("setlement = \"cpa\"", "setlement", "did you mean `settlement`?"),
        ("product.instal = \"p\"", "product.instal", "did you mean `install`?"),
        ("field.product_name = \"x\"", "field.product_name", "none of"),
    ] {
        expect(&with(&format!("[accounts.acme-bz]\n{over}")), &[], &format!("accounts.acme-bz.{key}"), reason);
    }
}

#[test]
fn accounts_need_a_name_a_platform_and_a_secret() {
    let long = "a".repeat(64);
    for name in ["Acme", "a_b", "-a", "a b", "", &long] {
        let text = with(&format!("[accounts.\"{name}\"]\nplatform = \"baizhu\"\nproduct.back = \"p\""));
        expect(&text, &[], &format!("accounts.{name}"), "no account name");
    }
    expect(&with("[accounts.x]\n"), &[], "accounts.x.platform", "is missing");
    expect(&with("[accounts.x]\nplatform = \"qihoo360\""), &[], "accounts.x.secrets", "is missing");
    expect("[kafka]\nbrokers = \"h:1\"\n[redis]\nurl = \"redis://h\"", &[], "accounts", "nothing to deliver to");
}

#[test]
fn brokers_are_hosts_with_ports_and_commas_and_nothing_else() {
    let stated = |brokers: &str| with(&format!("[kafka]\nbrokers = \"{brokers}\""));
    for brokers in
        ["h", "h:9092", "kafka-1.example.org:9092,10.0.0.2:9093,k_3", "[::1]:9092,[2001:db8::1]:9093", "[::1]"]
    {
        assert_eq!(good(&stated(brokers), &[]).config.kafka.brokers, brokers);
    }
    for (brokers, why) in [
        ("a:1，b:2", "something else than a comma"),
        ("a:1;b:2", "something else than a comma"),
        ("a:1；b:2", "something else than a comma"),
        ("a:1、b:2", "something else than a comma"),
        ("PLAINTEXT://a:9092", "scheme"),
        ("a:1,SASL_SSL://b:2", "scheme"),
        ("kafka://a:9092", "scheme"),
        ("a:1 b:2", "blank"),
        ("a:1, b:2", "blank"),
        (" a:1", "blank"),
        ("a:1\\n", "blank"),
        ("a :1", "blank"),
        ("a\u{3000}:1", "blank"),
        ("a:1,", "empty part"),
        ("a：9092", "no host with a port"),
        ("a:９０９２", "no host with a port"),
        ("a:port", "no host with a port"),
        ("a:0", "no host with a port"),
        ("a:65536", "no host with a port"),
        ("a:", "no host with a port"),
        (":9092", "no host with a port"),
        ("::1:9092", "no host with a port"),
        ("[::1:9092", "no host with a port"),
        ("a:9092/x", "no host with a port"),
        ("\u{feff}a:9092", "no host with a port"),
    ] {
        expect(&stated(brokers), &[], "kafka.brokers", why);
    }
}

#[test]
fn brokers_and_redis_have_to_be_stated() {
    let found = bad("[accounts.a]\nplatform = \"baizhu\"", &[]);
    let keys: Vec<_> = found.problems.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(keys, ["kafka.brokers", "redis.url"]);
    good(
        "[accounts.a]\nplatform = \"baizhu\"",
        &[("POSTBACK__KAFKA__BROKERS", "h:1"), ("POSTBACK__REDIS__URL", "redis://h")],
    );
    let found = bad("", &[]);
    assert_eq!(
        found.problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(),
        ["kafka.brokers", "redis.url", "accounts"]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_its_text_is_not_shown() {
    let found = Config::load(Some(Path::new("no/nowhere.toml")), env(&[])).err().unwrap();
    assert!(found.to_string().starts_with("no/nowhere.toml: cannot be read: "), "{found}");
    let found = bad("[kafka]\nbrokers = \"h\"\n[redis\nurl = \"MARKER\"", &[]);
    assert!(found.to_string().contains("postback.toml:3: is not TOML: "), "{found}");
    assert!(!found.to_string().contains("MARKER"));
    let found = bad("[admin]\ntoken = MARKER", &[]);
    assert!(found.to_string().contains("postback.toml:2: ") && !found.to_string().contains("MARKER"), "{found}");
}

#[test]
fn all_problems_come_at_once_one_a_line_in_the_order_of_the_file() {
    let text =
        format!("{GOOD}\nwhen = 1\n[limits]\ntimeout = \"soon\"\n\n[retry]\nmax_attemps = 3\n\"odd\\nkey\" = 1\n");
    let found = bad(&text, &[("POSTBACK__INTAKE__MAX_IN_FLIGHT", "many")]);
    let shown = found.to_string();
    let lines: Vec<_> = shown.lines().map(|l| l.rsplit("postback.toml:").next().unwrap()).collect();
    assert_eq!(lines.len(), 5, "{shown}");
    assert!(lines[0].starts_with("14: accounts.acme-bz.when: "), "{shown}");
    assert!(lines[1].starts_with("16: limits.timeout: "), "{shown}");
    assert!(lines[2].starts_with("19: retry.max_attemps: "), "{shown}");
    assert!(lines[3].starts_with("20: retry.odd\\nkey: "), "{shown}");
    assert!(lines[4].starts_with("environment POSTBACK__INTAKE__MAX_IN_FLIGHT: intake.max_in_flight: "), "{shown}");
}

mod embedded;
mod outside;
mod rules;

mod platform_files;
