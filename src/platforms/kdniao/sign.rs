//! `DataSign`, in the two forms that are described for it (A15), and the form that carries it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded::Serializer;

use crate::platforms::kdniao::config::DataSign;
use crate::platforms::signing::md5_hex;

/// `DataType`: JSON.
const JSON: &str = "2";

/// The text that is hashed: the request data as it is before its form encoding, and the API key.
pub(super) fn input(request_data: &str, api_key: &str) -> String {
    [request_data, api_key].concat()
}

/// The signature of an input.
pub(super) fn data_sign(form: DataSign, input: &str) -> String {
    let hex = md5_hex(input);
    match form {
        DataSign::Base64Md5 => STANDARD.encode(hex),
        DataSign::Md5Upper => hex.to_ascii_uppercase(),
    }
}

/// The body: each value is encoded once, here.
pub(super) fn body(request_data: &str, business_id: &str, request_type: &str, sign: &str) -> String {
    Serializer::new(String::with_capacity(request_data.len() * 3 + 160))
        .extend_pairs([
            ("RequestData", request_data),
            ("EBusinessID", business_id),
            ("RequestType", request_type),
            ("DataSign", sign),
            ("DataType", JSON),
        ])
        .finish()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn signatures_and_bodies_are_those_of_the_vectors() {
        let all: Value = serde_json::from_str(include_str!("../../../tests/fixtures/vectors.json")).unwrap();
        let vectors = all["signatures"].as_array().unwrap().iter().filter(|v| v["platform"] == "kdniao");
        let mut seen = Vec::new();
        for v in vectors {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let of = |name: &str| text(&v["inputs"][name]);
            let id = text(&v["id"]);
            let input = input(&of("request_data"), &of("api_key"));
            assert_eq!(input, text(&v["string_to_sign"]), "{id}");
            let base64 = text(&v["algorithm"]).starts_with("base64");
            let (own, other) = if base64 {
                (DataSign::Base64Md5, DataSign::Md5Upper)
            } else {
                (DataSign::Md5Upper, DataSign::Base64Md5)
            };
            let sign = data_sign(own, &input);
            assert_eq!(sign, text(&v["expected"]), "{id}");
            let body = body(&of("request_data"), &of("ebusiness_id"), &of("request_type"), &sign);
            assert_eq!(body, text(&v["form_body"]), "{id}");
            assert!(body.contains(&format!("DataSign={}&", text(&v["expected_urlencoded"]))), "{id}");
            // A gateway accepts one of the two forms at most.
            assert_ne!(data_sign(other, &input), sign, "{id}");
            seen.push(id);
        }
        assert_eq!(seen.len(), 4, "{seen:?}");
    }

    #[test]
    fn a_sign_of_encoded_data_is_another_one() {
        let key = "00000000-1111-2222-3333-444444444444";
        let encoded: String = url::form_urlencoded::byte_serialize(b"{\"LogisticCode\":\"7\"}").collect();
        let plain = data_sign(DataSign::Base64Md5, &input("{\"LogisticCode\":\"7\"}", key));
        assert_ne!(data_sign(DataSign::Base64Md5, &input(&encoded, key)), plain);
    }
}
