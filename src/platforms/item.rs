//! What a sender made of an event, kept until it is sent.

/// Bytes that only the sender reads which wrote them: to everybody else they have a length and nothing more. Thousands of
/// them wait in memory, so they are one allocation without room to spare.
#[derive(Clone, PartialEq, Eq)]
pub struct Item(Box<[u8]>);

impl Item {
    /// Keeps what goes on the wire, as far as it does not depend on the time of sending.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into().into_boxed_slice())
    }

    /// The bytes as they were written.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, for a sender that wrote text.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

// By hand: it holds what the event says of a person.
impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Item({} bytes)", self.0.len())
    }
}
