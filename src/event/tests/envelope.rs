//! Tests the rules of the envelope: one row per member and kind of fault.

use super::*;

#[test]
fn every_member_arrives() {
    let event = edited(|e| {
        e["platform_event"] = json!("PAY");
        e["deadline_ms"] = json!(1_736_900_000_007_i64);
        e["order"]["refund"] = json!({"minor": -1, "currency": "USD"});
        e["user"]["phone"] = json!("p");
        e["user"]["wechat"]["unionid"] = json!("w");
        e["user"]["hashed"]["email_sha256"] = json!("h");
        e["user"]["device"]["caid"] = json!("c");
    });
    assert_eq!((event.schema, event.kind), (Schema::V1, Kind::Conversion));
    assert_eq!(event.trans_id, "9f0c2a7e-order-1001-pay");
    assert_eq!((event.platform.as_str(), event.account.as_str()), ("qihoo360", "acme-ps"));
    assert_eq!((event.event_type.as_str(), event.platform_event.as_deref()), ("pay", Some("PAY")));
    assert_eq!(event.event_time_ms, 1_736_899_200_123);
    assert_eq!((event.produced_at_ms, event.deadline_ms), (Some(1_736_899_201_000), Some(1_736_900_000_007)));
    assert_eq!(event.click.get("qhclickid"), Some("a1b2c3d4e5f60718"));
    assert_eq!(event.click.get("landing_url"), Some("https://x.example/?a=1"));
    assert_eq!(event.click.get("sourceid"), None);
    assert_eq!(event.click.click_time_ms, Some(1_736_890_000_000));
    let money = |minor, currency: &str| Money { minor, currency: currency.into() };
    assert_eq!(event.order.amount, Some(money(2345, "CNY")));
    assert_eq!(event.order.refund, Some(money(-1, "USD")));
    assert_eq!(event.order.items[0].unit, Some(money(2345, "CNY")));
    assert_eq!((event.order.items[0].quantity, event.order.items[0].id.as_deref()), (Some(1), Some("sku-1")));
    assert_eq!((event.user.phone.as_deref(), event.user.registered_at_ms), (Some("p"), Some(1_705_487_632_000)));
    assert_eq!(event.user.wechat.unionid.as_deref(), Some("w"));
    assert_eq!(event.user.hashed.email_sha256.as_deref(), Some("h"));
    assert_eq!((event.user.device.os.as_deref(), event.user.device.caid.as_deref()), (Some("android"), Some("c")));
    assert_eq!(event.consent.ad_user_data.as_deref(), Some("granted"));
    assert_eq!(event.params.get("score"), Some(&json!(123)));
    assert_eq!(event.platform_params.get("data_industry"), Some(&json!("ocpc_ps_convert")));
}

#[test]
fn schema_and_kind_have_defaults_and_null_is_absent() {
    let small = json!({"trans_id": "t", "platform": "p", "account": "a", "event_type": "e", "event_time_ms": FIRST_MS});
    let event = decode(Some(small.to_string().as_bytes())).unwrap();
    let nulls = edited(|e| {
        for (name, value) in e.as_object_mut().unwrap() {
            *value = small.get(name).cloned().unwrap_or(Value::Null);
        }
    });
    assert_eq!(event, nulls);
    assert_eq!((event.kind, event.click.ids.len(), event.params.0.len()), (Kind::Conversion, 0, 0));
}

#[test]
fn a_missing_or_null_required_member_is_named() {
    for name in ["trans_id", "platform", "account", "event_type", "event_time_ms"] {
        let gone = bytes(|e| _ = e.as_object_mut().unwrap().remove(name));
        assert_eq!(refusal(&gone), ("invalid", name.into()));
        assert_eq!(refusal(&bytes(|e| e[name] = Value::Null)), ("invalid", name.into()));
        assert_eq!(refusal(&bytes(|e| e[name] = json!([]))), ("invalid", name.into()));
    }
    assert_eq!(refusal(b"{}"), ("invalid", "trans_id".into()));
}

/// All events of such a producer would repeat its first event and silently end as duplicates.
#[test]
fn a_trans_id_that_was_never_filled_in_is_invalid_and_says_what_to_do() {
    for text in
        ["__TRANS_ID__", "${trans_id}", "{transid}", "{{x}}", "%%X%%", "[x]", "%7bx%7d", "null", "(null)", "None"]
    {
        let error = decode(Some(&bytes(|e| e["trans_id"] = json!(text)))).unwrap_err();
        let DeliveryError::Invalid(fault) = &error else { panic!("{text}: {error:?}") };
        assert_eq!(fault.field, "trans_id", "{text}");
        assert!(fault.detail.contains("placeholder") && fault.detail.contains("producer"), "{text}: {}", fault.detail);
    }
    for text in ["Null", "null-1", "__x", "x[0]", "{x", "$x", "{3F2504E0-4F89-11d3-9a0c-0305e82c3301}"] {
        assert_eq!(edited(|e| e["trans_id"] = json!(text)).trans_id, text);
    }
}

