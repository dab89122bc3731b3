//! Reads the two encodings of an HTML form, strictly: where a lenient parser would guess, this one reports a problem.

use serde::Deserialize;

use crate::sandbox::urlencoded;

/// Encoding of a form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encoding {
    /// `multipart/form-data`.
    #[default]
    Multipart,
    /// `application/x-www-form-urlencoded`.
    Urlencoded,
}

/// The name and value of every field, in the order sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) encoding: Encoding,
    pub(super) fields: Vec<(String, String)>,
}

impl Form {
    /// The first value of a field.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Reads a form by its content type.
pub(super) fn parse(content_type: &str, body: &[u8]) -> Result<Form, String> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        let boundary = boundary(parameters).ok_or("Content-Type: no usable boundary")?;
        Ok(Form { encoding: Encoding::Multipart, fields: multipart(boundary, body)? })
    } else if kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(Form { encoding: Encoding::Urlencoded, fields: urlencoded::fields(body)? })
    } else {
        Err("Content-Type: neither multipart/form-data nor application/x-www-form-urlencoded".to_owned())
    }
}

fn boundary(parameters: &str) -> Option<&str> {
    let mut found = parameters.split(';').filter_map(|p| {
        let (name, value) = p.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim())
    });
    let value = found.next()?;
    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    // RFC 2046: a boundary has 1 to 70 characters of this set.
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    (found.next().is_none() && (1..=70).contains(&value.len()) && value.bytes().all(fine)).then_some(value)
}

fn multipart(boundary: &str, body: &[u8]) -> Result<Vec<(String, String)>, String> {
    let first = format!("--{boundary}\r\n");
    let between = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(first.as_bytes()).ok_or("multipart: does not begin with its boundary")?;
    let mut fields = Vec::new();
    loop {
        let end = find(rest, between.as_bytes()).ok_or("multipart: a part without an end")?;
        let (part, after) = rest.split_at(end);
        fields.push(field(part)?);
        let after = after.get(between.len()..).unwrap_or_default();
        match after {
            b"--" | b"--\r\n" => return Ok(fields),
            _ => rest = after.strip_prefix(b"\r\n").ok_or("multipart: something follows a boundary")?,
        }
    }
}

fn field(part: &[u8]) -> Result<(String, String), String> {
    let end = find(part, b"\r\n\r\n").ok_or("multipart: a part without headers")?;
    let head = std::str::from_utf8(part.get(..end).unwrap_or_default()).map_err(|_| "multipart: headers not UTF-8")?;
    let value = part.get(end + 4..).unwrap_or_default();
    let mut name = None;
    for line in head.split("\r\n") {
        let (header, content) = line.split_once(':').ok_or("multipart: a header without a colon")?;
        match header.to_ascii_lowercase().as_str() {
            "content-disposition" if name.is_none() => {
                let quoted = content.trim().strip_prefix("form-data; name=\"").and_then(|v| v.strip_suffix('"'));
                // A quote inside the name means that a file name or another parameter follows.
                let plain = quoted.filter(|n| !n.is_empty() && !n.contains('"'));
                name = Some(plain.ok_or("multipart: Content-Disposition is not `form-data; name=\"...\"`")?.to_owned());
            }
            "content-type" if content.trim().to_ascii_lowercase().starts_with("text/plain") => {}
            other => return Err(format!("multipart: header `{other}` has no place in a part")),
        }
    }
    let name = name.ok_or("multipart: a part without a name")?;
    let value = std::str::from_utf8(value).map_err(|_| format!("{name}: not UTF-8"))?;
    Ok((name, value.to_owned()))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=XX";

    fn fields(form: &Form) -> Vec<(&str, &str)> {
        form.fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
    }

    #[test]
    fn a_multipart_form_is_read_in_order() {
        let body = "--XX\r\nContent-Disposition: form-data; name=\"product\"\r\n\r\nacc\r\n--XX\r\n\
                    Content-Disposition: form-data; name=\"product-name\"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
                    角色\r\n\r\n--X\r\n--XX--\r\n";
        let form = parse(TYPE, body.as_bytes()).unwrap();
        assert_eq!(fields(&form), [("product", "acc"), ("product-name", "角色\r\n\r\n--X")]);
        assert_eq!(form.encoding, Encoding::Multipart);
        assert_eq!(parse("Multipart/Form-Data; Boundary=\"XX\"", body.as_bytes()).unwrap(), form);
    }

    #[test]
    fn a_multipart_form_with_a_flaw_is_refused() {
        let good = "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--XX--\r\n";
        assert!(parse(TYPE, good.as_bytes()).is_ok());
        for (from, to) in [
            ("--XX--\r\n", ""),
            ("--XX--", "--XX"),
            ("--XX--\r\n", "--XX--\r\nmore"),
            ("\r\n", "\n"),
            ("name=\"a\"", "name=a"),
            ("name=\"a\"", "name=\"\""),
            ("name=\"a\"", "name=\"a\"; filename=\"b\""),
            ("form-data", "attachment"),
            ("--XX\r\nContent", "\r\n--XX\r\nContent"),
            ("\r\n\r\n1", "\r\nContent-Length: 1\r\n\r\n1"),
            ("\r\n\r\n1", "\r\n1"),
        ] {
            assert!(parse(TYPE, good.replacen(from, to, 9).as_bytes()).is_err(), "{from:?} as {to:?}");
        }
        for content_type in ["multipart/form-data", "multipart/form-data; boundary=", "application/json", ""] {
            assert!(parse(content_type, good.as_bytes()).is_err(), "{content_type}");
        }
        assert!(parse(TYPE, b"--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xff\r\n--XX--\r\n").is_err());
        assert!(parse(TYPE, b"--XX--\r\n").is_err());
    }

    #[test]
    fn an_urlencoded_form_is_one_by_its_content_type() {
        let form = parse("application/x-www-form-urlencoded; charset=utf-8", b"product=a%2Bc").unwrap();
        assert_eq!((form.encoding, fields(&form)), (Encoding::Urlencoded, vec![("product", "a+c")]));
    }
}
