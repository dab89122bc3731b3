//! What every request has to carry: the common parameters, the time and the signature.

use serde_json::{Map, Value};

use super::account::Terms;
use super::answers::RefusalFormat;
use super::endpoint::Endpoint;
use super::signature;
use crate::sandbox::request::{Header, Request};

/// A timestamp may be off by so much.
const SKEW_MS: i64 = 5 * 60_000;

/// A request with what was read of it.
pub(super) struct ReadRequest<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) id: Option<&'a str>,
    pub(super) request: &'a Request,
    pub(super) body: Option<&'a Map<String, Value>>,
    pub(super) now_ms: i64,
}

/// Why a request is refused: what the platform says, and what the ledger says.
pub(super) type Refused = (RefusalFormat, String);

pub(super) fn no(envelope: RefusalFormat, problem: impl Into<String>) -> Refused {
    (envelope, problem.into())
}

/// The common parameters, the time and the signature.
pub(super) fn check(call: &ReadRequest<'_>, body: &Map<String, Value>, terms: &Terms) -> Result<(), Refused> {
    let own = |message: &str, problem: String| no(RefusalFormat::Own("__400ERROR", message.to_owned()), problem);
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let sign = &terms.settings.sign;
    let agreed = terms.common(call.endpoint);
    for name in ["method", "appKey", "accessToken", "timestamp", "version", "signMethod"] {
        match (agreed.contains(&name), body.get(name)) {
            (true, None) => return Err(own("缺少公共参数", format!("{name}: missing"))),
            (false, Some(_)) => return Err(own("多余的公共参数", format!("{name}: not agreed for this call"))),
            (true, Some(value)) if !value.is_string() => {
                return Err(own("公共参数类型错误", format!("{name}: not a text")));
            }
            _ => {}
        }
    }
    if agreed.contains(&"method") && text("method") != call.endpoint.method() {
        return Err(own("method错误", "method: not that of the path".into()));
    }
    if text("version") != Some("1") {
        return Err(own("version错误", "version: not 1".into()));
    }
    if agreed.contains(&"signMethod") && text("signMethod") != Some(&sign.algorithm) {
        return Err(own("signMethod错误", "signMethod: not the agreed algorithm".into()));
    }
    if call.endpoint == Endpoint::TemplateList && call.id != text("appKey") {
        return Err(own("appKey错误", "path: not the appKey of the body".into()));
    }
    let sent = text("timestamp").filter(|at| at.len() == 13).and_then(|at| at.parse::<i64>().ok());
    // The sandbox knows its time to the second.
    let off = sent.map(|sent| (sent - call.now_ms).abs());
    if off.is_none_or(|off| off > SKEW_MS + 1000) {
        return Err(own("timestamp与服务器时间相差超过5分钟", "timestamp: over 5 min off, or no milliseconds".into()));
    }
    let header = call.request.header("sign");
    if call.endpoint.is_trigger() && !sign.trigger {
        return if header == Header::Missing { Ok(()) } else { Err(own("sign错误", "sign: not agreed".into())) };
    }
    let Header::Once(given) = header else {
        return Err(own("缺少sign", "sign: missing, or sent more than once".into()));
    };
    let key = text("appKey").unwrap_or_default();
    let mut secrets = terms.credentials.iter().filter(|(k, _)| k == key).map(|(_, secret)| secret);
    if !secrets.any(|secret| signature::of(sign, secret, body).as_bytes() == given) {
        return Err(own("签名错误", "sign: not the signature of these parameters".into()));
    }
    Ok(())
}