#[test]
fn the_deepest_member_at_fault_is_named() {
    let rows = [
        ("schema", json!(1)),
        ("kind", json!("party")),
        ("kind", json!(1)),
        ("trans_id", json!("")),
        ("trans_id", json!("x".repeat(129))),
        ("trans_id", json!("a b")),
        ("trans_id", json!("a\n")),
        ("trans_id", json!("\u{7f}")),
        ("trans_id", json!("标识")),
        ("platform_event", json!(1)),
        ("event_time_ms", json!("1736899200123")),
        ("event_time_ms", json!(1_736_899_200_123.5)),
        ("event_time_ms", json!(1_u64 << 63)),
        ("event_time_ms", json!(0)),
        ("event_time_ms", json!(-1)),
        ("produced_at_ms", json!("x")),
        ("deadline_ms", json!(1.5)),
        ("click", json!([])),
        ("click.qhclickid", json!(12)),
        ("click.qhclickid", json!("x".repeat(4097))),
        ("click.bd_vid", json!({})),
        ("click.click_time_ms", json!("x")),
        ("order", json!([])),
        ("order", json!("1001")),
        ("order.order_id", json!(1001)),
        ("order.amount", json!(2345)),
        ("order.amount.minor", json!("2345")),
        ("order.amount.minor", json!(23.45)),
        ("order.amount.minor", json!(1_u64 << 63)),
        ("order.amount.minor", Value::Null),
        ("order.amount.currency", Value::Null),
        ("order.amount.currency", json!("cny")),
        ("order.amount.currency", json!("CNYY")),
        ("order.amount.currency", json!("")),
        ("order.refund", json!(false)),
        ("order.items", json!({})),
        ("user", json!("u")),
        ("user.user_id", json!(1)),
        ("user.registered_at_ms", json!("x")),
        ("user.device", json!([])),
        ("user.device.oaid", json!(1)),
        ("user.wechat.openid", json!(1)),
        ("user.hashed.phone_md5", json!(1)),
        ("consent", json!("granted")),
        ("consent.opt_out", json!("false")),
        ("consent.ad_user_data", json!(true)),
        ("params", json!([])),
        ("platform_params", json!("x")),
    ];
    for (field, value) in rows {
        let broken = bytes(|e| {
            let (parents, name) = field.rsplit_once('.').unwrap_or(("", field));
            let pointer = if parents.is_empty() { String::new() } else { format!("/{}", parents.replace('.', "/")) };
            e.pointer_mut(&pointer).unwrap()[name] = value.clone();
        });
        assert_eq!(refusal(&broken), ("invalid", field.into()), "{value}");
    }
    let item = |edit: fn(&mut Value)| refusal(&bytes(|e| edit(&mut e["order"]["items"])));
    assert_eq!(item(|items| items[0]["unit"]["minor"] = Value::Null), ("invalid", "order.items.0.unit.minor".into()));
    assert_eq!(item(|items| *items = json!([{}, 5])), ("invalid", "order.items.1".into()));
    assert_eq!(item(|items| *items = json!([{}, {"quantity": "1"}])), ("invalid", "order.items.1.quantity".into()));
}

