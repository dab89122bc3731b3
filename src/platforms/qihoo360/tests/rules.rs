use super::*;

fn ps() -> Qihoo360 {
    sender("data_industry = 'ocpc_ps_convert'")
}

fn zs() -> Qihoo360 {
    sender("data_industry = 'ocpc_zs_convert'\njzqs = '1000001'")
}

fn detail(sender: &Qihoo360, event: &ConversionEvent) -> Value {
    body(sender, event)["data"]["data_detail"].clone()
}

#[test]
fn each_missing_or_wrong_field_is_named() {
    type Edit = fn(&mut Value);
    let rows: [(&str, Edit); 35] = [
        ("click.qhclickid", |e| e["click"] = Value::Null),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = Value::Null),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = json!("")),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = json!("__qhclickid__")),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = json!("{{clickid}}")),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = json!("{clickid}")),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = json!("null")),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = json!("undefined")),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = json!("a1b2c3d4e5f607\r\n")),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = json!("(null)")),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = json!("None")),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = json!("NULL")),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = json!("%%CLICK_ID_ESC%%")),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = json!("${qhclickid}")),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = json!("[qhclickid]")),
        ("click.qhclickid", |e| e["click"]["qhclickid"] = json!("a1b2c3d4e5f6071８")),
        ("click.qhclickid", |e| e["click"] = json!({"sourceid": "a1b2c3d4e5f60718"})),
        ("platform_params.data_industry", |e| e["platform_params"] = json!({"data_industry": "ocpc_tv_convert"})),
        ("platform_params.data_industry", |e| e["platform_params"] = json!({"data_industry": ""})),
        ("platform_params.data_industry", |e| e["platform_params"] = json!({"data_industry": 3})),
        ("platform_params.data_industry", |e| e["platform_params"] = json!({"data_industry": "ocpc_zs_convert"})),
        ("platform_params.data_source", |e| e["platform_params"] = json!({"data_source": 3})),
        ("click.impression_id", |e| {
            e["event_type"] = json!("form_submit");
            e["click"]["impression_id"] = Value::Null;
            e["platform_params"] = json!({"data_industry": "ocpc_web_convert"});
        }),
        ("event_time_ms", |e| e["event_time_ms"] = json!(2_147_483_648_000_i64)),
        ("order.amount.minor", |e| e["order"]["amount"]["minor"] = json!(-1)),
        ("order.amount.currency", |e| e["order"]["amount"]["currency"] = json!("USD")),
        ("order.amount.minor", |e| e["order"]["amount"] = json!({"minor": -1, "currency": "USD"})),
        ("params.score", |e| e["params"]["score"] = json!(0)),
        ("params.score", |e| e["params"]["score"] = json!(-3)),
        ("params.score", |e| e["params"]["score"] = json!(1.5)),
        ("params.score", |e| e["params"]["score"] = json!("1")),
        ("params.score", |e| e["params"]["score"] = json!(u64::MAX)),
        ("user.user_id", |e| e["user"]["user_id"] = json!("u\u{7}")),
        ("user.registered_at_ms", |e| e["user"]["registered_at_ms"] = json!(999_999_999_999_i64)),
        ("user.registered_at_ms", |e| e["user"]["registered_at_ms"] = json!(1_736_899_201_000_i64)),
    ];
    let sender = ps();
    for (i, (field, edit)) in rows.into_iter().enumerate() {
        assert_eq!(refusal(&sender, &edited(edit)), ("invalid", field.into()), "row {i}");
    }
    assert_eq!(refusal(&zs(), &edited(|e| e["params"]["bname"] = json!(7))), ("invalid", "params.bname".into()));
}

#[test]
fn limits_are_accepted_up_to_their_edge() {
    let sender = ps();
    let event = edited(|e| e["event_time_ms"] = json!(2_147_483_647_999_i64));
    assert_eq!(detail(&sender, &event)["event_time"], i32::MAX);
    let event = edited(|e| e["user"]["registered_at_ms"] = json!(1_736_899_200_999_i64));
    assert_eq!(detail(&sender, &event)["event_param"]["urtime"], 1_736_899_200, "the same second as the event");
    let event = edited(|e| e["user"]["registered_at_ms"] = json!(1_000_000_000_000_i64));
    assert_eq!(detail(&sender, &event)["event_param"]["urtime"], 1_000_000_000);
    let event = edited(|e| e["order"]["amount"]["minor"] = json!(i64::MAX));
    assert_eq!(detail(&sender, &event)["event_param"]["value"], i64::MAX);
    let event = edited(|e| e["order"]["amount"]["minor"] = json!(0));
    assert_eq!(detail(&sender, &event)["event_param"]["value"], 0);
}

