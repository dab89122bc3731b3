//! An HTTP request as a sender builds it.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use crate::secret::SecretString;

/// How many bytes of an answer are read and unpacked, unless the request states another bound. A longer answer counts
/// as no answer.
pub const ANSWER_BYTES: usize = 64 * 1024;

/// An HTTP request. Exactly these bytes are signed and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// HTTP method, e.g. `POST`.
    pub method: &'static str,
    /// Path and query, beginning with `/`. The account's base URL is put in front.
    pub path: Cow<'static, str>,
    /// Headers, in the order in which they are sent.
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    /// The exact text that was hashed, with the secret in it. `None`: nothing is signed. Only `preview` reads it.
    pub signature_input: Option<SecretString>,
    /// Where secrets and tokens stand. `preview` shows `***` there. The secret of the credential in force needs no
    /// place in `signature_input`.
    pub secrets: Vec<SecretPlace>,
    /// The most bytes of the answer that are read. The bound holds for the bytes as they came and for the unpacked
    /// bytes.
    pub answer_bytes: usize,
}

/// An empty `POST` to `/`. A sender overwrites what it needs.
impl Default for Request {
    fn default() -> Self {
        Self {
            method: "POST",
            path: Cow::Borrowed("/"),
            headers: Vec::new(),
            body: Bytes::new(),
            signature_input: None,
            secrets: Vec::new(),
            answer_bytes: ANSWER_BYTES,
        }
    }
}

/// The place of a secret in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretPlace {
    /// The part that holds the secret.
    pub part: Part,
    /// The bytes of the secret in that part.
    pub range: Range<usize>,
}

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `path`, query included.
    Path,
    /// The value of the header of this name.
    Header(&'static str),
    Body,
    SignatureInput,
}

impl Request {
    /// Whether the part holds a secret.
    pub fn has_secret(&self, part: Part) -> bool {
        self.secrets.iter().any(|place| place.part == part)
    }

    /// The bytes of a part, with `mask` in the place of each of its secrets.
    pub fn masked<'a>(&self, part: Part, bytes: &'a [u8], mask: &str) -> Cow<'a, [u8]> {
        let mut ranges: Vec<&Range<usize>> =
            self.secrets.iter().filter(|place| place.part == part).map(|place| &place.range).collect();
        if ranges.is_empty() {
            return Cow::Borrowed(bytes);
        }
        ranges.sort_unstable_by_key(|range| range.start);
        let (mut masked, mut shown) = (Vec::with_capacity(bytes.len()), 0);
        for range in ranges {
            // A place may overlap the one before it, or reach beyond the end of the part. No byte of it is shown even
            // then.
            let start = range.start.clamp(shown, bytes.len());
            masked.extend_from_slice(&bytes[shown..start]);
            masked.extend_from_slice(mask.as_bytes());
            shown = range.end.clamp(start, bytes.len());
        }
        masked.extend_from_slice(&bytes[shown..]);
        Cow::Owned(masked)
    }

    /// Like [`Request::masked`], for a text. If a place cuts a character in two, a replacement character is left of it.
    pub fn masked_text<'a>(&self, part: Part, text: &'a str, mask: &str) -> Cow<'a, str> {
        match self.masked(part, text.as_bytes(), mask) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(places: &[(Part, Range<usize>)]) -> Request {
        let secrets = places.iter().map(|(part, range)| SecretPlace { part: *part, range: range.clone() }).collect();
        Request { secrets, ..Request::default() }
    }

    #[test]
    fn each_place_of_a_part_is_masked_and_no_other() {
        let request =
            request(&[(Part::Body, 8..11), (Part::Body, 2..4), (Part::Path, 0..1), (Part::Header("a"), 0..3)]);
        assert_eq!(request.masked_text(Part::Body, "a=xy&bb=ZZZ&c", "***"), "a=***&bb=***&c");
        assert_eq!(request.masked_text(Part::Path, "abc", "***"), "***bc");
        assert_eq!(request.masked_text(Part::Header("a"), "abc", "***"), "***");
        assert_eq!(request.masked_text(Part::Header("b"), "abc", "***"), "abc");
        assert!(request.has_secret(Part::Body) && !request.has_secret(Part::SignatureInput));
    }

    #[test]
    fn a_place_that_does_not_fit_shows_none_of_its_bytes() {
        let shown = |places: &[(usize, usize)]| {
            let places: Vec<_> = places.iter().map(|(from, until)| (Part::Body, *from..*until)).collect();
            request(&places).masked_text(Part::Body, "abcdef", "*").into_owned()
        };
        assert_eq!(shown(&[(1, 3), (2, 5)]), "a**f");
        assert_eq!(shown(&[(4, 99)]), "abcd*");
        assert_eq!(shown(&[(9, 12)]), "abcdef*");
    }
}