#[test]
fn a_moment_in_another_unit_is_refused_and_the_detail_names_the_unit() {
    let moments = ["event_time_ms", "produced_at_ms", "deadline_ms", "click.click_time_ms", "user.registered_at_ms"];
    let rows: [(i64, Option<&str>); 16] = [
        (FIRST_MS, None),
        (1_736_899_200_123, None),
        (LAST_MS, None),
        (FIRST_MS - 1, Some("not from 2001 to 2100")),
        (LAST_MS + 1, Some("not from 2001 to 2100")),
        (0, Some("not from 2001 to 2100")),
        (-1, Some("not from 2001 to 2100")),
        (20_117, Some("not from 2001 to 2100")),
        (i64::MIN, Some("not from 2001 to 2100")),
        (i64::MAX, Some("not from 2001 to 2100")),
        (978_307_200, Some("looks like seconds")),
        (1_736_899_200, Some("looks like seconds")),
        (4_133_980_799, Some("looks like seconds")),
        (1_736_899_200_123_456, Some("looks like microseconds")),
        (1_736_899_200_123_456_789, Some("looks like nanoseconds")),
        (4_133_980_800_000_000_000, Some("not from 2001 to 2100")),
    ];
    for field in moments {
        for (ms, wrong) in rows {
            let value = bytes(|e| *e.pointer_mut(&format!("/{}", field.replace('.', "/"))).unwrap() = json!(ms));
            match (decode(Some(&value)), wrong) {
                (Ok(_), None) => {}
                (Err(DeliveryError::Invalid(fault)), Some(wrong)) => {
                    assert_eq!(fault.field, field);
                    assert!(fault.detail.contains(wrong) && fault.detail.contains("milliseconds"), "{ms}: {fault:?}");
                }
                (result, _) => panic!("{field} {ms}: {result:?}"),
            }
        }
        for (raw, wrong) in [
            ("1736899200.123", "looks like seconds: it has to be milliseconds since 1970"),
            ("4133980799.5e0", "looks like seconds: it has to be milliseconds since 1970"),
            ("1736899200123.5", "not a whole number of 64 bits: it has to be milliseconds since 1970"),
            ("1e300", "not a whole number of 64 bits: it has to be milliseconds since 1970"),
            ("9223372036854775808", "not a whole number of 64 bits: it has to be milliseconds since 1970"),
            ("\"1736899200123\"", "a text: it has to be a number, milliseconds since 1970"),
            ("\"2025-01-15T00:00:00Z\"", "a text: it has to be a number, milliseconds since 1970"),
        ] {
            let text = String::from_utf8(bytes(|e| {
                *e.pointer_mut(&format!("/{}", field.replace('.', "/"))).unwrap() = json!("RAW");
            }));
            let value = text.unwrap().replace("\"RAW\"", raw);
            let Err(DeliveryError::Invalid(fault)) = decode(Some(value.as_bytes())) else { panic!("{field} {raw}") };
            assert_eq!((&*fault.field, &*fault.detail), (field, wrong), "{raw}");
        }
    }
}

#[test]
fn members_are_judged_in_the_order_of_the_table() {
    let order = [
        "kind",
        "trans_id",
        "platform",
        "account",
        "event_type",
        "platform_event",
        "event_time_ms",
        "produced_at_ms",
        "deadline_ms",
        "click",
        "order",
        "user",
        "consent",
        "params",
        "platform_params",
    ];
    for first in 0..order.len() {
        let broken = bytes(|e| order[first..].iter().for_each(|name| e[*name] = json!(true)));
        assert_eq!(refusal(&broken), ("invalid", order[first].into()));
    }
}

#[test]
fn limits_hold_to_the_byte() {
    assert_eq!(edited(|e| e["trans_id"] = json!("!".repeat(128))).trans_id.len(), 128);
    assert_eq!(edited(|e| e["click"]["x"] = json!("é".repeat(2048))).click.get("x").map(str::len), Some(4096));
    assert_eq!(refusal(&bytes(|e| e["click"]["x"] = json!("é".repeat(2049)))), ("invalid", "click.x".into()));

    let params = |count: usize| bytes(|e| e["params"] = (0..count).map(|i| (format!("k{i}"), json!(i))).collect());
    assert!(decode(Some(&params(32))).is_ok());
    assert_eq!(refusal(&params(33)), ("invalid", "params".into()));

    // {"a":"…"} is eight bytes around the text, {"a":"…","b":1} fourteen
    let one = |length: usize| bytes(|e| e["params"] = json!({"a": "x".repeat(length)}));
    assert!(decode(Some(&one(8192 - 8))).is_ok());
    assert_eq!(refusal(&one(8192 - 7)), ("invalid", "params".into()));
    let two = |length: usize| bytes(|e| e["params"] = json!({"a": "x".repeat(length), "b": 1}));
    assert!(decode(Some(&two(8192 - 14))).is_ok());
    assert_eq!(refusal(&two(8192 - 13)), ("invalid", "params".into()));
}

