//! Reads `application/x-www-form-urlencoded`, strictly: where a lenient parser would guess, this one reports a problem.

/// The name and value of every field, in the order sent.
pub(super) fn fields(body: &[u8]) -> Result<Vec<(String, String)>, String> {
    let mut fields = Vec::new();
    for pair in body.split(|&b| b == b'&') {
        let equals = pair.iter().position(|&b| b == b'=').ok_or("urlencoded: a pair without `=`")?;
        let (name, value) = pair.split_at(equals);
        fields.push((decode(name)?, decode(value.get(1..).unwrap_or_default())?));
    }
    Ok(fields)
}

fn decode(text: &[u8]) -> Result<String, String> {
    let hex = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
                (Some(high), Some(low)) => (high << 4) | low,
                _ => return Err("urlencoded: `%` without two hex digits".to_owned()),
            },
            b if b.is_ascii_graphic() => b,
            _ => return Err("urlencoded: a character that must be encoded".to_owned()),
        });
    }
    String::from_utf8(out).map_err(|_| "urlencoded: not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_strictly() {
        let read = fields("product=a%2Bc&product-name=%E8%A7%92+x&m=".as_bytes()).unwrap();
        let expected = [("product", "a+c"), ("product-name", "角 x"), ("m", "")];
        assert!(read.iter().map(|(n, v)| (n.as_str(), v.as_str())).eq(expected));
        for bad in ["a", "a=%2", "a=%zz", "a=1&", "a=角", "a=%FF", "a=b c", ""] {
            assert!(fields(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
