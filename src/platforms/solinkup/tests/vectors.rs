use std::ops::Range;

use super::*;
use crate::platforms::solinkup::sign::{Algorithm, Param, Profile, Recipe, VersionLabel, canonical_json};
use crate::platforms::tokens::Grant;

fn all() -> Value {
    serde_json::from_str(include_str!("../../../../tests/fixtures/vectors.json")).unwrap()
}

/// The published vectors of 数环通.
fn vectors() -> Vec<Value> {
    let all = all();
    all["signatures"].as_array().unwrap().iter().filter(|v| v["platform"] == "solinkup").cloned().collect()
}

fn vector(id: &str) -> Value {
    vectors().into_iter().find(|v| v["id"] == id).unwrap()
}

/// The recipe of a vector: those whose note or id speaks of the sample code are of the profile `demo`.
fn recipe(v: &Value) -> Recipe {
    let id = v["id"].as_str().unwrap();
    let is_text = id.contains("text");
    let label = if v["inputs"]["version_label"] == "v" { VersionLabel::V } else { VersionLabel::Version };
    let algorithm = match v["inputs"]["sign_algorithm"].as_str().unwrap() {
        "md5" => Algorithm::Md5,
        "hmac" => Algorithm::HmacSha256,
        "sha256" => Algorithm::Sha256,
        other => panic!("{other}"),
    };
    let extra = if id.contains("with-refreshToken") { vec!["refreshToken".to_owned()] } else { Vec::new() };
    Recipe { profile: if is_text { Profile::Text } else { Profile::Demo }, label, algorithm, extra }
}

/// The members of the body that the vector describes.
fn params(v: &Value) -> Vec<(String, String)> {
    let given = v["inputs"]["params"].as_object().unwrap();
    let mut params: Vec<_> = given.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect();
    params.push(("version".into(), v["inputs"]["version"].as_str().unwrap().into()));
    if let Some(method) = v["inputs"]["signMethod_in_string"].as_str() {
        params.push(("signMethod".into(), method.into()));
    }
    params
}

fn signed(v: &Value, recipe: &Recipe) -> (String, String, Vec<Range<usize>>) {
    let secret = v["inputs"]["app_secret"].as_str().unwrap();
    let all = params(v);
    let all: Vec<_> = all.iter().map(|(name, value)| Param { name, value, secret: name == "accessToken" }).collect();
    let text = recipe.text(secret, &all);
    (recipe.algorithm.digest(secret, &text.text), text.text, text.secrets)
}

#[test]
fn every_vector_is_signed_with_its_string_and_digest() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 16);
    for v in &vectors {
        let (digest, text, secrets) = signed(v, &recipe(v));
        assert_eq!(Some(text.as_str()), v["string_to_sign"].as_str(), "{}", v["id"]);
        assert_eq!(Some(digest.as_str()), v["expected"].as_str(), "{}", v["id"]);
        let token = v["inputs"]["params"]["accessToken"].as_str();
        let shown: Vec<_> = secrets.into_iter().map(|range| &text[range]).collect();
        let secret = v["inputs"]["app_secret"].as_str().unwrap();
        assert_eq!(shown, [Some(secret), token, Some(secret)].into_iter().flatten().collect::<Vec<_>>());
    }
}

#[test]
fn every_switch_of_the_recipe_changes_the_signature() {
    let v = vector("sol-07-demo-treemap-md5");
    let (default, ..) = signed(&v, &Recipe::default());
    assert_eq!(default, "b9e354dcc3ba39d838c8a0b62e6dd392", "what is recommended is the default");
    let others = [
        Recipe { profile: Profile::Text, ..Recipe::default() },
        Recipe { label: VersionLabel::V, ..Recipe::default() },
        Recipe { algorithm: Algorithm::HmacSha256, ..Recipe::default() },
        Recipe { algorithm: Algorithm::Sha256, ..Recipe::default() },
    ];
    for other in others {
        assert_ne!(signed(&v, &other).0, default, "{other:?}");
    }
    // Twins that say the same and sign differently.
    for (one, twin) in [
        ("sol-08-demo-treemap-hmac-name-falls-to-md5", "sol-09-demo-treemap-hmac"),
        ("sol-13-refresh-demo-md5", "sol-14-refresh-demo-md5-with-refreshToken"),
        ("sol-03-text-order-v-md5", "sol-05-text-order-version-md5"),
    ] {
        assert_ne!(vector(one)["expected"], vector(twin)["expected"], "{one}");
    }
}

