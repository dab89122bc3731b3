//! Reads numbers by value from the text of a JSON number: `5.0`, `5e0` and `50e-1` are 5. The result is exact, because
//! no double is used in between.

/// Reads a JSON number as a whole number of 64 bits; `None` for a fraction, a larger number, or a text that is not a
/// number.
pub fn whole(text: &str) -> Option<i64> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], power(&text[at + 1..])?),
        None => (text, 0),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || before.bytes().chain(after.bytes());
    if before.is_empty() || !digits().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let zeros = digits().rev().take_while(|b| *b == b'0').count();
    let significant = before.len() + after.len() - zeros;
    if significant == 0 {
        return Some(0);
    }
    // The value is the significant digits, as an integer, times ten to the power of `scale`.
    let scale = exponent.saturating_add(i64::try_from(zeros).ok()?).saturating_sub(i64::try_from(after.len()).ok()?);
    let scale = u32::try_from(scale).ok()?;
    let value = digits().take(significant).try_fold(0_i128, |value, b| shifted(value, i128::from(b - b'0')))?;
    let value = value.checked_mul(10_i128.checked_pow(scale)?)?;
    i64::try_from(if negative { -value } else { value }).ok()
}

/// Appends one digit; `None` if the result is larger than any 64 bits.
fn shifted(value: i128, digit: i128) -> Option<i128> {
    Some(value * 10 + digit).filter(|v| *v <= i128::from(u64::MAX))
}

/// Reads an exponent. An exponent that is too large to be read counts as the largest.
fn power(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(sign * digits.parse::<i64>().unwrap_or(i64::MAX))
}

/// The texts of all numbers in a JSON text, in their order.
pub(super) struct Numbers<'t>(&'t str);

impl<'t> Numbers<'t> {
    /// The numbers of a text that is known to be JSON.
    pub(super) fn of(json: &'t str) -> Self {
        Self(json)
    }
}

impl<'t> Iterator for Numbers<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let bytes = self.0.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => at += text_length(&bytes[at..]),
                b'-' | b'0'..=b'9' => {
                    let is_more = |b: &u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                    let length = bytes[at..].iter().take_while(|b| is_more(b)).count();
                    let (number, rest) = self.0[at..].split_at(length);
                    self.0 = rest;
                    return Some(number);
                }
                _ => at += 1,
            }
        }
        None
    }
}

/// The number of bytes from one quote of a JSON text to the other.
fn text_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_numbers_are_read_by_their_value_and_exactly() {
        let rows = [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0.0", Some(0)),
            ("0e0", Some(0)),
            ("-0.00E-5", Some(0)),
            ("0e99999999999999999999", Some(0)),
            ("5", Some(5)),
            ("5.0", Some(5)),
            ("-5.000", Some(-5)),
            ("50e-1", Some(5)),
            ("0.5e1", Some(5)),
            ("1.795e12", Some(1_795_000_000_000)),
            ("1.795E+12", Some(1_795_000_000_000)),
            ("1e18", Some(1_000_000_000_000_000_000)),
            // No double holds these numbers.
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("900719925474099.3e1", Some(9_007_199_254_740_993)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775807.0", Some(i64::MAX)),
            ("-9223372036854775808.0", Some(i64::MIN)),
            ("922337203685477580700e-2", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-9223372036854775809.0", None),
            ("1e19", None),
            ("1e400", None),
            ("1e99999999999999999999", None),
            ("1e-99999999999999999999", None),
            ("5.5", None),
            ("5.00000000000000000001", None),
            ("5e-1", None),
            ("9007199254740992.5", None),
            ("", None),
            ("-", None),
            (".5", None),
            ("1e", None),
            ("1e+", None),
            ("1.2.3", None),
            ("+1", None),
            ("0x1", None),
            ("NaN", None),
            ("１", None),
        ];
        for (text, value) in rows {
            assert_eq!(whole(text), value, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_found_between_texts_and_never_inside_them() {
        let json = r#"{"a1":-0.5,"2":["3\"4",5e+1,{"\\":6},true,null,"\\"],"7":8 , "x":1E-2}"#;
        assert_eq!(Numbers::of(json).collect::<Vec<_>>(), ["-0.5", "5e+1", "6", "8", "1E-2"]);
        assert_eq!(Numbers::of("").next(), None);
        assert_eq!(Numbers::of("\"1").next(), None);
    }

    proptest! {
        #[test]
        fn every_spelling_of_a_whole_number_is_that_number(number: i64, point in 0..20_usize, zeros in 0..30_usize) {
            let digits = number.unsigned_abs().to_string();
            let sign = if number < 0 { "-" } else { "" };
            let point = point.min(digits.len() - 1);
            let (before, after) = digits.split_at(digits.len() - point);
            let (shift, padded) = (digits.len() - before.len(), format!("{after}{}", "0".repeat(zeros)));
            let fraction = if padded.is_empty() { String::new() } else { format!(".{padded}") };
            prop_assert_eq!(whole(&format!("{sign}{before}{fraction}e{shift}")), Some(number));
            prop_assert_eq!(whole(&format!("{sign}{digits}{}E-{zeros}", "0".repeat(zeros))), Some(number));
            prop_assert_eq!(whole(&format!("{sign}{digits}.{}1", "0".repeat(zeros))), None);
        }

        #[test]
        fn no_text_crashes_it(text: String) {
            let _ = (whole(&text), Numbers::of(&text).count());
        }
    }
}
