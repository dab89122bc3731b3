//! The texts of a prepared item, one after another in one allocation.

/// The length that stands for "left out".
const ABSENT: u32 = u32::MAX;

/// Writes texts.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Begins with the number of the form.
    pub fn new(form: u8) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.push(form);
        Self(bytes)
    }

    pub fn push(&mut self, text: Option<&str>) {
        // An event has at most 256 KiB, so that no text comes near the bound.
        let length = text.map_or(ABSENT, |text| u32::try_from(text.len()).unwrap_or(ABSENT));
        self.0.extend_from_slice(&length.to_le_bytes());
        if length != ABSENT {
            self.0.extend_from_slice(text.unwrap_or_default().as_bytes());
        }
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads texts in the order in which they were written.
#[derive(Clone, Copy, Default)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The number of the form, and the texts behind it.
    pub fn new(bytes: &'a [u8]) -> Option<(u8, Self)> {
        bytes.split_first().map(|(form, rest)| (*form, Self(rest)))
    }

    /// The next text; `None`: it was left out, or there is none.
    pub fn next(&mut self) -> Option<&'a str> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        let length = u32::from_le_bytes(*length);
        if length == ABSENT {
            return None;
        }
        let (text, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_in_their_order() {
        let mut writer = Writer::new(3);
        let texts = [Some("a"), None, Some(""), Some("汉字")];
        texts.iter().for_each(|text| writer.push(*text));
        let bytes = writer.finish();
        let (form, mut reader) = Reader::new(&bytes).unwrap();
        assert_eq!((form, texts.map(|_| reader.next())), (3, texts));
        assert_eq!(reader.next(), None);
        assert!(Reader::new(&[]).is_none());
        assert_eq!(Reader::new(&[0, 9, 0, 0, 0, b'x']).unwrap().1.next(), None, "cut off");
    }
}
