use super::*;

fn edited(mut args: Value, edit: impl FnOnce(&mut Value)) -> Value {
    edit(&mut args);
    args
}

#[test]
fn eight_calls_may_be_asked_for_and_tokens_never() {
    let account = account("allow_destructive = true");
    assert_eq!(account.names().len(), 8);
    for name in ["token.get", "token.refresh", "doudian.orders", "", "getAuthInfo"] {
        assert_eq!(refused(&account, name, &json!({})), "call", "{name}");
    }
    let args = |name: &str| match name {
        "doudian.order_list" => orders(),
        "doudian.order_detail" => json!({"orderId": "1"}),
        "doudian.decrypt" => ciphers(1),
        "template.delete_flows" => json!({"parentTemplateId": "p"}),
        "template.list" | "doudian.auth_info" => json!({}),
        _ => report(),
    };
    for name in account.names() {
        let call = prepared(&account, name, &args(name));
        assert_eq!((call.name, call.destructive), (*name, *name == "template.delete_flows"));
        // Each has a closed list of arguments.
        let more = edited(args(name), |args| args["nonsense"] = json!(1));
        assert_eq!(refused(&account, name, &more), "args.nonsense", "{name}");
        let credential = edited(args(name), |args| args["accessToken"] = json!("x"));
        assert_eq!(refused(&account, name, &credential), "args.accessToken", "{name}");
    }
}

#[test]
fn what_cannot_be_taken_back_has_to_be_allowed() {
    let args = json!({"parentTemplateId": "p"});
    assert_eq!(refused(&account(""), "template.delete_flows", &args), "call");
    let allowed = account("allow_destructive = true");
    assert!(prepared(&allowed, "template.delete_flows", &args).destructive);
    assert_eq!(refused(&allowed, "template.delete_flows", &json!({})), "args.parentTemplateId");
    let other = json!({"parentTemplateId": "p", "openId": "OpenId@other"});
    assert_eq!(refused(&allowed, "template.delete_flows", &other), "args.openId");
    prepared(&allowed, "template.delete_flows", &json!({"parentTemplateId": "p", "openId": OPEN_ID}));
}

#[test]
fn an_account_without_open_id_lists_templates_and_nothing_else() {
    let account = Solinkup::new(config("allow_destructive = true").check().unwrap());
    prepared(&account, "template.list", &json!({}));
    assert_eq!(refused(&account, "doudian.order_list", &orders()), "call");
    assert_eq!(refused(&account, "template.delete_flows", &json!({"parentTemplateId": "p"})), "call");
}

#[test]
fn orders_are_asked_for_within_the_platforms_limits() {
    let account = account("");
    let now = NOW / 1000;
    let rows: [(&str, Value, Option<&str>); 31] = [
        ("createTimeStart", json!(null), Some("createTimeStart")),
        ("createTimeStart", json!("1736800000"), Some("createTimeStart")),
        ("createTimeStart", json!(1_736_800_000_000_i64), Some("createTimeStart")),
        ("createTimeStart", json!(now - 90 * 86_400), None),
        ("createTimeStart", json!(now - 90 * 86_400 - 1), Some("createTimeStart")),
        ("createTimeStart", json!(-1), Some("createTimeStart")),
        ("createTimeStart", json!(1_736_800_000.0), None),
        ("createTimeStart", json!(1_736_800_000.5), Some("createTimeStart")),
        ("createTimeStart", json!(1_736_890_001), Some("createTimeEnd")),
        ("createTimeEnd", json!(null), Some("createTimeEnd")),
        ("createTimeEnd", json!(1_736_890_000_000_i64), Some("createTimeEnd")),
        ("createTimeEnd", json!(9_999_999_999_i64), None),
        ("page", json!(null), None),
        ("page", json!(-1), Some("page")),
        ("page", json!("0"), Some("page")),
        ("page", json!(500), None),
        ("page", json!(501), Some("page")),
        ("page", json!(i64::MAX), Some("page")),
        ("size", json!(null), None),
        ("size", json!(0), Some("size")),
        ("size", json!(1), None),
        ("size", json!(100), None),
        ("size", json!(101), Some("size")),
        ("orderType", json!(5), None),
        ("orderType", json!(1), Some("orderType")),
        ("orderType", json!("0"), Some("orderType")),
        ("tradeType", json!(10), None),
        ("tradeType", json!(8), Some("tradeType")),
        ("orderStatus", json!(105), None),
        ("orderStatus", json!("105"), Some("orderStatus")),
        ("orderStatus", json!(null), None),
    ];
    for (name, value, field) in rows {
        let args = edited(orders(), |args| args[name] = value.clone());
        match field {
            None => _ = prepared(&account, "doudian.order_list", &args),
            Some(field) => {
                assert_eq!(refused(&account, "doudian.order_list", &args), format!("args.{field}"), "{name} {value}");
            }
        }
    }
}

