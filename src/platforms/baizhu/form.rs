//! Forms as bytes. The same fields always give the same bytes, so that `preview` shows what would be sent.

use std::borrow::Cow;

use bytes::Bytes;

use crate::platforms::signing::md5_hex;

/// The fields of a form in order.
pub(super) type Form = [(Cow<'static, str>, String)];

/// `Content-Type` and body of a multipart form.
pub(super) fn multipart(form: &Form) -> (String, Bytes) {
    let boundary = boundary(form);
    let mut body = String::with_capacity(form.iter().map(|(n, v)| n.len() + v.len() + 96).sum::<usize>() + 48);
    for (name, value) in form {
        for part in ["--", &boundary, "\r\nContent-Disposition: form-data; name=\"", name, "\"\r\n\r\n", value, "\r\n"]
        {
            body.push_str(part);
        }
    }
    for part in ["--", &boundary, "--\r\n"] {
        body.push_str(part);
    }
    (format!("multipart/form-data; boundary={boundary}"), body.into())
}

/// `Content-Type` and body of an urlencoded form.
pub(super) fn urlencoded(form: &Form) -> (String, Bytes) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    ("application/x-www-form-urlencoded".into(), body.into())
}

/// Derived from the fields, not random.
fn boundary(form: &Form) -> String {
    absent_from(form, form.iter().flat_map(|(name, value)| [name.as_ref(), "\0", value, "\0"]).collect())
}

/// The first of a sequence that begins with `seed` and stands in no value; no form can hold all of it.
fn absent_from(form: &Form, mut seed: String) -> String {
    loop {
        let candidate = format!("postback-{}", md5_hex(&seed));
        if !form.iter().any(|(_, value)| value.contains(&candidate)) {
            return candidate;
        }
        seed = candidate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&'static str, &str)]) -> Vec<(Cow<'static, str>, String)> {
        pairs.iter().map(|(n, v)| (Cow::Borrowed(*n), (*v).to_owned())).collect()
    }

    #[test]
    fn a_multipart_form_is_framed_as_the_standard_says() {
        let (kind, body) = multipart(&fields(&[("product", "游戏"), ("uid", "u")]));
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"product\"\r\n\r\n游戏\r\n\
                 --{boundary}\r\nContent-Disposition: form-data; name=\"uid\"\r\n\r\nu\r\n--{boundary}--\r\n"
            )
        );
        assert!(boundary.len() <= 70);
    }

    #[test]
    fn the_boundary_depends_on_the_fields_alone() {
        let (a, b) = (fields(&[("uid", "a")]), fields(&[("uid", "b")]));
        assert_eq!(multipart(&a), multipart(&a));
        assert_ne!(multipart(&a).0, multipart(&b).0);
    }

    #[test]
    fn a_boundary_is_in_none_of_the_values() {
        let first = absent_from(&[], "seed".into());
        let second = absent_from(&[], first.clone());
        let form = fields(&[("a", &first), ("b", &format!("x{second}y"))]);
        let third = absent_from(&form, "seed".into());
        assert!(third != first && third != second);
        assert_eq!(third, absent_from(&[], second));
    }

    #[test]
    fn an_urlencoded_form_escapes_what_it_must() {
        let (kind, body) = urlencoded(&fields(&[("product-name", "a b&c=斗"), ("money", "0.05")]));
        assert_eq!(kind, "application/x-www-form-urlencoded");
        assert_eq!(body, "product-name=a+b%26c%3D%E6%96%97&money=0.05");
    }
}
