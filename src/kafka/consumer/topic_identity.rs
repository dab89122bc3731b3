//! Which topic a partition belongs to. Another topic may have the same name later.

use crate::kafka::native::TopicId;

#[derive(Debug, Default)]
pub(super) struct TopicIdentity {
    id: Option<TopicId>,
    /// Whether the topic was deleted and created again, so that positions of the old topic mean nothing in the new one.
    void: bool,
    /// When another topic was found under the same name, in epoch ms.
    remade_ms: Option<i64>,
}

impl TopicIdentity {
    pub(super) fn found(&mut self, id: Option<TopicId>, remade_ms: Option<i64>) {
        (self.id, self.remade_ms) = (id, remade_ms);
    }

    pub(super) fn id(&self) -> Option<&TopicId> {
        self.id.as_ref()
    }

    pub(super) fn set_void(&mut self) {
        self.void = true;
    }

    pub(super) fn is_void(&self) -> bool {
        self.void
    }

    pub(super) fn remade_ms(&self) -> Option<i64> {
        self.remade_ms
    }

    /// What stays true in another assignment.
    pub(super) fn kept(&self) -> Self {
        Self { id: self.id.clone(), void: false, remade_ms: self.remade_ms }
    }
}
