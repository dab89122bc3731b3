//! The parts of an event that are about a person, as `types` describes the others.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{FIRST_MS, LAST_MS, names, optional_moment, or_empty};

/// The person behind a conversion. Raw identifiers (phone, e-mail, device ids) are refused where the configuration
/// says so; hashed ones are preferred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct User {
    /// The producer's own mark of the user, for some platforms their uid.
    pub user_id: Option<String>,
    /// Raw phone number.
    pub phone: Option<String>,
    /// Raw e-mail address.
    pub email: Option<String>,
    /// IPv4 address.
    pub ip: Option<String>,
    /// IPv6 address.
    pub ip_v6: Option<String>,
    /// Browser or app identification.
    pub user_agent: Option<String>,
    /// When the user registered, UTC epoch milliseconds.
    #[serde(deserialize_with = "optional_moment")]
    #[schemars(range(min = FIRST_MS, max = LAST_MS))]
    pub registered_at_ms: Option<i64>,
    /// The device.
    #[serde(deserialize_with = "or_empty")]
    #[schemars(with = "Option<Device>")]
    pub device: Device,
    /// WeChat identities.
    #[serde(deserialize_with = "or_empty")]
    #[schemars(with = "Option<Wechat>")]
    pub wechat: Wechat,
    /// Hashed identifiers.
    #[serde(deserialize_with = "or_empty")]
    #[schemars(with = "Option<Hashed>")]
    pub hashed: Hashed,
}

/// A device and its raw identifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Device {
    /// Operating system; no identifier.
    pub os: Option<String>,
    /// IMEI.
    pub imei: Option<String>,
    /// IDFA.
    pub idfa: Option<String>,
    /// OAID.
    pub oaid: Option<String>,
    /// Android id.
    pub android_id: Option<String>,
    /// CAID.
    pub caid: Option<String>,
    /// Names of further members that are there; each counts as a raw identifier.
    #[serde(rename = "*", deserialize_with = "names")]
    #[schemars(skip)]
    pub others: Vec<String>,
}

/// WeChat identities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Wechat {
    /// App id.
    pub app_id: Option<String>,
    /// Open id.
    pub openid: Option<String>,
    /// Union id.
    pub unionid: Option<String>,
}

/// Hashed identifiers, lower-case hex. A text of another length or with other characters is refused where a request
/// would carry it, and where raw identifiers are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Hashed {
    /// MD5 of the phone number, 32 digits.
    pub phone_md5: Option<String>,
    /// SHA-256 of the phone number, 64 digits.
    pub phone_sha256: Option<String>,
    /// SHA-256 of the e-mail address, 64 digits.
    pub email_sha256: Option<String>,
}

/// How many hexadecimal digits a hash has, by the end of its name. `None`: the name does not say how it is made.
pub fn hash_digits(name: &str) -> Option<usize> {
    let ends = [("_md5", 32), ("_sha1", 40), ("_sha256", 64)];
    ends.into_iter().find(|(end, _)| name.ends_with(end)).map(|(_, digits)| digits)
}

/// Whether a text is a hash of so many hexadecimal digits.
pub fn is_hash(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What the person agreed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Consent {
    /// `granted` or `denied`.
    pub ad_user_data: Option<String>,
    /// `granted` or `denied`.
    pub ad_personalization: Option<String>,
    /// `true`: nothing is sent, the event ends as `suppressed`.
    pub opt_out: Option<bool>,
}
