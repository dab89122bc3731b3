//! One replay as it was read from Redis, and how it is shown (pure).

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::operate::audit::Via;
use crate::replay::view::{Ages, Group, Outcomes, Predicted, Progress, ReplayView, State, Stopped, Waiting};

/// A plan as it is kept. Its places are in a hash of their own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    pub filter: Value,
    pub items: Vec<String>,
    pub end_offsets: BTreeMap<i32, i64>,
    pub selected: u64,
    /// Older dead letters that the search did not look at, and that the filter may select.
    pub left_out: u64,
    pub refused: BTreeMap<String, u64>,
    pub samples: BTreeMap<String, String>,
    pub groups: Vec<Group>,
    pub ages: Ages,
    pub predicted: Predicted,
    /// The accounts whose places are kept, in the order of their numbers there.
    pub accounts: Vec<String>,
    pub force: bool,
    pub no_brake: bool,
    /// Publishes also what was replayed before, because it was asked for.
    pub again: bool,
    pub made_at_ms: i64,
    /// The id of the topic that its places belong to; `None`: the brokers have no ids.
    pub topic_id: Option<String>,
    /// The discards that do not keep it from publishing, because it was made after them. None where it selects open
    /// dead letters: no discard covers these.
    pub discards: Option<Vec<String>>,
}

/// The fields of one replay.
#[derive(Clone, Debug)]
pub struct Stored {
    pub id: String,
    pub state: State,
    pub plan: Plan,
    fields: BTreeMap<String, String>,
    outcomes: BTreeMap<String, String>,
}

impl Stored {
    /// Reads the fields. `None`: there is no such replay, or another version of the program wrote it.
    pub fn new(id: &str, fields: BTreeMap<String, String>, outcomes: BTreeMap<String, String>) -> Option<Self> {
        let state = State::read(fields.get("state")?)?;
        let plan = serde_json::from_str(fields.get("plan")?).ok()?;
        Some(Self { id: id.to_owned(), state, plan, fields, outcomes })
    }

    /// The text of a field; empty without it.
    pub fn text(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// The number in a field; 0 without it.
    pub fn count(&self, name: &str) -> u64 {
        number(&self.fields, name)
    }

    /// The numbers of all fields of this kind, by what follows the colon.
    pub fn counts(&self, kind: &str) -> BTreeMap<String, u64> {
        counts(&self.fields, kind)
    }

    /// Whether a runner of it was killed.
    pub fn was_killed(&self) -> bool {
        self.fields.contains_key("at_least")
    }

    /// Says that a runner of it was killed.
    pub fn killed(&mut self) {
        self.fields.insert("at_least".to_owned(), "1".to_owned());
    }

    pub fn rate(&self) -> u32 {
        u32::try_from(self.count("rate")).unwrap_or(u32::MAX).max(1)
    }

    /// What came of the records that were published.
    pub fn outcomes(&self) -> Outcomes {
        let of = |name: &str| number(&self.outcomes, name);
        let mut outcomes = Outcomes {
            delivered: of("delivered"),
            duplicate: of("duplicate"),
            suppressed: of("suppressed"),
            dead_lettered: counts(&self.outcomes, "dead_lettered"),
            ..Outcomes::default()
        };
        let (republished, ended) = (self.count("republished"), outcomes.ended());
        outcomes.open = republished.saturating_sub(ended);
        let may_count_twice = self.was_killed() || self.outcomes.contains_key("at_least");
        outcomes.at_least = ended > republished || may_count_twice;
        outcomes.taken_over = self.was_killed();
        outcomes
    }

    /// How many dead letters it has done with, those included that its plan refused.
    pub fn ended(&self) -> u64 {
        self.count("republished") + sum(&self.counts("skipped")) + sum(&self.counts("failed"))
    }

    /// How the replay is shown.
    pub fn view(&self) -> ReplayView {
        let plan = &self.plan;
        let started_ms = self.time("started_ms");
        let republished = self.count("republished");
        // The skips that the plan knows are counted from the start, and shown once there is one.
        let skipped = if started_ms.is_some() { self.counts("skipped") } else { BTreeMap::new() };
        let failed = self.counts("failed");
        let left = if started_ms.is_some() {
            let ended = republished + sum(&skipped) + sum(&failed);
            plan.selected.saturating_sub(ended)
        } else {
            plan.selected.saturating_sub(sum(&plan.refused))
        };
        let goes_on = matches!(self.state, State::Planned | State::Running);
        let eta_ms = (goes_on && left > 0).then(|| left.saturating_mul(1_000) / u64::from(self.rate()));
        let mut samples = plan.samples.clone();
        let taken = self.fields.iter().filter_map(|(name, at)| Some((name.strip_prefix("sample:")?, at)));
        samples.extend(taken.map(|(cause, at)| (cause.to_owned(), at.clone())));
        ReplayView {
            id: self.id.clone(),
            state: self.state,
            filter: plan.filter.clone(),
            items: plan.items.clone(),
            end_offsets: plan.end_offsets.clone(),
            selected: plan.selected,
            left_out: plan.left_out,
            refused: plan.refused.clone(),
            republished,
            skipped,
            failed,
            left,
            samples,
            groups: plan.groups.clone(),
            ages: plan.ages.clone(),
            predicted: plan.predicted.clone(),
            outcomes: self.outcomes(),
            rate: self.rate(),
            eta_ms,
            by: self.text("by").to_owned(),
            via: serde_json::from_value::<Via>(self.text("via").into()).unwrap_or_default(),
            why: self.text("why").to_owned(),
            force: plan.force,
            no_brake: plan.no_brake,
            made_at_ms: plan.made_at_ms,
            started_ms,
            ended_ms: self.time("ended_ms"),
            stopped: self.json::<Stopped>("stopped"),
            waiting: self.json::<Vec<Waiting>>("waiting").unwrap_or_default(),
            progress: self.json::<Progress>("progress"),
        }
    }

    fn time(&self, name: &str) -> Option<i64> {
        self.fields.get(name)?.parse().ok()
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.fields.get(name)?).ok()
    }
}

fn number(fields: &BTreeMap<String, String>, name: &str) -> u64 {
    fields.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The numbers in the fields `<kind>:…`, by what follows the colon.
pub fn counts(fields: &BTreeMap<String, String>, kind: &str) -> BTreeMap<String, u64> {
    let of_kind = fields.iter().filter_map(|(name, text)| {
        let rest = name.strip_prefix(kind)?.strip_prefix(':')?;
        Some((rest.to_owned(), text.parse().ok()?))
    });
    of_kind.collect()
}

fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}