#[test]
fn the_first_failing_step_decides() {
    let broken = |e: &mut Value| {
        e["event_type"] = json!("teleported");
        e["click"] = Value::Null;
        e["params"]["score"] = json!(0);
    };
    assert_eq!(refusal(&ps(), &edited(broken)), ("unmapped_event", "event_type".into()));
    let broken = |e: &mut Value| {
        e["click"] = Value::Null;
        e["params"]["score"] = json!(0);
    };
    assert_eq!(refusal(&ps(), &edited(broken)), ("invalid", "click.qhclickid".into()));
    let broken = |e: &mut Value| {
        e["user"]["registered_at_ms"] = json!(999_999_999_999_i64);
        e["user"]["user_id"] = json!("\n");
        e["params"]["score"] = json!(0);
        e["order"]["amount"]["currency"] = json!("JPY");
    };
    assert_eq!(refusal(&ps(), &edited(broken)), ("invalid", "order.amount.currency".into()));
}

#[test]
fn what_is_not_sent_is_not_judged() {
    let event = edited(|e| {
        e["event_type"] = json!("form_submit");
        e["order"]["amount"] = json!({"minor": -1, "currency": "USD"});
        e["user"]["registered_at_ms"] = json!(999_999_999_999_i64);
    });
    assert_eq!(detail(&ps(), &event)["event_param"], json!({"score": 123, "outeruserid": "user001"}));
}

#[test]
fn an_account_without_a_line_needs_it_from_the_event() {
    let sender = sender("");
    assert_eq!(refusal(&sender, &edited(|_| {})), ("invalid", "platform_params.data_industry".into()));
    let event = edited(|e| e["platform_params"] = json!({"data_industry": "ocpc_ms_convert"}));
    assert_eq!(body(&sender, &event)["data"]["data_industry"], "ocpc_ms_convert");
}

#[test]
fn the_events_line_overrides_the_accounts() {
    let event = edited(|e| {
        e["event_type"] = json!("form_submit");
        e["platform_params"] = json!({"data_industry": "ocpc_web_convert"});
    });
    assert_eq!(detail(&ps(), &event)["impression_id"], "9f8e7d6c5b4a39281706");
}

#[test]
fn a_native_code_overrides_the_mapping_and_a_mapping_the_table() {
    let event = edited(|e| e["platform_event"] = json!("PAY"));
    assert_eq!(detail(&ps(), &event)["event"], "PAY");
    let event = edited(|e| e["platform_event"] = json!("CUSTOMIZE"));
    assert_eq!(refusal(&ps(), &event), ("unmapped_event", "platform_event".into()));
    let event = edited(|e| e["platform_event"] = json!(""));
    assert_eq!(refusal(&ps(), &event), ("unmapped_event", "platform_event".into()));

    let map = BTreeMap::from([("order".to_owned(), "PLACE_ORDER".to_owned()), ("lead".into(), "SUBMIT".into())]);
    let mapped = Qihoo360::new(config("data_industry = 'ocpc_ps_convert'"), map).unwrap();
    assert_eq!(detail(&mapped, &edited(|_| {}))["event"], "PLACE_ORDER");
    assert_eq!(detail(&mapped, &edited(|e| e["event_type"] = json!("lead")))["event"], "SUBMIT");
}

#[test]
fn display_takes_the_id_under_both_names() {
    let click = |click: Value| edited(|e| e["click"] = click);
    let both = click(json!({"qhclickid": "a1b2c3d4e5f6", "sourceid": "000000000000"}));
    assert_eq!(detail(&zs(), &both)["qhclickid"], "a1b2c3d4e5f6");
    let one = click(json!({"sourceid": "000000000000"}));
    assert_eq!(detail(&zs(), &one)["qhclickid"], "000000000000");
    assert_eq!(refusal(&zs(), &click(json!({"landing_url": "x"}))), ("invalid", "click.qhclickid".into()));
    assert_eq!(refusal(&zs(), &click(json!({"sourceid": "{x}"}))), ("invalid", "click.sourceid".into()));
}

#[test]
fn a_click_id_of_another_length_warns_fails_or_passes() {
    let account = |mode: &str| sender(&format!("data_industry = 'ocpc_ps_convert'\nvalidate.click_len = '{mode}'"));
    let event = edited(|e| e["click"]["qhclickid"] = json!("9356596331006111412"));
    let warned = |mode| account(mode).prepare(&event).unwrap().warnings.iter().any(|w| w.contains("19 characters"));
    assert!(warned("warn"));
    assert!(!warned("off"));
    assert_eq!(refusal(&account("strict"), &event), ("invalid", "click.qhclickid".into()));
    assert!(account("strict").prepare(&edited(|_| {})).is_ok());
    let display = sender("data_industry = 'ocpc_zs_convert'\njzqs = '1'\nvalidate.click_len = 'strict'");
    let event = edited(|e| e["click"] = json!({"sourceid": "a1b2c3d4e5f60718"}));
    assert_eq!(refusal(&display, &event), ("invalid", "click.sourceid".into()));
}

