//! What a sender made of an event. It is kept until it is sent.

/// Bytes that only the sender that wrote them can read; all other code sees only their length. Thousands of items wait
/// in memory, so each is one allocation without spare room.
#[derive(Clone, PartialEq, Eq)]
pub struct Item(Box<[u8]>);

impl Item {
    /// Keeps the part of the request that does not depend on the time of sending.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into().into_boxed_slice())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are UTF-8.
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
