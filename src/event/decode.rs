//! From the bytes of a record to an event: the strict reading, then the rules of the envelope in the order of SPEC
//! section 7's table.

use std::borrow::Cow;

use super::json::{self, Node, Object};
use super::placeholder::is_placeholder;
use super::{Click, Consent, ConversionEvent, Device, Hashed, Item, Kind, Members, Money, Order, Schema, User, Wechat};
use crate::byte_order_mark;
use crate::error::{DeliveryError, Fault};

mod fields;
pub(super) use fields::{FIRST_MS, LAST_MS};
use fields::{Fields, fault, required};

/// The largest record value that is read.
pub const MAX_VALUE_BYTES: usize = 262_144;
/// The longest text of the click.
pub(super) const MAX_CLICK_BYTES: usize = 4096;
const MAX_TRANS_ID: usize = 128;
const MAX_PARAMS: usize = 32;
const MAX_PARAMS_BYTES: usize = 8 * 1024;
/// The longest text that goes into a dead letter's headers.
const MAX_IDENTITY_BYTES: usize = 256;

/// Builds the event from a record's value.
///
/// # Errors
/// `Malformed` where there is no event object; `Invalid` with the deepest dotted path where a member of the envelope
/// is missing or wrong.
pub fn decode(value: Option<&[u8]>) -> Result<ConversionEvent, DeliveryError> {
    let mut top = Fields::root(object(value).map_err(|why| DeliveryError::Malformed(Fault::whole(why)))?);
    let schema = top.text("schema").map_err(DeliveryError::Invalid)?;
    if schema.is_some_and(|text| text != Schema::TEXT) {
        return Err(DeliveryError::Malformed(Fault::new("schema", format!("only {} is known", Schema::TEXT))));
    }
    event(&mut top).map_err(DeliveryError::Invalid)
}

/// What a dead letter says of an event, as far as it can be read; texts exactly as given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `trans_id`.
    pub trans_id: Option<String>,
    /// `platform`.
    pub platform: Option<String>,
    /// `account`.
    pub account: Option<String>,
    /// `event_type`.
    pub event: Option<String>,
    /// `platform_event`.
    pub platform_event: Option<String>,
}

/// Reads what can be read of an event that may be `invalid`: texts of at most 256 bytes without control characters.
/// Of a `malformed` one nothing is.
pub fn identify(value: Option<&[u8]>) -> Identity {
    let Ok(members) = object(value) else { return Identity::default() };
    let mut top = Fields::root(members);
    let mut read = |name| {
        let text = top.text(name).ok().flatten()?;
        (text.len() <= MAX_IDENTITY_BYTES && !text.chars().any(char::is_control)).then(|| text.into_owned())
    };
    Identity {
        trans_id: read("trans_id"),
        platform: read("platform"),
        account: read("account"),
        event: read("event_type"),
        platform_event: read("platform_event"),
    }
}

/// The outermost object, or why there is none.
fn object(value: Option<&[u8]>) -> Result<Object<'_>, Cow<'static, str>> {
    let bytes = value.filter(|bytes| !bytes.is_empty()).ok_or("no value")?;
    if bytes.len() > MAX_VALUE_BYTES {
        return Err(format!("{} bytes, more than {MAX_VALUE_BYTES}", bytes.len()).into());
    }
    let bytes = byte_order_mark::skip(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| format!("no UTF-8 after byte {}", e.valid_up_to()))?;
    match json::read(text) {
        Ok(Node::Object(members)) => Ok(members),
        Ok(_) => Err("JSON, but no object".into()),
        // Syntax errors name a position and never quote the text.
        Err(error) => Err(format!("not readable as JSON: {error}").into()),
    }
}

fn event(top: &mut Fields<'_, '_>) -> Result<ConversionEvent, Fault> {
    let kind = match top.text("kind")?.as_deref() {
        None | Some("conversion") => Kind::Conversion,
        Some("call") => Kind::Call,
        Some(_) => return Err(Fault::new("kind", "neither conversion nor call")),
    };
    let trans_id = required(top.string("trans_id")?, top, "trans_id")?;
    if !(1..=MAX_TRANS_ID).contains(&trans_id.len()) || !trans_id.bytes().all(|b| matches!(b, 0x21..=0x7e)) {
        return Err(Fault::new("trans_id", "not 1 to 128 visible ASCII characters"));
    }
    if is_placeholder(&trans_id) {
        // Taken as it is, each event of this producer would count as a repeat of the first.
        let detail =
            "a placeholder that was never filled in: the producer has to put a value of its own into each event";
        return Err(Fault::new("trans_id", detail));
    }
    let platform = required(top.string("platform")?, top, "platform")?;
    let account = required(top.string("account")?, top, "account")?;
    let event_type = match (top.string("event_type")?, kind) {
        (None, Kind::Call) => String::new(),
        (given, _) => required(given, top, "event_type")?,
    };
    let platform_event = top.string("platform_event")?;
    let event_time_ms = required(top.moment("event_time_ms")?, top, "event_time_ms")?;
    Ok(ConversionEvent {
        schema: Schema::V1,
        kind,
        trans_id,
        platform,
        account,
        event_type,
        platform_event,
        event_time_ms,
        produced_at_ms: top.moment("produced_at_ms")?,
        deadline_ms: top.moment("deadline_ms")?,
        click: top.object("click", click)?.unwrap_or_default(),
        order: top.object("order", order)?.unwrap_or_default(),
        user: top.object("user", user)?.unwrap_or_default(),
        consent: top.object("consent", consent)?.unwrap_or_default(),
        params: top.object("params", params)?.unwrap_or_default(),
        platform_params: top.object("platform_params", |of| Ok(members(of)))?.unwrap_or_default(),
    })
}

