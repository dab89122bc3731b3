//! The request for a plan.

use super::selection::Selection;
use crate::clock::now_ms;
use crate::inspect::dead_letters::State;
use crate::operate::audit::By;
use crate::replay::store::{Draft, Plan};

/// What a plan is made of.
pub struct PlanRequest {
    pub id: String,
    pub selection: Selection,
    pub items: Vec<String>,
    pub rate: u32,
    pub force: bool,
    pub no_brake: bool,
    pub by: By,
}

impl PlanRequest {
    /// The plan before anything is selected.
    pub(super) fn plan(&self) -> Plan {
        let filter = match &self.selection {
            // It is only shown: the plan is the places that it selected.
            Selection::Filter(filter) => serde_json::to_value(filter.masked()).unwrap_or_default(),
            Selection::Items(_) => serde_json::Value::Null,
        };
        let again = self.state() == Some(State::Replayed);
        let (force, no_brake) = (self.force, self.no_brake);
        let discards = Some(Vec::new());
        Plan {
            filter,
            items: self.items.clone(),
            force,
            no_brake,
            again,
            discards,
            made_at_ms: now_ms(),
            ..Plan::default()
        }
    }

    /// The state in which a filter selects dead letters.
    pub(super) fn state(&self) -> Option<State> {
        match &self.selection {
            Selection::Filter(filter) => filter.state,
            Selection::Items(_) => None,
        }
    }

    pub(super) fn draft<'a>(&'a self, plan: &'a Plan) -> Draft<'a> {
        Draft { id: &self.id, plan, rate: self.rate, by: &self.by }
    }
}
