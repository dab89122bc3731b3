//! What operators ask for and see of a replay: the API, `--json` and the console show exactly this.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::inspect::dead_letters::Filter;
use crate::operate::audit::Via;

/// The rate of a replay that names none, in records per second over all replicas.
pub const DEFAULT_RATE: u32 = 50;

/// What a plan is asked for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// The filters of `dead-letters`, and `everything` where there is none.
    pub filter: Filter,
    /// Dead letters named one by one as `PARTITION:OFFSET`, instead of a filter.
    pub items: Vec<String>,
    /// Records per second over all replicas; 50 by default.
    pub rate: Option<u32>,
    /// Publishes what would be refused for a reason that an operator may overrule.
    pub force: bool,
    /// Goes on however many of its records end as dead letters again.
    pub no_brake: bool,
    /// Who asks for it, as claimed.
    pub who: String,
    /// From where; `api` by default.
    pub via: Option<Via>,
    pub why: String,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The plan is made, or being made: then `progress` says how far it is.
    Planned,
    Running,
    /// Too many of its records ended as dead letters again.
    StoppedItself,
    Cancelled,
    Completed,
    /// The plan could not be made, or the run cannot go on by itself.
    Failed,
}

impl State {
    pub const ALL: [State; 6] =
        [State::Planned, State::Running, State::StoppedItself, State::Cancelled, State::Completed, State::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Planned => "planned",
            State::Running => "running",
            State::StoppedItself => "stopped_itself",
            State::Cancelled => "cancelled",
            State::Completed => "completed",
            State::Failed => "failed",
        }
    }

    /// The state of this name. `None`: another version of the program wrote it.
    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// One replay: its plan, how far it is, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayView {
    pub id: String,
    pub state: State,
    /// The filter, as it was asked for.
    pub filter: Value,
    /// The dead letters that were named one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<String>,
    /// The end of each partition of the dead-letter topic when the plan was made. Later ones are not part of it.
    pub end_offsets: BTreeMap<i32, i64>,
    /// How many dead letters the plan selected: those that are published, skipped and failed, and those that are left.
    pub selected: u64,
    /// So many older dead letters were not looked at, because a search holds only the newest ones: those of them that
    /// fit the filter are not part of the plan. 0 where none of them can fit.
    #[serde(default)]
    pub left_out: u64,
    /// How many of them the plan refuses, by cause. A run counts them as skipped.
    pub refused: BTreeMap<String, u64>,
    pub republished: u64,
    /// How many were not published, by cause.
    pub skipped: BTreeMap<String, u64>,
    /// How many could not be published, by cause.
    pub failed: BTreeMap<String, u64>,
    /// How many the run has still to judge.
    pub left: u64,
    /// For each cause of a refusal, skip or failure one dead letter, as `PARTITION:OFFSET`.
    pub samples: BTreeMap<String, String>,
    /// What was selected, by reason, code, field and account; the largest group first.
    pub groups: Vec<Group>,
    /// How many were selected by the time since they failed, when the plan was made.
    pub ages: Ages,
    /// What each selected event would come to with the configuration at the time of the plan.
    pub predicted: Predicted,
    /// What came of those that were published.
    pub outcomes: Outcomes,
    /// Records per second over all replicas.
    pub rate: u32,
    /// How long the rest takes at this rate; null where nothing is left or nothing runs.
    pub eta_ms: Option<u64>,
    /// Who made the plan, or ran it.
    pub by: String,
    pub via: Via,
    pub why: String,
    /// Published also what an operator may overrule.
    pub force: bool,
    /// Has no brake.
    pub no_brake: bool,
    /// When the plan was made, epoch ms.
    pub made_at_ms: i64,
    pub started_ms: Option<i64>,
    pub ended_ms: Option<i64>,
    /// Why it stopped itself or failed.
    pub stopped: Option<Stopped>,
    /// The parts that wait, and for what.
    pub waiting: Vec<Waiting>,
    /// How far the making of the plan is; null once it is made.
    pub progress: Option<Progress>,
}

/// Dead letters that have the same cause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    pub reason: String,
    /// The code of the platform's last answer; empty without one.
    pub code: String,
    /// The wrong field; empty without one.
    pub field: String,
    pub platform: String,
    pub account: String,
    pub count: u64,
    /// `pb-failed-at` of the oldest, epoch ms.
    pub first_ms: i64,
    pub last_ms: i64,
    /// One of them, as `PARTITION:OFFSET`.
    pub sample: String,
}

/// Counts by the time since the dead letters failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ages {
    pub under_1h: u64,
    pub under_1d: u64,
    pub under_7d: u64,
    pub older: u64,
}

impl Ages {
    /// Counts one that failed so many ms ago.
    pub fn add(&mut self, age_ms: i64) {
        const HOUR_MS: i64 = 3_600_000;
        let bucket = match age_ms {
            age if age < HOUR_MS => &mut self.under_1h,
            age if age < 24 * HOUR_MS => &mut self.under_1d,
            age if age < 7 * 24 * HOUR_MS => &mut self.under_7d,
            _ => &mut self.older,
        };
        *bucket += 1;
    }
}

/// What the selected events would come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Predicted {
    /// Would be sent to the platform.
    pub sent: u64,
    /// Would end `suppressed`, because the person opted out.
    pub suppressed: u64,
    /// Would wait, because their account has no credential that is valid now.
    pub halted: u64,
    /// Would be refused again.
    pub refused: Vec<PredictedRefusal>,
}

/// Events that would end as dead letters again for one reason and field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PredictedRefusal {
    pub reason: String,
    pub field: String,
    pub count: u64,
    /// One of them, as `PARTITION:OFFSET`.
    pub sample: String,
}

/// What came of the records that were published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Outcomes {
    pub delivered: u64,
    pub duplicate: u64,
    pub suppressed: u64,
    /// By reason.
    pub dead_lettered: BTreeMap<String, u64>,
    /// Published, and not ended yet. With `at_least` it is the least number: each outcome that was counted twice hides
    /// one.
    pub open: u64,
    /// Some outcomes may have been counted twice, so that more may be open than `open` says.
    pub at_least: bool,
    /// A replica that ran the replay was gone, and another one went on with it: one reason for `at_least`.
    pub taken_over: bool,
}

impl Outcomes {
    /// How many have ended.
    pub fn ended(&self) -> u64 {
        self.delivered + self.duplicate + self.suppressed + self.dead_lettered.values().sum::<u64>()
    }
}

/// Why a replay stopped itself or failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Stopped {
    pub reason: String,
    /// One of the records that ended as dead letters again, where these were the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
}

/// One record that ended as a dead letter again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Sample {
    /// Masked.
    pub trans_id: String,
    pub account: String,
    pub code: String,
    pub field: String,
    pub detail: String,
}

/// A part of a replay that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// The account; empty where everything waits.
    pub account: String,
    pub why: String,
}

/// How far the making of a plan is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    pub scanned: u64,
    pub total: u64,
}