#[test]
fn requests_come_out_with_the_signatures_of_their_vectors() {
    fn credential_of(v: &Value) -> Credential {
        let key = v["inputs"]["params"]["appKey"].as_str().unwrap().to_owned();
        Credential { key, secret: SecretString::new(v["inputs"]["app_secret"].as_str().unwrap()), ..credential() }
    }
    let now = |v: &Value| v["inputs"]["params"]["timestamp"].as_str().unwrap().parse().unwrap();
    let check = |id: &str, made: Request| {
        let v = vector(id);
        assert_eq!(made.signature_input.as_ref().map(SecretString::expose), v["string_to_sign"].as_str(), "{id}");
        assert_eq!(header(&made, "sign"), v["expected"].as_str(), "{id}");
    };
    let token_request = |id: &str, text: &str, grant: fn(&SecretString) -> Grant<'_>, secret: &str| {
        let v = vector(id);
        let (source, _) = account(text).tokens().unwrap();
        let (credential, secret) = (credential_of(&v), SecretString::new(secret));
        let context = Context { now_ms: now(&v), credential: Some(&credential), token: None };
        check(id, source.token_request(grant(&secret), &context).unwrap());
    };
    let code = "AuthCode@4c28f9e17178416f8cc918539fc1975b";
    token_request("sol-11-getAccessToken-demo-md5", "", |s| Grant::Code(s), code);
    let hmac = "sign = { profile = 'text', algorithm = 'hmac-sha256' }";
    token_request("sol-12-getAccessToken-text-hmac", hmac, |s| Grant::Code(s), code);
    let refresh = "RefreshToken@BEEC8358E6544FEDA7FB4197ADE3D920";
    token_request("sol-13-refresh-demo-md5", "", |s| Grant::Refresh(s), refresh);
    let extra = "sign = { extra_params = ['refreshToken'] }";
    token_request("sol-14-refresh-demo-md5-with-refreshToken", extra, |s| Grant::Refresh(s), refresh);

    let call_request = |id: &str, name: &str, args: Value| {
        let v = vector(id);
        let account = account("allow_destructive = true");
        let call = prepared(&account, name, &args);
        let (credential, token) = (credential_of(&v), SecretString::new(TOKEN));
        let context = Context { now_ms: now(&v), credential: Some(&credential), token: Some(&token) };
        check(id, account.request(&call, 0, &context).unwrap());
    };
    let template = json!({"parentTemplateId": "ParentTemplateId_C76E9CC62467428B827A0360588DDB7C"});
    call_request("sol-15-deleteFlow-demo-md5", "template.delete_flows", template);
    call_request("sol-16-trigger-call-demo-md5", "doudian.auth_info", json!({}));
}

#[test]
fn json_is_canonical_as_the_vectors_say() {
    let vectors = all();
    let vectors = vectors["json_canonicalisation"].as_array().unwrap().clone();
    let own: Vec<_> = vectors.iter().filter(|v| v["id"].as_str().unwrap().starts_with("sol-json")).collect();
    assert_eq!(own.len(), 4);
    for v in own {
        assert_eq!(Some(canonical_json(&v["input"]).as_str()), v["canonical"].as_str(), "{}", v["id"]);
    }
    assert_eq!(canonical_json(&json!([-0.5, 1e20, 3, "\"\n"])), "[-0.5,1e+20,3,\"\\\"\\n\"]");
}

#[test]
fn empty_members_are_not_signed_and_lists_are_signed_as_canonical_json() {
    let account = account("sign = { extra_params = ['cipher_infos', 'size'] }");
    let input = |name: &str, args: Value| {
        let call = prepared(&account, name, &args);
        request(&account, &call, 0).signature_input.unwrap().expose().to_owned()
    };
    let signed = input("doudian.decrypt", json!({"cipher_infos": [{"cipher_text": "$c", "auth_id": "1"}]}));
    assert!(signed.contains("cipher_infos[{\"auth_id\":\"1\",\"cipher_text\":\"$c\"}]method"), "{signed}");
    assert!(input("doudian.order_list", orders()).contains("signMethodmd5size100timestamp"));
    let credential = credential();
    let call = prepared(&account, "doudian.auth_info", &json!({}));
    let context = Context { now_ms: NOW, credential: Some(&credential), token: Some(&SecretString::default()) };
    let made = account.request(&call, 0, &context).unwrap();
    assert_eq!(body(&made)["accessToken"], "");
    assert!(!made.signature_input.unwrap().expose().contains("accessToken"));
}
