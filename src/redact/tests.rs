use super::*;

#[test]
fn every_pattern_compiles() {
    for pattern in [&LONG_NUMBER, &USERINFO, &MAY_HOLD_SECRET, &NAMED_SECRET, &TOKEN, &EMAIL, &ADDRESS] {
        assert!(!LazyLock::force(pattern).as_str().is_empty());
    }
}

#[test]
fn the_published_vectors_hold() {
    assert_eq!(mask_phone("13812345678"), "138****5678");
    assert_eq!(mask_phone("+8613812345678"), "+86138****5678");
    assert_eq!(mask_phone("86-138-1234-5678"), "86138****5678");
    assert_eq!(mask_text("AppSecret@88f78c12b63148ae8c7d71d0c8c3e518"), "***");
    assert_eq!(mask_token("AccessToken@3a859c26d23348dc9844acac0a533697"), "Acce…3697");
    assert_eq!(mask_text("AccessToken@3a859c26d23348dc9844acac0a533697"), "Acce…3697");
}

#[test]
fn the_same_numbers_in_running_text_give_the_same() {
    assert_eq!(mask_text("call +8613812345678 now"), "call +86138****5678 now");
    assert_eq!(mask_text("call 86-138-1234-5678."), "call 86138****5678.");
}

/// More than 200 rows: each way of writing a number, in each surrounding in which texts contain one.
#[test]
fn no_way_of_writing_a_phone_survives_in_any_surrounding() {
    let numbers = ["13812345678", "15900001234", "19987654321"];
    let ways: [fn(&str) -> String; 16] = [
        str::to_owned,
        |n| format!("+86{n}"),
        |n| format!("0086{n}"),
        |n| format!("86{n}"),
        |n| format!("+86 {n}"),
        |n| format!("+86-{n}"),
        |n| format!("0{n}"),
        |n| format!("{}-{}-{}", &n[..3], &n[3..7], &n[7..]),
        |n| format!("{} {} {}", &n[..3], &n[3..7], &n[7..]),
        |n| format!("{}.{}.{}", &n[..3], &n[3..7], &n[7..]),
        |n| format!("+86 {} {} {}", &n[..3], &n[3..7], &n[7..]),
        |n| format!("0086-{}-{}", &n[..3], &n[3..]),
        |n| n.chars().map(|c| char::from_u32(c as u32 - 48 + '０' as u32).unwrap()).collect(),
        |n| {
            format!(
                "＋８６{}",
                n.chars().map(|c| char::from_u32(c as u32 - 48 + '０' as u32).unwrap()).collect::<String>()
            )
        },
        |n| n.chars().map(String::from).collect::<Vec<_>>().join(" "),
        |n| format!("{}－{}　{}", &n[..3], &n[3..7], &n[7..]),
    ];
    let around: [fn(&str) -> String; 12] = [
        str::to_owned,
        |p| format!("phone {p} is invalid"),
        |p| format!(r#"{{"phone":"{p}","n":1}}"#),
        |p| format!(r#"{{"body":"{{\"tel\":\"{p}\",\"note\":\"\\n{p}\"}}"}}"#),
        |p| format!("https://example.com/cb?mobile={p}&x=1"),
        |p| format!("手机号{p}已存在"),
        |p| format!("tel:{p};ext=1"),
        |p| format!("({p})"),
        |p| format!("line\\n{p}\\n"),
        |p| format!("%22{p}%22"),
        |p| format!("user_{p}_x"),
        |p| format!("phone{p}"),
    ];
    let mut rows = 0;
    for number in numbers {
        for way in ways {
            for surround in around {
                let text = surround(&way(number));
                let masked = mask_text(&text);
                let plain: String = masked
                    .chars()
                    .map(|c| match c {
                        '０'..='９' => char::from_u32(c as u32 - '０' as u32 + 48).unwrap(),
                        c => c,
                    })
                    .filter(char::is_ascii_digit)
                    .collect();
                assert!(!plain.contains(&number[3..7]), "{text} -> {masked}");
                assert!(masked.contains(&format!("{}****{}", &number[..3], &number[7..])), "{text} -> {masked}");
                rows += 1;
            }
        }
    }
    assert!(rows >= 200);
}

#[test]
fn a_number_in_a_percent_encoded_url_is_found() {
    assert_eq!(mask_text("u?p=%2B8613812345678&q"), "u?p=%2B86138****5678&q");
    assert_eq!(mask_text("u?p=138%201234%205678&q"), "u?p=138****5678&q");
    assert_eq!(mask_text("u?p=138+1234+5678&q"), "u?p=138****5678&q");
    assert_eq!(mask_text(r"\u002b8613812345678"), r"\u002b86138****5678");
}

#[test]
fn a_phone_read_as_a_float_is_still_one() {
    assert_eq!(mask_text("phone=13812345678.0"), "phone=138****5678.0");
}

#[test]
fn other_countries_need_their_plus() {
    assert_eq!(mask_text("+14155552671"), "+14****2671");
    assert_eq!(mask_text("14155552671a"), "14155552671a");
    assert_eq!(mask_text("2026-01-01T00:00:00+0800"), "2026-01-01T00:00:00+0800");
}

#[test]
fn ordinary_ids_and_numbers_stay_as_they_are() {
    let plain = [
        "5f13812345678abc9d0e1f2a3b4c5d6e",
        "0123456789abcdef13812345678fedcb",
        "13812345678901234567890123456789",
        "1736956740000",
        "1764000000123",
        "offset 138123456",
        "offset 138123456789",
        "offset 12812345678",
        "tx-a13812345678",
        "ord20261124-0000123",
        "550e8400-e29b-41d4-a716-446655440000",
        "13812345-6781-1381-2345-138123456789",
        "10.138.123.45:9092",
        "139.199.200.55",
        "2026-11-24T08:15:30.123Z",
        "took 0.13812345678 s",
        "lat 31.15912345678",
        "partitions 13 81 23 45 67 8",
        "traceparent 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "150 rps, 20000000 bytes",
        "retry in 30s, 5 of 20",
        "conversions/11@1234567",
        "订单号 abc123 重复",
        "secretary of state",
        "tokens 15",
        "accounts.acme-ps.secrets[0].secret: environment variable NOT_SET is missing",
        "token: expired",
    ];
    for text in plain {
        assert_eq!(mask_text(text), text);
    }
}

#[test]
fn mail_addresses_keep_their_first_letter_and_domain() {
    assert_eq!(mask_text("to li.wei+x@example.com failed"), "to l***@example.com failed");
    assert_eq!(mask_text(r#"{"email":"13812345678@qq.com"}"#), r#"{"email":"1***@qq.com"}"#);
    assert_eq!(mask_text("?e=li%40example.com.cn&x"), "?e=l***%40example.com.cn&x");
    assert_eq!(mask_text("用户张三@例子.公司"), "用***@例子.公司");
}

#[test]
fn credentials_in_texts_are_hidden() {
    let cases = [
        ("redis://user:pa5s@host:6379/0 refused", "redis://***@host:6379/0 refused"),
        ("rediss://:p%40ss@[::1]:6379", "rediss://***@[::1]:6379"),
        ("sasl.password=hunter2 rejected", "sasl.password=*** rejected"),
        (r#"{"app_secret":"88f78c12","x":1}"#, r#"{"app_secret":"***","x":1}"#),
        (r#"{"a":"{\"secret\":\"abc\"}"}"#, r#"{"a":"{\"secret\":\"***\"}"}"#),
        ("AppSecret: 88f78c12b63148ae", "AppSecret: ***"),
        ("ssl.key.password=x;y", "ssl.key.password=***;y"),
        ("access_token=3a859c26d23348dc9844acac0a533697&x=1", "access_token=3a85…3697&x=1"),
        ("refresh_token=short", "refresh_token=***"),
        (r#""token":"3a859c26d23348dc9844""#, r#""token":"3a85…9844""#),
        ("Authorization: Bearer 3a859c26d23348dc9844", "Authorization: Bearer 3a85…9844"),
        ("Bearer abc", "Bearer ***"),
    ];
    for (text, want) in cases {
        assert_eq!(mask_text(text), want);
    }
}

#[test]
fn house_numbers_are_hidden() {
    assert_eq!(mask_text("浦东新区世纪大道100号3栋2单元1502室"), "浦东新区世纪大道***号***栋***单元***室");
    assert_eq!(mask_address("A座12楼B层"), "A座***楼***层");
    assert_eq!(mask_address("人民路１２号"), "人民路***号");
    assert_eq!(mask_address("人民路 12 号"), "人民路 *** 号");
    assert_eq!(mask_address("no numbers 号"), "no numbers 号");
}

#[test]
fn a_field_that_is_no_phone_is_hidden_completely() {
    assert_eq!(mask_phone("unknown"), "***");
    assert_eq!(mask_phone("13812345678 and more"), "***");
    assert_eq!(mask_phone(""), "***");
}

#[test]
fn masking_twice_changes_nothing_more() {
    for text in ["call +86 138-1234-5678", "a.b@example.com", "token=3a859c26d23348dc9844acac", "世纪大道100号"] {
        let once = mask_text(text).into_owned();
        assert_eq!(mask_text(&once), once);
    }
}

#[test]
fn a_number_that_may_name_a_device_or_a_person_is_hidden_and_shorter_ones_stay() {
    for (text, masked) in [
        ("imei 860123456789012 is blocked", "imei 86*** is blocked"),
        ("id:11010519491231002X", "id:11***X"),
        ("code 40001, order 2026112900, at 1795980949", "code 40001, order 2026112900, at 1795980949"),
        ("123456789012", "12***"),
    ] {
        assert_eq!(mask_long_numbers(text), masked, "{text}");
    }
}