#[test]
fn fields_are_judged_in_the_order_of_the_platforms_table() {
    let args = json!({"size": 0, "page": -1, "createTimeEnd": 1, "createTimeStart": 1, "orderType": 9});
    assert_eq!(refused(&account(""), "doudian.order_list", &args), "args.orderType");
    assert_eq!(refused(&account(""), "qianchuan.ad_report", &json!({})), "args.advertiser_id");
}

#[test]
fn an_order_is_named_by_a_text() {
    let account = account("");
    let call = prepared(&account, "doudian.order_detail", &json!({"orderId": "28711g12831780"}));
    assert_eq!(body(&request(&account, &call, 0))["orderId"], "28711g12831780");
    for bad in [json!(null), json!(""), json!(28_711), json!("a\nb"), json!("{{order}}"), json!("__ORDER__")] {
        assert_eq!(refused(&account, "doudian.order_detail", &json!({"orderId": bad})), "args.orderId", "{bad}");
    }
}

#[test]
fn each_text_to_decrypt_is_judged_and_named_by_its_place() {
    let account = account("");
    let at = |n: usize, edit: fn(&mut Value)| edited(ciphers(5), |args| edit(&mut args["cipher_infos"][n]));
    let rows = [
        (json!({}), "args.cipher_infos"),
        (json!({"cipher_infos": {}}), "args.cipher_infos"),
        (json!({"cipher_infos": []}), "args.cipher_infos"),
        (at(3, |item| *item = json!("x")), "args.cipher_infos.3"),
        (at(3, |item| item["auth_id"] = json!(null)), "args.cipher_infos.3.auth_id"),
        (at(0, |item| item["auth_id"] = json!(4_915)), "args.cipher_infos.0.auth_id"),
        (at(4, |item| item["cipher_text"] = json!("")), "args.cipher_infos.4.cipher_text"),
        (at(2, |item| item["cipher_txt"] = json!("")), "args.cipher_infos.2.cipher_txt"),
    ];
    for (args, field) in rows {
        assert_eq!(refused(&account, "doudian.decrypt", &args), field);
    }
}

#[test]
fn more_texts_than_one_request_takes_are_split_and_not_refused() {
    let account = account("");
    for (count, chunks) in [(1, 1), (50, 1), (51, 2), (100, 2), (120, 3)] {
        let call = prepared(&account, "doudian.decrypt", &ciphers(count));
        assert_eq!(call.parts, Parts::Chunks(chunks), "{count}");
        let sizes: Vec<usize> = (0..chunks)
            .map(|part| body(&request(&account, &call, part))["cipher_infos"].as_array().unwrap().len())
            .collect();
        assert_eq!(sizes.iter().sum::<usize>(), count);
        assert!(sizes.iter().all(|size| (1..=50).contains(size)), "{sizes:?}");
    }
    let call = prepared(&account, "doudian.decrypt", &ciphers(60));
    assert_eq!(body(&request(&account, &call, 1))["cipher_infos"][0], ciphers(60)["cipher_infos"][50]);
}

#[test]
fn reports_are_asked_for_within_the_platforms_limits() {
    let account = account("");
    let rows: [(&str, Value, Option<&str>); 29] = [
        ("advertiser_id", json!(null), Some("advertiser_id")),
        ("advertiser_id", json!("1"), Some("advertiser_id")),
        ("advertiser_id", json!(0), Some("advertiser_id")),
        ("start_date", json!(null), Some("start_date")),
        ("start_date", json!("2025-1-1"), Some("start_date")),
        ("start_date", json!("2025-02-30"), Some("start_date")),
        ("start_date", json!("20250101xx"), Some("start_date")),
        ("start_date", json!("2025-01-15"), Some("end_date")),
        ("start_date", json!("2025-01-14"), None),
        ("start_date", json!("2024-07-18"), None),
        ("start_date", json!("2024-07-17"), Some("end_date")),
        ("end_date", json!("2025/01/14"), Some("end_date")),
        ("end_date", json!(null), Some("end_date")),
        ("fields", json!(null), Some("fields")),
        ("fields", json!([]), Some("fields")),
        ("fields", json!("stat_cost"), Some("fields")),
        ("fields", json!(["stat_cost", 1]), Some("fields.1")),
        ("fields", json!(["pay_order_roi", "anything"]), None),
        ("filtering", json!(null), Some("filtering")),
        ("filtering", json!([]), Some("filtering")),
        ("order_field", json!(""), Some("order_field")),
        ("order_type", json!("DESC"), None),
        ("order_type", json!("desc"), Some("order_type")),
        ("page", json!(0), Some("page")),
        ("page", json!(7), None),
        ("page_size", json!(500), None),
        ("page_size", json!(501), Some("page_size")),
        ("page_size", json!(0), Some("page_size")),
        ("page_size", json!(null), None),
    ];
    for report_name in ["qianchuan.advertiser_report", "qianchuan.ad_report"] {
        for (name, value, field) in &rows {
            let args = edited(report(), |args| args[name] = value.clone());
            match field {
                None => _ = prepared(&account, report_name, &args),
                Some(field) => {
                    assert_eq!(refused(&account, report_name, &args), format!("args.{field}"), "{name} {value}")
                }
            }
        }
    }
}

