//! Forms as bytes. The same fields always give the same bytes, so that `preview` shows exactly what is sent.

use bytes::Bytes;

use crate::platforms::Item;
use crate::platforms::signing::md5_hex;

/// The character that ends each name and each value of an item. The rules allow no control characters in either.
const END: char = '\0';

/// The fields of a form while it is built, in order.
pub(super) struct Fields(String);

impl Fields {
    pub(super) fn new() -> Self {
        Self(String::with_capacity(160))
    }

    pub(super) fn push(&mut self, name: &str, value: &str) {
        for text in [name, value] {
            self.0.push_str(text);
            self.0.push(END);
        }
    }

    pub(super) fn into_item(self) -> Item {
        Item::new(self.0)
    }
}

/// The fields of a form, as [`Fields`] wrote them.
#[derive(Clone, Copy)]
pub(super) struct Form<'a>(&'a str);

impl<'a> Form<'a> {
    /// `None`: this sender did not write the item.
    pub(super) fn of(item: &'a Item) -> Option<Self> {
        item.text().map(Self)
    }

    /// Names and values.
    pub(super) fn fields(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut texts = self.0.split_terminator(END);
        std::iter::from_fn(move || texts.next().zip(texts.next()))
    }

    /// `Content-Type` and body of a multipart form.
    pub(super) fn multipart(self) -> (String, Bytes) {
        let boundary = self.boundary();
        let mut body = String::with_capacity(self.0.len() + self.fields().count() * 96 + 48);
        for (name, value) in self.fields() {
            let head = ["--", &boundary, "\r\nContent-Disposition: form-data; name=\"", name, "\"\r\n\r\n"];
            head.iter().for_each(|part| body.push_str(part));
            body.push_str(value);
            body.push_str("\r\n");
        }
        for part in ["--", &boundary, "--\r\n"] {
            body.push_str(part);
        }
        (format!("multipart/form-data; boundary={boundary}"), body.into())
    }

    /// `Content-Type` and body of an urlencoded form.
    pub(super) fn urlencoded(self) -> (String, Bytes) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(self.fields()).finish();
        ("application/x-www-form-urlencoded".into(), body.into())
    }

    /// The boundary is derived from the fields, not random, so that it is the same each time.
    fn boundary(self) -> String {
        self.absent_from(self.0.to_owned())
    }

    /// A sequence of boundaries starts from `seed`; this returns the first one that no value contains. It ends, because
    /// no form can contain all of them.
    fn absent_from(self, mut seed: String) -> String {
        loop {
            let candidate = format!("postback-{}", md5_hex(&seed));
            if !self.fields().any(|(_, value)| value.contains(&candidate)) {
                return candidate;
            }
            seed = candidate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(pairs: &[(&str, &str)]) -> Item {
        let mut fields = Fields::new();
        pairs.iter().for_each(|(name, value)| fields.push(name, value));
        fields.into_item()
    }

    fn multipart(pairs: &[(&str, &str)]) -> (String, Bytes) {
        Form::of(&item(pairs)).unwrap().multipart()
    }

    fn absent_from(pairs: &[(&str, &str)], seed: &str) -> String {
        Form::of(&item(pairs)).unwrap().absent_from(seed.to_owned())
    }

    #[test]
    fn fields_come_back_as_they_were_written() {
        let pairs = [("product", "游戏"), ("uid", ""), ("money", "0.05")];
        assert!(Form::of(&item(&pairs)).unwrap().fields().eq(pairs));
        assert_eq!(Form::of(&item(&[])).unwrap().fields().count(), 0);
    }

    #[test]
    fn a_multipart_form_is_framed_as_the_standard_says() {
        let (kind, body) = multipart(&[("product", "游戏"), ("uid", "u")]);
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
        let (a, b) = ([("uid", "a")], [("uid", "b")]);
        assert_eq!(multipart(&a), multipart(&a));
        assert_ne!(multipart(&a).0, multipart(&b).0);
    }

    #[test]
    fn a_boundary_is_in_none_of_the_values() {
        let first = absent_from(&[], "seed");
        let second = absent_from(&[], &first);
        let third = absent_from(&[("a", &first), ("b", &format!("x{second}y"))], "seed");
        assert!(third != first && third != second);
        assert_eq!(third, absent_from(&[], &second));
    }

    #[test]
    fn an_urlencoded_form_escapes_what_it_must() {
        let (kind, body) = Form::of(&item(&[("product-name", "a b&c=斗"), ("money", "0.05")])).unwrap().urlencoded();
        assert_eq!(kind, "application/x-www-form-urlencoded");
        assert_eq!(body, "product-name=a+b%26c%3D%E6%96%97&money=0.05");
    }
}