#[test]
fn white_space_inside_params_decides_nothing() {
    let text = format!(r#"{{"a":{}1}}"#, " ".repeat(10_000));
    let padded = String::from_utf8(bytes(|e| e["params"] = json!("HERE"))).unwrap().replace("\"HERE\"", &text);
    assert!(decode(Some(padded.as_bytes())).is_ok());
}

#[test]
fn members_nobody_knows_are_ignored() {
    let event = edited(|e| {
        e["x_future"] = json!({"deep": [1, {"a": null}], "text": "未来"});
        e["order"]["coupon"] = json!([1]);
        e["user"]["age"] = json!(7);
        e["consent"]["x"] = json!(7);
    });
    assert_eq!(event, edited(|_| {}));
}

#[test]
fn any_other_schema_text_is_malformed_before_anything_else() {
    for text in ["postback.event/2", "event", "", "postback.event/1 "] {
        let broken = bytes(|e| {
            e["schema"] = json!(text);
            e["trans_id"] = Value::Null;
        });
        assert_eq!(refusal(&broken), ("malformed", "schema".into()), "{text}");
    }
}

#[test]
fn a_call_needs_no_event_type() {
    let call = edited(|e| {
        e["kind"] = json!("call");
        e["event_type"] = Value::Null;
        e["call"] = json!("doudian.order_list");
    });
    assert_eq!((call.kind, call.event_type.as_str()), (Kind::Call, ""));
}

#[test]
fn a_call_says_what_it_asks_for_and_where_its_results_go() {
    let call = edited(|e| {
        e["kind"] = json!("call");
        e["call"] = json!("doudian.order_list");
        e["args"] = json!({"page": 0, "createTimeStart": 1_736_800_000, "x": null});
        e["reply"] =
            json!({"topic": "postback.results", "key": "acme", "paginate": "all", "max_pages": 50, "ttl_s": 600});
    });
    assert_eq!(call.call.as_deref(), Some("doudian.order_list"));
    assert_eq!(call.args.names().collect::<Vec<_>>(), ["createTimeStart", "page"], "null is absent");
    let reply = Reply {
        topic: Some("postback.results".into()),
        key: Some("acme".into()),
        paginate: Paginate::All,
        max_pages: Some(50),
        ttl_s: Some(600),
    };
    assert_eq!(call.reply, reply);
    assert_eq!(edited(|e| e["reply"] = Value::Null).reply, Reply::default());
    let wrong = [
        ("call", json!(null), "call"),
        ("call", json!(7), "call"),
        ("args", json!([]), "args"),
        ("reply", json!({"paginate": "some"}), "reply.paginate"),
        ("reply", json!({"max_pages": 0}), "reply.max_pages"),
        ("reply", json!({"ttl_s": -1}), "reply.ttl_s"),
        ("reply", json!({"topic": 1}), "reply.topic"),
    ];
    for (name, value, field) in wrong {
        let broken = bytes(|e| {
            e["kind"] = json!("call");
            e["call"] = json!("doudian.order_list");
            e[name] = value;
        });
        assert_eq!(refusal(&broken), ("invalid", field.into()));
    }
}

#[test]
fn names_that_could_forge_a_log_line_are_not_repeated() {
    assert_eq!(refusal(&bytes(|e| e["click"]["a\r\nb"] = json!(1))), ("invalid", "click.?".into()));
    assert_eq!(refusal(&bytes(|e| e["click"]["x".repeat(65)] = json!(1))), ("invalid", "click.?".into()));
    // A value in the place of a name may be personal as well.
    for name in ["13812345678", "phone13812345678", "li@example.com", "张三", "203.0.113.7", "", "490154203237518"] {
        let field = refusal(&bytes(|e| e["click"][name] = json!(1)));
        assert_eq!(field, ("invalid", "click.?".into()), "{name}");
    }
    for name in ["bd_vid", "ks-callback", "gclid2", "utm.source"] {
        let field = refusal(&bytes(|e| e["click"][name] = json!(1)));
        assert_eq!(field, ("invalid", format!("click.{name}")));
    }
}

#[test]
fn an_identity_is_read_from_events_that_fail() {
    let identity = identify(Some(&bytes(|e| {
        e["event_time_ms"] = json!("x");
        e["platform_event"] = json!("PAY");
    })));
    let text = |s: &str| Some(s.to_owned());
    assert_eq!(identity.trans_id, text("9f0c2a7e-order-1001-pay"));
    assert_eq!((identity.platform, identity.account), (text("qihoo360"), text("acme-ps")));
    assert_eq!((identity.event, identity.platform_event), (text("pay"), text("PAY")));

    let identity = identify(Some(&bytes(|e| {
        e["trans_id"] = json!("a\nb");
        e["platform"] = json!(7);
        e["account"] = json!("x".repeat(257));
        e["event_type"] = json!("é".repeat(128));
    })));
    assert_eq!((identity.trans_id, identity.platform, identity.account), (None, None, None));
    assert_eq!(identity.event, text(&"é".repeat(128)));

    for value in [None, Some(&b""[..]), Some(b"{"), Some(b"[]"), Some(br#"{"trans_id":"a","trans_id":"b"}"#)] {
        assert_eq!(identify(value), Identity::default());
    }
}