fn click(of: &mut Fields<'_, '_>) -> Result<Click, Fault> {
    let click_time_ms = of.moment("click_time_ms")?;
    let mut ids = Vec::with_capacity(of.len());
    for (name, node) in of.drain() {
        let text = match node {
            Node::Null => continue,
            Node::Text(text) => text,
            _ => return Err(fault(of, &name, "not a text")),
        };
        if text.len() > MAX_CLICK_BYTES {
            return Err(fault(of, &name, "longer than 4096 bytes"));
        }
        ids.push((name.into_owned(), text.into_owned()));
    }
    Ok(Click { ids, click_time_ms })
}

fn order(of: &mut Fields<'_, '_>) -> Result<Order, Fault> {
    Ok(Order {
        order_id: of.string("order_id")?,
        amount: of.object("amount", money)?,
        refund: of.object("refund", money)?,
        items: of.list("items", item)?,
    })
}

fn money(of: &mut Fields<'_, '_>) -> Result<Money, Fault> {
    let minor = required(of.int("minor")?, of, "minor")?;
    let currency = required(of.string("currency")?, of, "currency")?;
    if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(fault(of, "currency", "not three capital letters"));
    }
    Ok(Money { minor, currency })
}

fn item(of: &mut Fields<'_, '_>) -> Result<Item, Fault> {
    Ok(Item {
        id: of.string("id")?,
        name: of.string("name")?,
        quantity: of.int("quantity")?,
        unit: of.object("unit", money)?,
    })
}

fn user(of: &mut Fields<'_, '_>) -> Result<User, Fault> {
    Ok(User {
        user_id: of.string("user_id")?,
        phone: of.string("phone")?,
        email: of.string("email")?,
        ip: of.string("ip")?,
        ip_v6: of.string("ip_v6")?,
        user_agent: of.string("user_agent")?,
        registered_at_ms: of.moment("registered_at_ms")?,
        device: of.object("device", device)?.unwrap_or_default(),
        wechat: of.object("wechat", wechat)?.unwrap_or_default(),
        hashed: of.object("hashed", hashed)?.unwrap_or_default(),
    })
}

fn device(of: &mut Fields<'_, '_>) -> Result<Device, Fault> {
    let mut device = Device {
        os: of.string("os")?,
        imei: of.string("imei")?,
        idfa: of.string("idfa")?,
        oaid: of.string("oaid")?,
        android_id: of.string("android_id")?,
        caid: of.string("caid")?,
        others: Vec::new(),
    };
    for (name, node) in of.drain() {
        match node {
            Node::Null => {}
            Node::Text(text) if text.is_empty() => {}
            _ => device.others.push(fields::safe_name(&name).to_owned()),
        }
    }
    Ok(device)
}

fn wechat(of: &mut Fields<'_, '_>) -> Result<Wechat, Fault> {
    Ok(Wechat { app_id: of.string("app_id")?, openid: of.string("openid")?, unionid: of.string("unionid")? })
}

fn hashed(of: &mut Fields<'_, '_>) -> Result<Hashed, Fault> {
    Ok(Hashed {
        phone_md5: of.string("phone_md5")?,
        phone_sha256: of.string("phone_sha256")?,
        email_sha256: of.string("email_sha256")?,
    })
}

fn consent(of: &mut Fields<'_, '_>) -> Result<Consent, Fault> {
    Ok(Consent {
        ad_user_data: of.string("ad_user_data")?,
        ad_personalization: of.string("ad_personalization")?,
        opt_out: of.flag("opt_out")?,
    })
}

fn params(of: &mut Fields<'_, '_>) -> Result<Members, Fault> {
    if of.len() > MAX_PARAMS {
        return Err(Fault::new("params", format!("{} members, more than {MAX_PARAMS}", of.len())));
    }
    let members = members(of);
    // Measured as compact JSON, so that white space in the record decides nothing.
    let mut size = fields::Size(2 + members.0.len().saturating_sub(1));
    let counted = members.0.iter().try_for_each(|(name, value)| {
        serde_json::to_writer(&mut size, name)?;
        size.0 += 1;
        serde_json::to_writer(&mut size, value)
    });
    if counted.is_err() || size.0 > MAX_PARAMS_BYTES {
        return Err(Fault::new("params", format!("{} bytes, more than {MAX_PARAMS_BYTES}", size.0)));
    }
    Ok(members)
}

fn members(of: &mut Fields<'_, '_>) -> Members {
    Members(of.drain().into_iter().map(|(name, node)| (name.into_owned(), node.into_value())).collect())
}
