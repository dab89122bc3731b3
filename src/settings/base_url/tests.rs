use super::*;

const STRICT: Allowed = Allowed { http: false, private: false };

#[test]
fn every_spelling_of_a_private_address_is_refused() {
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "017700000001",
        "10.1.2.3",
        "192.168.0.1:8443",
        "169.254.169.254",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "api.localhost",
        "127.0.0.1.",
    ] {
        let reasons = check(&format!("https://{host}/x"), STRICT).expect_err(host);
        assert!(reasons.iter().any(|r| r.contains("allow_private")), "{host}: {reasons:?}");
        assert!(check(&format!("https://{host}/x"), Allowed { http: false, private: true }).is_ok(), "{host}");
    }
}

#[test]
fn a_public_host_loses_its_last_slash_and_keeps_its_path() {
    for (text, want) in [
        ("https://convert.dop.360.cn/", "https://convert.dop.360.cn"),
        ("https://proxy.example:8443/a/b//", "https://proxy.example:8443/a/b"),
        ("https://16843009", "https://1.1.1.1"),
        ("HTTPS://Example.ORG", "https://example.org"),
    ] {
        assert_eq!(check(text, STRICT).as_deref(), Ok(want));
    }
}

#[test]
fn what_does_not_belong_into_a_base_url_is_refused_without_repeating_it() {
    for text in [
        "https://user:MARKER@example.org",
        "https://MARKER@example.org",
        "https://example.org?k=MARKER",
        "https://example.org/#MARKER",
        "ftp://example.org/MARKER",
        "http://example.org/MARKER",
        "example.org/MARKER",
        "https://",
        "https://exa mple/MARKER",
    ] {
        let reasons = check(text, STRICT).expect_err(text);
        assert!(!reasons.concat().contains("MARKER"), "{reasons:?}");
    }
}

#[test]
fn all_reasons_are_given_at_once() {
    assert_eq!(check("http://u:p@10.0.0.1/?q#f", STRICT).map_err(|r| r.len()), Err(5));
}