#[test]
fn ids_travel_untouched() {
    let (click, user) = (" A/\"\\ +%2B ", " Ä/\"\\ +%2B ");
    let event = edited(|e| {
        e["click"]["qhclickid"] = json!(click);
        e["user"]["user_id"] = json!(user);
    });
    let detail = detail(&ps(), &event);
    assert_eq!(detail["qhclickid"], click);
    assert_eq!(detail["event_param"]["outeruserid"], user);
}

#[test]
fn a_business_name_travels_as_it_is() {
    for name in ["角色扮演", "quote \" and \\ back", "a\nb\u{1}", "emoji 🎮"] {
        let event = edited(|e| e["params"]["bname"] = json!(name));
        assert_eq!(detail(&zs(), &event)["event_param"]["bname"], name);
    }
}

#[test]
fn empty_optional_texts_are_left_out_with_a_warning() {
    let event = edited(|e| {
        e["user"]["user_id"] = json!("");
        e["params"]["bname"] = json!("");
    });
    let members = detail(&zs(), &event)["event_param"].clone();
    assert_eq!(members, json!({"value": 2345, "score": 123, "urtime": 1_705_487_632}));
    let warnings = zs().prepare(&event).unwrap().warnings;
    assert!(warnings.iter().any(|w| w == "user.user_id is left out: empty"), "{warnings:?}");
}

#[test]
fn each_mode_makes_its_trans_id() {
    let hex = "5d41402abc4b2a76b9719d911017c592";
    let rows = [
        ("auto", hex, hex),
        ("auto", "123", "202cb962ac59075b964b07152d234b70"),
        ("verbatim", "Order-1", "Order-1"),
        ("md5", "123", "202cb962ac59075b964b07152d234b70"),
    ];
    for (mode, given, expected) in rows {
        let sender = sender(&format!("data_industry = 'ocpc_ps_convert'\ntrans_id_mode = '{mode}'"));
        let sent = detail(&sender, &edited(|e| e["trans_id"] = json!(given)))["trans_id"].clone();
        assert_eq!(sent, expected, "{mode} {given}");
    }
    // Upper case is not the customary form, so the text is hashed like any other.
    let upper = hex.to_uppercase();
    assert_eq!(detail(&ps(), &edited(|e| e["trans_id"] = json!(upper)))["trans_id"], md5_hex(&upper));
    let sender = sender("data_industry = 'ocpc_ps_convert'\ntrans_id_mode = 'md5_with_event'");
    assert_eq!(detail(&sender, &edited(|_| {}))["trans_id"], md5_hex(format!("ORDER:{hex}")));
    let sent = detail(&super::sender("data_industry = 'ocpc_ps_convert'\ntrans_id_mode = 'md5'"), &edited(|_| {}));
    assert_eq!(sent["trans_id"], md5_hex(hex));
}

#[test]
fn the_events_source_wins_and_an_empty_one_is_none() {
    let account = sender("data_industry = 'ocpc_ps_convert'\ndata_source = 'account'");
    let source = |sender: &Qihoo360, given: Value| {
        body(sender, &edited(|e| e["platform_params"] = json!({"data_source": given})))["data"]
            .get("data_source")
            .cloned()
    };
    assert_eq!(source(&account, json!("event")), Some(json!("event")));
    assert_eq!(source(&account, json!("")), Some(json!("account")));
    assert_eq!(source(&account, Value::Null), Some(json!("account")));
    assert_eq!(source(&ps(), json!("")), None);
    assert_eq!(source(&sender("data_industry = 'ocpc_ps_convert'\ndata_source = ''"), Value::Null), None);
}

#[test]
fn the_list_of_value_events_can_be_replaced() {
    let account = sender("data_industry = 'ocpc_ps_convert'\nevent_param.value_events = ['PLACE_ORDER']");
    let value = |name: &str| {
        let event = edited(|e| e["event_type"] = json!(name));
        detail(&account, &event)["event_param"].get("value").cloned()
    };
    assert_eq!(value("order_submit"), Some(json!(2345)));
    assert_eq!(value("order"), None);
    let web = sender("data_industry = 'ocpc_web_convert'\nevent_param.value_events = ['SUBMIT']");
    let event = edited(|e| e["event_type"] = json!("form_submit"));
    assert_eq!(detail(&web, &event).get("event_param"), None);
}

#[test]
fn hosts_and_credentials_in_an_event_are_ignored_with_a_warning() {
    let event =
        edited(|e| e["platform_params"] = json!({"base_url": "https://evil.example", "secret": "x", "n": null}));
    let prepared = ps().prepare(&event).unwrap();
    assert_eq!(prepared.warnings.iter().filter(|w| w.ends_with("is ignored")).count(), 2);
    let text = prepared.item.text().unwrap();
    assert!(!text.contains("evil"));
}

#[test]
fn an_event_with_nothing_optional_has_no_event_param() {
    let event = edited(|e| {
        e["order"] = Value::Null;
        e["user"] = Value::Null;
        e["params"] = Value::Null;
    });
    assert_eq!(detail(&ps(), &event).get("event_param"), None);
    assert!(ps().prepare(&event).unwrap().warnings.is_empty());
}
