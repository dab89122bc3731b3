//! The texts of a prepared item, one after another in one string. So one check finds whether all of them are UTF-8.

/// A length is written in bytes of this many bits. The bit above them says that another byte follows.
const BITS: u32 = 6;
const MORE: u8 = 1 << BITS;

/// Writes texts.
#[derive(Default)]
pub(super) struct Writer(String);

impl Writer {
    /// Begins with the number of the form.
    pub fn new(form: u8) -> Self {
        let mut writer = Self(String::with_capacity(512));
        writer.number(form.into());
        writer
    }

    pub fn push(&mut self, text: Option<&str>) {
        match text {
            None => self.number(0),
            Some(text) => {
                self.number(text.len() + 1);
                self.0.push_str(text);
            }
        }
    }

    /// Six bits at a time, so that each byte is a character of its own.
    fn number(&mut self, mut number: usize) {
        loop {
            let bits = u8::try_from(number & usize::from(MORE - 1)).unwrap_or_default();
            number >>= BITS;
            let more = if number > 0 { MORE } else { 0 };
            self.0.push(char::from(bits | more));
            if number == 0 {
                return;
            }
        }
    }

    pub fn finish(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

/// Reads texts in the order in which they were written.
#[derive(Clone, Copy, Default)]
pub(super) struct Reader<'a>(pub &'a str);

impl<'a> Reader<'a> {
    /// The number of the form, and the texts behind it.
    pub fn new(text: &'a str) -> Option<(u8, Self)> {
        let mut reader = Self(text);
        let form = reader.number()?.try_into().ok()?;
        Some((form, reader))
    }

    /// The next text; `None`: it was left out, or there is none.
    pub fn next(&mut self) -> Option<&'a str> {
        let length = self.number()?.checked_sub(1)?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn number(&mut self) -> Option<usize> {
        let (mut number, mut shift) = (0_usize, 0);
        loop {
            let byte = *self.0.as_bytes().first()?;
            self.0 = self.0.get(1..)?;
            number |= usize::from(byte & (MORE - 1)).checked_shl(shift)?;
            shift += BITS;
            if byte & MORE == 0 {
                return Some(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_in_their_order() {
        for form in [0, 3, 63, 64, 255] {
            let mut writer = Writer::new(form);
            let (long, longer) = ("x".repeat(63), "汉".repeat(100_000));
            let texts = [Some("a"), None, Some(""), Some("汉字"), Some(&*long), None, Some(&*longer), Some("b")];
            texts.iter().for_each(|text| writer.push(*text));
            let bytes = writer.finish();
            let (read, mut reader) = Reader::new(std::str::from_utf8(&bytes).unwrap()).unwrap();
            assert_eq!((read, texts.map(|_| reader.next())), (form, texts));
            assert_eq!(reader.next(), None);
        }
        assert!(Reader::new("").is_none());
        assert_eq!(Reader::new("\0\u{9}x").unwrap().1.next(), None, "cut off");
        assert_eq!(Reader::new("\0\u{2}汉").unwrap().1.next(), None, "inside a character");
        assert!(Reader::new("\u{7f}").is_none() && Reader::new("汉").is_none());
    }
}
