//! The headers of an answer.

use http::HeaderMap;

/// The headers of an answer, as they came. Reading none of them costs nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a>(Option<&'a HeaderMap>);

impl<'a> Headers<'a> {
    /// The headers of an HTTP head.
    pub fn new(headers: &'a HeaderMap) -> Self {
        Self(Some(headers))
    }

    /// The first value of this name, in any case. `None`: there is none, or it is not visible ASCII.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0?.get(name)?.to_str().ok()
    }

    /// Name in lower case and value of each header whose value is visible ASCII.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_by_its_name_in_any_case_and_only_text_is_shown() {
        let mut map = HeaderMap::new();
        map.insert("x-ratelimit-remaining", "99,0".parse().unwrap());
        map.insert("x-binary", http::HeaderValue::from_bytes(b"\xff").unwrap());
        let headers = Headers::new(&map);
        assert_eq!(
            (headers.get("X-RateLimit-Remaining"), headers.get("x-ratelimit-remaining")),
            (Some("99,0"), Some("99,0"))
        );
        assert_eq!((headers.get("x-binary"), headers.get("not a name"), headers.get("x-other")), (None, None, None));
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("x-ratelimit-remaining", "99,0")]);
        assert_eq!((Headers::default().get("date"), Headers::default().iter().count()), (None, 0));
    }
}
