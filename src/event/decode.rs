//! Decodes the bytes of a record into an event: the strict reader first, then the members in the order of the table in
//! SPEC section 7.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use super::json::{self, Node, Object};
use super::types::{ConversionEvent, Kind, Published, Schema};
use crate::byte_order_mark;
use crate::error::{DeliveryError, Fault};

/// The largest record value that is decoded.
const MAX_VALUE_BYTES: usize = 262_144;
/// The longest text that goes into the headers of a dead letter.
const MAX_IDENTITY_BYTES: usize = 256;

/// Builds the event from a record's value.
///
/// # Errors
/// `Malformed` if there is no event object. `Invalid` with the deepest dotted path if a member of the envelope is
/// missing or wrong.
pub fn decode(value: Option<&[u8]>) -> Result<ConversionEvent, DeliveryError> {
    let mut members = object(value).map_err(|why| DeliveryError::Malformed(Fault::whole(why)))?;
    if text(&members, "schema").is_some_and(|schema| schema != Schema::TEXT) {
        return Err(DeliveryError::Malformed(Fault::new("schema", format!("only {} is known", Schema::TEXT))));
    }
    if text(&members, "kind") == Some("call") {
        allow_no_event_type(&mut members);
    }
    let mut event =
        ConversionEvent::deserialize(Node::Object(members)).map_err(|error| DeliveryError::Invalid(error.into()))?;
    if event.kind == Kind::Call && event.call.is_none() {
        return Err(DeliveryError::Invalid(Fault::new("call", "missing")));
    }
    event.published = Published(Bytes::copy_from_slice(byte_order_mark::skip(value.unwrap_or_default())));
    Ok(event)
}

/// Only a call may lack its event type. It then gets an empty one.
fn allow_no_event_type(members: &mut Object<'_>) {
    match members.iter_mut().find(|(name, _)| name == "event_type") {
        Some((_, node)) if matches!(node, Node::Null) => *node = Node::Text("".into()),
        Some(_) => {}
        None => members.push(("event_type".into(), Node::Text("".into()))),
    }
}

/// The members of an event for its dead letter, as far as they can be read. The texts are exactly as given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub trans_id: Option<String>,
    pub platform: Option<String>,
    pub account: Option<String>,
    /// `event_type`; of a call `call`.
    pub event: Option<String>,
    pub platform_event: Option<String>,
    /// It is a call, and these members say where its result goes.
    pub reply: Option<NamedReply>,
}

/// Where the result of a call goes, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedReply {
    /// `reply.topic`.
    pub topic: Option<String>,
    /// `reply.key`.
    pub key: Option<String>,
}

/// Reads the members that can be read of an event that may be `invalid`: texts of at most 256 bytes without control
/// characters. Of a `malformed` event it reads nothing.
pub fn identify(value: Option<&[u8]>) -> Identity {
    let Ok(members) = object(value) else { return Identity::default() };
    let short =
        |text: &str| (text.len() <= MAX_IDENTITY_BYTES && !text.chars().any(char::is_control)).then(|| text.to_owned());
    let read = |name| text(&members, name).and_then(short);
    let is_call = text(&members, "kind") == Some("call");
    let reply = match members.iter().find(|(member, _)| member == "reply") {
        Some((_, Node::Object(reply))) => {
            NamedReply { topic: text(reply, "topic").and_then(short), key: text(reply, "key").map(str::to_owned) }
        }
        _ => NamedReply::default(),
    };
    Identity {
        trans_id: read("trans_id"),
        platform: read("platform"),
        account: read("account"),
        event: read(if is_call { "call" } else { "event_type" }),
        platform_event: read("platform_event"),
        reply: is_call.then_some(reply),
    }
}

/// The member with this name, if it is a text.
fn text<'m>(members: &'m Object<'_>, name: &str) -> Option<&'m str> {
    match members.iter().find(|(member, _)| member == name) {
        Some((_, Node::Text(text))) => Some(text),
        _ => None,
    }
}

/// The outermost object, or the reason why there is none.
fn object(value: Option<&[u8]>) -> Result<Object<'_>, Cow<'static, str>> {
    let bytes = value.filter(|bytes| !bytes.is_empty()).ok_or("no value")?;
    if bytes.len() > MAX_VALUE_BYTES {
        return Err(format!("{} bytes, more than {MAX_VALUE_BYTES}", bytes.len()).into());
    }
    if byte_order_mark::is_utf_16(bytes) {
        return Err("UTF-16; it has to be UTF-8".into());
    }
    let bytes = byte_order_mark::skip(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| format!("no UTF-8 after byte {}", e.valid_up_to()))?;
    match json::read(text) {
        Ok(Node::Object(members)) => Ok(members),
        Ok(_) => Err("JSON, but no object".into()),
        // A syntax error names a position and does not quote the text.
        Err(error) => Err(format!("not readable as JSON: {error}").into()),
    }
}
