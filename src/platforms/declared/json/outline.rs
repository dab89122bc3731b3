//! Where the members of an object stand in its bytes, those of objects directly inside it included. One pass finds them
//! all, and passes over what lists hold.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;

/// Objects inside each other. An event has fewer.
const DEEPEST: usize = 128;

/// Bytes with an object.
pub(super) struct Document {
    pub raw: Bytes,
    /// Once something asks for one.
    members: OnceLock<Vec<Member>>,
}

impl Document {
    pub fn new(raw: Bytes) -> Self {
        Self { raw, members: OnceLock::new() }
    }

    pub fn members(&self) -> &[Member] {
        self.members.get_or_init(|| outline(&self.raw))
    }
}

#[derive(Debug)]
pub(super) struct Member {
    /// Between its quotes.
    name: Range<usize>,
    /// The name has no escapes.
    is_plainly_named: bool,
    pub value: Range<usize>,
    /// The value is a text without escapes.
    pub is_plain_text: bool,
    /// The position of the next member that is not inside this one.
    pub next: usize,
}

impl Member {
    pub fn name<'r>(&self, raw: &'r [u8]) -> &'r [u8] {
        raw.get(self.name.clone()).unwrap_or_default()
    }

    /// Its name, where that has escapes.
    pub fn escaped_name(&self, raw: &[u8]) -> Option<String> {
        if self.is_plainly_named {
            return None;
        }
        serde_json::from_slice(raw.get(self.name.start - 1..=self.name.end)?).ok()
    }

    pub fn is_named(&self, name: &str, raw: &[u8]) -> bool {
        match self.is_plainly_named {
            true => self.name(raw) == name.as_bytes(),
            false => self.escaped_name(raw).is_some_and(|own| own == name),
        }
    }
}

/// The members of an object; each is followed by those inside it. Bytes that are no object have none.
pub(super) fn outline(raw: &[u8]) -> Vec<Member> {
    let mut scan = Scan { raw, at: 0, members: Vec::with_capacity(24) };
    scan.white();
    let is_object = scan.next() == Some(b'{') && scan.object(0).is_some();
    scan.white();
    if is_object && scan.at == raw.len() { scan.members } else { Vec::new() }
}

struct Scan<'r> {
    raw: &'r [u8],
    at: usize,
    members: Vec<Member>,
}

impl Scan<'_> {
    fn next(&self) -> Option<u8> {
        self.raw.get(self.at).copied()
    }

    fn white(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.next() {
            self.at += 1;
        }
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_it = self.next() == Some(byte);
        self.at += usize::from(is_it);
        is_it
    }

    /// Passes over a text; whether it has no escapes. `None`: it does not end.
    fn text(&mut self) -> Option<bool> {
        self.at += 1;
        let mut is_plain = true;
        loop {
            match self.next()? {
                b'"' => {
                    self.at += 1;
                    return Some(is_plain);
                }
                b'\\' => (is_plain, self.at) = (false, self.at + 2),
                _ => self.at += 1,
            }
        }
    }

    /// Passes over an object, and notes its members.
    fn object(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        self.white();
        if self.takes(b'}') {
            return Some(());
        }
        loop {
            self.white();
            if self.next()? != b'"' {
                return None;
            }
            let from = self.at + 1;
            let is_plainly_named = self.text()?;
            let name = from..self.at - 1;
            self.white();
            if !self.takes(b':') {
                return None;
            }
            self.white();
            let (position, from) = (self.members.len(), self.at);
            self.members.push(Member { name, is_plainly_named, value: from..from, is_plain_text: false, next: 0 });
            let is_plain_text = self.value(depth)?;
            let (to, next) = (self.at, self.members.len());
            let member = self.members.get_mut(position)?;
            (member.value, member.is_plain_text, member.next) = (from..to, is_plain_text, next);
            self.white();
            if self.takes(b'}') {
                return Some(());
            }
            if !self.takes(b',') {
                return None;
            }
        }
    }

    /// Passes over a value; whether it is a text without escapes.
    fn value(&mut self, depth: usize) -> Option<bool> {
        match self.next()? {
            b'"' => return self.text(),
            b'{' if depth < DEEPEST => self.object(depth + 1)?,
            b'{' => return None,
            b'[' => self.list()?,
            _ => {
                let from = self.at;
                while self.next().is_some_and(|b| !matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')) {
                    self.at += 1;
                }
                if self.at == from {
                    return None;
                }
            }
        }
        Some(false)
    }

    /// Passes over a list with everything in it.
    fn list(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            match self.next()? {
                b'"' => {
                    self.text()?;
                    continue;
                }
                b'[' | b'{' => open += 1,
                b']' | b'}' => open -= 1,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Name and value of each member, and how many members stand inside it.
    fn members(text: &str) -> Vec<(String, String, usize)> {
        let all = outline(text.as_bytes());
        let name = |member: &Member| match member.escaped_name(text.as_bytes()) {
            Some(name) => name,
            None => String::from_utf8(member.name(text.as_bytes()).to_vec()).unwrap(),
        };
        let member = |(at, member): (usize, &Member)| {
            (name(member), text[member.value.clone()].to_owned(), member.next - at - 1)
        };
        all.iter().enumerate().map(member).collect()
    }

    #[test]
    fn members_are_found_with_those_inside_them_and_lists_are_passed_over() {
        let row = |name: &str, value: &str, inside| (name.to_owned(), value.to_owned(), inside);
        assert_eq!(
            members(
                " { \"a\" : 1.5 , \"b\":{\"c\":\"x\\\"}\", \"d\":{}},\"e\":[{\"f\":\"]\"},[]], \"\\u0067\":null}\n"
            ),
            [
                row("a", "1.5", 0),
                row("b", "{\"c\":\"x\\\"}\", \"d\":{}}", 2),
                row("c", "\"x\\\"}\"", 0),
                row("d", "{}", 0),
                row("e", "[{\"f\":\"]\"},[]]", 0),
                row("g", "null", 0),
            ]
        );
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for text in
            ["", "[]", "1", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,}", "{\"a\" 1}", "{a:1}", "{\"a\":1}x"]
        {
            assert_eq!(members(text), [], "{text}");
        }
        assert_eq!(members("{\"a\":]}"), []);
        let deep = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
        assert_eq!(members(&deep), []);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inside| {
            prop_oneof![
                prop::collection::vec(inside.clone(), 0..4).prop_map(Into::into),
                prop::collection::hash_map(any::<String>(), inside, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn each_member_of_an_object_is_found(value in json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let all = outline(text.as_bytes());
            let (mut at, mut found) = (0, serde_json::Map::new());
            while let Some(member) = all.get(at) {
                let name = serde_json::from_str(&text[member.name.start - 1..=member.name.end]).unwrap();
                found.insert(name, serde_json::from_str(&text[member.value.clone()]).unwrap());
                at = member.next;
            }
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(found, value.as_object().cloned().unwrap_or_default());
        }

        #[test]
        fn no_bytes_crash_it(bytes: Vec<u8>, text in "[\\[\\]{}\":,a\\\\ 1]{0,24}") {
            let _ = (outline(&bytes), outline(text.as_bytes()));
        }
    }
}