#[test]
fn filters_that_exclude_each_other_name_the_unsupported_one() {
    let account = account("");
    let filtered = |filters: Value| {
        let mut args = report();
        args["filtering"] = json!({"marketing_goal": "ALL"});
        for (name, value) in filters.as_object().unwrap() {
            args["filtering"][name] = value.clone();
        }
        args
    };
    let many: Vec<i64> = (1..=101).collect();
    let rows = [
        (json!({"marketing_goal": null}), "marketing_goal"),
        (json!({"marketing_goal": "SOME"}), "marketing_goal"),
        (json!({"order_platform": "PC"}), "order_platform"),
        (json!({"marketing_scene": "FEEDS"}), "marketing_scene"),
        (json!({"promotion_way": "X"}), "promotion_way"),
        (json!({"smart_bid_type": "X"}), "smart_bid_type"),
        (json!({"status": 1}), "status"),
        (json!({"order_platform": "ECP_AWEME", "marketing_scene": "FEED"}), "marketing_scene"),
        (json!({"order_platform": "ECP_AWEME", "promotion_way": "SIMPLE"}), "promotion_way"),
        (json!({"order_platform": "ECP_AWEME", "smart_bid_type": "SMART_BID_CUSTOM"}), "smart_bid_type"),
        (json!({"order_platform": "ECP_AWEME", "status": "DISABLE"}), "status"),
        (json!({"marketing_scene": "SEARCH", "smart_bid_type": "SMART_BID_CUSTOM"}), "smart_bid_type"),
        (json!({"ad_ids": many}), "ad_ids"),
        (json!({"ad_ids": [1, "2"]}), "ad_ids.1"),
        (json!({"aweme_ids": [1]}), "aweme_ids"),
        (json!({"budget": 1}), "budget"),
    ];
    for (filters, field) in rows {
        let args = filtered(filters.clone());
        let expected = format!("args.filtering.{field}");
        assert_eq!(refused(&account, "qianchuan.ad_report", &args), expected, "{filters}");
    }
    let advertiser = |filters: Value| refused(&account, "qianchuan.advertiser_report", &filtered(filters));
    assert_eq!(advertiser(json!({"ad_ids": [1]})), "args.filtering.ad_ids");
    let fine = [
        json!({"marketing_scene": "SEARCH", "promotion_way": "STANDARD"}),
        json!({"order_platform": "ECP_AWEME"}),
        json!({"order_platform": "QIANCHUAN", "smart_bid_type": "SMART_BID_CUSTOM", "status": "DISABLE"}),
        json!({"ad_ids": (1..=100).collect::<Vec<i64>>()}),
    ];
    for filters in fine {
        let call = prepared(&account, "qianchuan.ad_report", &filtered(filters.clone()));
        let sent = body(&request(&account, &call, 0));
        assert_eq!(sent["filtering"], filtered(filters)["filtering"]);
    }
}

#[test]
fn the_span_of_a_report_and_its_metrics_are_switches() {
    let args = edited(report(), |args| args["start_date"] = json!("2025-01-07"));
    assert_eq!(refused(&account("max_span_days = 6"), "qianchuan.ad_report", &args), "args.end_date");
    prepared(&account("max_span_days = 7"), "qianchuan.ad_report", &args);

    let strict = account("strict_fields = true");
    let with = |metric: &str, goal: &str| {
        edited(report(), |args| {
            args["fields"] = json!(["stat_cost", metric]);
            args["filtering"]["marketing_goal"] = json!(goal);
        })
    };
    for (report, metric, goal, fine) in [
        ("qianchuan.advertiser_report", "pay_order_roi", "ALL", false),
        ("qianchuan.advertiser_report", "convert_cnt", "ALL", false),
        ("qianchuan.ad_report", "convert_cnt", "ALL", true),
        ("qianchuan.ad_report", "dy_like", "LIVE_PROM_GOODS", false),
        ("qianchuan.ad_report", "dy_like", "VIDEO_PROM_GOODS", true),
        ("qianchuan.ad_report", "luban_live_gift_cnt", "VIDEO_PROM_GOODS", false),
        ("qianchuan.ad_report", "luban_live_gift_cnt", "ALL", true),
        ("qianchuan.ad_report", "nonsense", "ALL", false),
    ] {
        prepared(&account(""), report, &with(metric, goal));
        match fine {
            true => _ = prepared(&strict, report, &with(metric, goal)),
            false => {
                assert_eq!(refused(&strict, report, &with(metric, goal)), "args.fields.1", "{report} {metric} {goal}")
            }
        }
    }
    let by = edited(report(), |args| args["order_field"] = json!("nonsense"));
    assert_eq!(refused(&strict, "qianchuan.ad_report", &by), "args.order_field");
}
