//! Decides by the name of a member, header or field whether its value is personal or secret (pure). In doubt it decides
//! for the stricter kind.

use crate::redact::{SECRET, mask_phone, mask_text, mask_token};

/// The kind of a value, as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The name says nothing special.
    Plain,
    /// A phone number.
    Phone,
    /// An e-mail address.
    Mail,
    /// Any other identifier of a person or a device.
    Personal,
    /// A credential, which is hidden completely.
    Secret,
}

/// A name that contains one of these names a secret. Names are compared in lower case and without separators.
const SECRETS: [&str; 11] = [
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "token",
    "apikey",
    "privatekey",
    "credential",
    "authorization",
    "cookie",
];
/// A name that contains one of these is personal, e.g. `buyer_phone`, `imei_md5` and `outeruserid`.
const PERSONAL_PARTS: [&str; 11] =
    ["imei", "idfa", "idfv", "oaid", "androidid", "openid", "unionid", "idcard", "useragent", "userid", "deviceid"];
/// Names that are personal as a whole. As parts of other names they are too short to tell.
const PERSONAL: [&str; 16] = [
    "ip",
    "ipv4",
    "ipv6",
    "ipaddr",
    "clientip",
    "userip",
    "remoteip",
    "xforwardedfor",
    "xrealip",
    "uid",
    "ua",
    "caid",
    "gaid",
    "imsi",
    "mac",
    "user",
];

impl Kind {
    /// The kind of the value behind a name.
    pub fn of(name: &str) -> Kind {
        let plain = |name: &str| name.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
        let whole = plain(name);
        // Of a path such as `user.ip` the last part counts.
        let last = plain(name.rsplit('.').next().unwrap_or(name));
        let holds = |parts: &[&str]| parts.iter().any(|part| whole.contains(part));
        if holds(&SECRETS) {
            Kind::Secret
        } else if last == "tel" || holds(&["phone", "mobile"]) {
            Kind::Phone
        } else if last == "mail" || holds(&["email"]) {
            Kind::Mail
        } else if holds(&PERSONAL_PARTS) || PERSONAL.contains(&&*last) || last.ends_with("address") {
            Kind::Personal
        } else {
            Kind::Plain
        }
    }

    /// Returns the part of a value of this kind that people may see. A plain value that stands among personal ones is
    /// hidden like a personal one.
    pub fn hide(self, value: &str) -> String {
        match self {
            Kind::Secret => SECRET.to_owned(),
            Kind::Phone => mask_phone(value),
            // The ends of an escaped value may be half an escape, and those of a damaged one may belong to another
            // value.
            _ if value.contains(['\\', '%', '"']) => SECRET.to_owned(),
            Kind::Mail => {
                let masked = mask_text(value);
                if masked == value { mask_token(value) } else { masked.into_owned() }
            }
            Kind::Plain | Kind::Personal => mask_token(value),
        }
    }
}

/// Whether a member under `user` does not identify a person: a moment, or the name of a system.
pub(super) fn is_harmless(name: &str, value: &str) -> bool {
    name == "os" || (name.ends_with("_ms") && !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_secrets_and_personal_data_however_it_is_written() {
        for name in [
            "app_secret",
            "Password",
            "db-passwd",
            "pwd",
            "accessToken",
            "api_key",
            "apikey",
            "X-Api-Key",
            "private_key",
            "credentials",
            "Authorization",
            "Set-Cookie",
        ] {
            assert_eq!(Kind::of(name), Kind::Secret, "{name}");
        }
        for name in ["user_id", "UID", "outeruserid", "User-Agent", "ip_v6", "androidId", "imei_md5", "home_address"] {
            assert_eq!(Kind::of(name), Kind::Personal, "{name}");
        }
        assert_eq!((Kind::of("user.phone"), Kind::of("user.email")), (Kind::Phone, Kind::Mail));
        for name in ["trans_id", "order_id", "qhclickid", "platform", "request_time", "ship", "product_name", "score"] {
            assert_eq!(Kind::of(name), Kind::Plain, "{name}");
        }
    }

    #[test]
    fn an_address_that_is_no_address_is_hidden_as_well() {
        assert_eq!(Kind::Mail.hide("li@example.com"), "l***@example.com");
        assert_eq!(Kind::Mail.hide("li@localhost"), SECRET);
        assert_eq!(Kind::Personal.hide("0123456789abcdef%E5"), SECRET);
    }
}
