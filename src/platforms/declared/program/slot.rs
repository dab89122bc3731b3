//! A text of a request, and when it can be rendered.

use crate::platforms::declared::engine::{Template, Variable};

/// What an expression on an event can name.
pub(super) const OF_EVENT: [Variable; 4] = [Variable::Event, Variable::Published, Variable::Account, Variable::Native];

/// What is not known before a request is sent.
const LATE: [Variable; 8] = [
    Variable::NowMs,
    Variable::Token,
    Variable::Items,
    Variable::Method,
    Variable::Url,
    Variable::Query,
    Variable::Body,
    Variable::Form,
];

/// A text of a request.
#[derive(Debug)]
pub(in crate::platforms::declared) struct Slot {
    pub template: Template,
    /// It needs the event and nothing that comes later: it is rendered when the event is prepared.
    pub is_early: bool,
}

impl Slot {
    pub fn new(template: Template) -> Self {
        let uses = template.uses();
        let of_event = uses.has_any(&[Variable::Event, Variable::Published, Variable::Native]);
        Self { is_early: of_event && !uses.has_any(&LATE), template }
    }
}
