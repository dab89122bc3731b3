use super::*;

fn loaded(over: &[(&str, &str)]) -> Config {
    let env = over.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(None, env).unwrap_or_else(|found| panic!("{found}")).config
}

#[tokio::test]
async fn a_host_that_answers_is_noted_and_one_that_does_not_is_a_warning_with_its_mend() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let config = loaded(&[
        ("POSTBACK__ACCOUNTS__DEMO_BAIZHU__BASE_URL", &*url),
        ("POSTBACK__ACCOUNTS__DEMO_360_PS__BASE_URL", "http://127.0.0.1:1"),
    ]);
    let mut found = Findings::default();
    hosts(&config, true, &mut found).await;
    assert!(found.notes.iter().any(|note| note.contains(&url)), "{:?}", found.notes);
    let warning = found.warnings.iter().find(|w| w.contains("demo-360-ps")).unwrap();
    assert!(warning.contains("no connection") && warning.contains("curl -v http://127.0.0.1:1"), "{warning}");
    assert_eq!(found.warnings.len(), 1, "the demo's own platforms are not there yet: {found:?}");
    let played = found.notes.iter().find(|note| note.starts_with("played")).unwrap();
    assert!(played.contains("demo-360-zs, ") && !played.contains("demo-360-ps"), "{played}");
    assert_eq!(found.errors, Vec::<String>::new());
}

#[tokio::test]
async fn parts_that_do_not_answer_are_warnings_since_the_start_waits_for_them() {
    let mut config = loaded(&[]);
    config.redis.url = crate::secret::SecretString::new("redis://:pa5sw0rd@127.0.0.1:1");
    let mut found = Findings::default();
    redis(&config, &mut found).await;
    assert_eq!(found.errors, Vec::<String>::new());
    assert!(found.warnings[0].contains("redis.url") && !found.warnings[0].contains("pa5sw0rd"), "{found:?}");
}

/// A certificate for `localhost` that nobody trusts, and its key; both were made for this test.
const CERTIFICATE: &str = concat!(
    "MIIBlDCCATugAwIBAgIUR+upVgJZgpZckx7iFTBvzBPkmogwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDEx",
    "NDAwNFoYDzIxMjYxMDMxMTE0MDA0WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ8MOf3kGTCm0LL",
    "utcJ6YwNonXV5z6fi47suy0Z/qln5k52woFwd7b8felT8WeVjoc5Mtfmw3LLPMajQS745Czvo2kwZzAdBgNVHQ4EFgQUnV4BytgROlP60KN0",
    "CWFsR9Eu8xMwHwYDVR0jBBgwFoAUnV4BytgROlP60KN0CWFsR9Eu8xMwDwYDVR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3Qw",
    "CgYIKoZIzj0EAwIDRwAwRAIgdlzR3TcDNgqg/9Apk6dhm2g8s6fX+J7Chcv2zKmw9YECIF/sa4MVK0wSpU/YhzVESzAYv4cs1SOgo3XWhUbB",
    "EKN0",
);
const KEY: &str = concat!(
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgXsPSsWPt+F+J+VbWIEB4yCBFHIc9X8vfk6i7sGhkDtOhRANCAAQ8MOf3kGTC",
    "m0LLutcJ6YwNonXV5z6fi47suy0Z/qln5k52woFwd7b8felT8WeVjoc5Mtfmw3LLPMajQS745Czv",
);

/// Serves TLS with that certificate to every client; returns the port.
fn serve_tls() -> u16 {
    use base64::Engine as _;
    use std::io::Read as _;
    let der = |text| base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(der(KEY).into());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der(CERTIFICATE).into()], key)
        .unwrap();
    let (config, listener) = (Arc::new(config), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut server = rustls::ServerConnection::new(config.clone()).unwrap();
            // The client breaks off during the handshake.
            let _ = rustls::Stream::new(&mut server, &mut stream).read(&mut [0; 64]);
        }
    });
    port
}

