//! What the platform answers: made up, and shaped like its samples, numbers as texts where those have them.

use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::account::Settings;
use super::tokens::Pair;

const ORDERS: u64 = 230;
const ROWS: u64 = 25;

/// A refusal, in the words of whoever refuses.
#[derive(Debug)]
pub(super) enum RefusalFormat {
    /// The platform's own: code and message.
    Own(&'static str, String),
    /// 抖店: code, sub code and message.
    Doudian(i64, &'static str, String),
    /// 巨量千川: code and message.
    Qianchuan(i64, String),
}

/// The body of a refusal.
pub(super) fn envelope(refused: &RefusalFormat) -> String {
    match refused {
        RefusalFormat::Own(code, message) => own(false, code, "result.fail", message, Value::Null).to_string(),
        RefusalFormat::Doudian(code, sub_code, message) => behind(*code, sub_code, message),
        RefusalFormat::Qianchuan(code, message) => {
            json!({ "code": code, "message": message, "request_id": "20210512155053", "data": {} }).to_string()
        }
    }
}

/// A refusal of the platforms behind this one.
pub(super) fn behind(code: i64, sub_code: &str, message: &str) -> String {
    json!({
        "data": null, "err_no": code, "message": message, "code": code, "msg": message, "sub_code": sub_code,
        "sub_msg": message
    })
    .to_string()
}

fn own(success: bool, code: &str, msg_code: &str, message: &str, data: Value) -> Value {
    json!({
        "requestId": "d20e2ef1-a9dc-4607-92fa-8f0b0c5a5270", "success": success, "code": code, "msgCode": msg_code,
        "message": message, "data": data, "pager": null
    })
}

fn ok(data: Value) -> Value {
    own(true, "__200OK", "result.success", "执行成功", data)
}

pub(super) fn tokens(open_id: &str, pair: &Pair) -> Value {
    ok(json!({
        "openId": open_id, "accessToken": pair.access, "refreshToken": pair.refresh,
        "accessTokenExpired": pair.access_ends_ms, "refreshTokenExpired": pair.refresh_ends_ms
    }))
}

pub(super) fn templates() -> Value {
    ok(json!([{
        "templateId": "76f28c004b4811ec9fa40242ac120009", "name": "抖店功能包", "description": "orders", "unAuthorized": [],
        "templates": null
    }]))
}

pub(super) fn deleted() -> Value {
    own(true, "200", "result.success", "操作成功", Value::Null)
}

pub(super) fn auth_info() -> Value {
    ok(json!([{
        "expire_time": "2030-12-30 00:00:00", "rights_type": 1, "spec_type": 0, "spec_val": "至尊版", "shop_id": 124124124
    }]))
}

fn doudian(data: Value) -> Value {
    json!({
        "data": data, "err_no": 0, "message": "success", "code": 10000, "msg": "success", "sub_code": "", "sub_msg": ""
    })
}

fn number(asked: &Value, name: &str, default: u64) -> u64 {
    asked[name].as_u64().unwrap_or(default)
}

pub(super) fn orders(asked: &Value, settings: &Settings) -> Value {
    let (page, size) = (number(asked, "page", 0), number(asked, "size", 10));
    let total = settings.sandbox_orders.unwrap_or(ORDERS);
    let start = number(asked, "createTimeStart", 0);
    let first = page.saturating_mul(size);
    let orders: Vec<Value> = (first..total.min(first.saturating_add(size))).map(|n| one(n, start)).collect();
    doudian(json!({
        "page": page.to_string(), "size": size.to_string(), "total": total.to_string(), "shop_order_list": orders
    }))
}

fn one(n: u64, created: u64) -> Value {
    let id = 4_781_320_682_406_000_000 + n;
    json!({
        "order_id": id.to_string(), "create_time": (created + n).to_string(), "order_status": "3", "pay_amount": "500",
        "order_amount": "600", "shop_id": "77977", "buyer_words": "请打 13812345678",
        "encrypt_post_receiver": "张三", "encrypt_post_tel": "13812345678", "doudian_open_id": "#zuLyd4U4J3p",
        "post_addr": { "city": { "id": "110000", "name": "市辖区" }, "encrypt_detail": "丹棱街1号" },
        "sku_order_list": [{ "sku_id": "3254535", "item_num": "2", "encrypt_post_tel": "13812345678" }]
    })
}

pub(super) fn order(asked: &Value) -> Value {
    let mut order = one(0, 1_617_355_413);
    order["order_id"] = asked["orderId"].clone();
    doudian(json!({ "shop_id": 77977, "shop_order_detail": order }))
}

/// In another order than asked, as nobody promises one.
pub(super) fn decrypted(asked: &Value) -> Value {
    let items = asked["cipher_infos"].as_array().into_iter().flatten();
    let mut infos: Vec<Value> = items
        .map(|item| {
            let is_closed = item["auth_id"].as_str().is_some_and(|id| id.starts_with("closed"));
            let (err_no, err_msg, text) = if is_closed {
                (200_001, "订单已关闭,不允许解密", String::new())
            } else {
                (0, "", phone(item))
            };
            json!({
                "auth_id": item["auth_id"], "cipher_text": item["cipher_text"], "decrypt_text": text, "err_no": err_no,
                "err_msg": err_msg, "is_virtual_tel": false
            })
        })
        .collect();
    infos.reverse();
    json!({ "data": { "decrypt_infos": infos } })
}

/// A phone number made of the cipher.
fn phone(item: &Value) -> String {
    let digest = Md5::digest(item["cipher_text"].as_str().unwrap_or_default());
    let digits: String = digest.iter().take(8).map(|byte| char::from(b'0' + byte % 10)).collect();
    format!("138{digits}")
}

pub(super) fn report(asked: &Value, of_ads: bool, settings: &Settings) -> Value {
    let (page, size) = (number(asked, "page", 1), number(asked, "page_size", 10));
    let total = settings.sandbox_orders.unwrap_or(ROWS);
    let first = page.saturating_sub(1).saturating_mul(size);
    let row = |n: u64| {
        let mut row = json!({ "advertiser_id": asked["advertiser_id"] });
        if of_ads {
            row["ad_id"] = (1_000 + n).into();
        }
        for field in asked["fields"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            row[field] = 16.66.into();
        }
        row
    };
    let rows: Vec<Value> = (first..total.min(first.saturating_add(size))).map(row).collect();
    json!({
        "code": 0, "message": "OK", "request_id": "202105121550530102121931590100C8D5",
        "data": {
            "list": rows,
            "page_info": { "page": page, "page_size": size, "total_number": total, "total_page": total.div_ceil(size) }
        }
    })
}