/// A configuration with one account at this URL.
fn leading_to(url: String, allow_private: bool) -> Config {
    let mut config = loaded(&[]);
    let (name, mut account) = config.accounts.pop_first().unwrap();
    let own = Arc::get_mut(&mut account).unwrap();
    (own.base_urls, own.allow_private) = (vec![url], allow_private);
    config.accounts = [(name, account)].into();
    config
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_would_halt_the_account() {
    let mut found = Findings::default();
    hosts(&leading_to(format!("https://localhost:{}", serve_tls()), true), false, &mut found).await;
    assert_eq!(found.errors.len(), 1, "{found:?}");
    let error = &found.errors[0];
    assert!(error.contains("certificate") && error.contains("base_url") && error.contains("would halt"), "{error}");
}

#[tokio::test]
async fn a_proxys_certificate_that_nobody_trusts_would_halt_the_account() {
    let mut config = leading_to("https://platform.invalid".to_owned(), false);
    let account = config.accounts.values_mut().next().and_then(Arc::get_mut).unwrap();
    let (protocol, host) = (crate::account::proxy::ProxyProtocol::Https, "localhost".to_owned());
    account.proxy = Some(crate::account::proxy::Proxy { protocol, host, port: serve_tls(), login: None });
    let mut found = Findings::default();
    hosts(&config, false, &mut found).await;
    assert_eq!(found.errors.len(), 1, "{found:?}");
    let error = &found.errors[0];
    assert!(error.contains(".proxy is not valid") && error.contains("would halt; correct proxy or"), "{error}");
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_would_halt_the_account() {
    for scheme in ["http", "https"] {
        let mut found = Findings::default();
        hosts(&leading_to(format!("{scheme}://localhost:1"), false), false, &mut found).await;
        assert!(found.errors.len() == 1 && found.errors[0].contains("allow_private"), "{found:?}");
    }
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_tried_again_and_so_a_warning() {
    let mut found = Findings::default();
    hosts(&leading_to("https://no-such-host.invalid".to_owned(), true), false, &mut found).await;
    assert!(found.errors.is_empty() && found.warnings[0].contains("does not resolve"), "{found:?}");
}

#[tokio::test]
async fn a_clock_that_is_not_that_of_redis_is_a_warning_and_where_the_worker_would_hold_an_error() {
    let store = crate::embedded::store::Store::start().unwrap();
    let client = ::redis::Client::open(store.url()).unwrap();
    for (set_by_min, warnings, errors) in [(0, 0, 0), (-2, 1, 0), (2, 1, 0), (-10, 0, 1), (10, 0, 1)] {
        let mut found = Findings::default();
        crate::clock::set_by(set_by_min * 60_000);
        clock(&client, &mut found).await;
        crate::clock::set_by(0);
        assert_eq!((found.warnings.len(), found.errors.len()), (warnings, errors), "{set_by_min} min: {found:?}");
        let mut said = found.warnings.iter().chain(&found.errors);
        let apart = format!("{} min", set_by_min.unsigned_abs());
        assert!(said.all(|text| text.contains(&apart) && text.contains("set it (NTP)")), "{found:?}");
    }
}

#[test]
fn what_redis_is_stands_in_one_line() {
    let info = "redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\nmaxmemory:4194304\r\nused_memory:1048576\r\n";
    assert_eq!(told(&Facts::read(info)), "7.0.15, noeviction, 1 of 4 MiB used, 0 replicas");
    assert_eq!(told(&Facts::default()), "version hidden, policy hidden, no limit of memory, 0 replicas");
}

#[test]
fn the_summary_counts_the_warnings() {
    let mut found = Findings::default();
    found.note("kafka", "3 brokers");
    assert_eq!(found.summary(), "connected: everything that was looked at is fit\n  kafka       3 brokers\n");
    found.warnings.push("x".to_owned());
    assert!(found.summary().starts_with("connected: 1 warning\n"));
}
