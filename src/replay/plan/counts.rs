//! Counts what a plan selects, refuses and foresees (pure).

use std::collections::BTreeMap;

use crate::redact::mask_text;
use crate::replay::cause::Skip;
use crate::replay::judge::{Forecast, Judged};
use crate::replay::places::{Place, pack};
use crate::replay::store::Plan;
use crate::replay::view::{Group, PredictedRefusal};

/// A plan that is being counted.
pub(super) struct PlanCounts {
    plan: Plan,
    groups: BTreeMap<[String; 5], Group>,
    refusals: BTreeMap<(&'static str, String), PredictedRefusal>,
    /// What the run has to publish, by account.
    places: BTreeMap<String, Vec<Place>>,
}

impl PlanCounts {
    pub fn new(plan: Plan) -> Self {
        Self { plan, groups: BTreeMap::new(), refusals: BTreeMap::new(), places: BTreeMap::new() }
    }

    /// Counts one dead letter. They come in the order of their places.
    pub fn add(&mut self, place: Place, judged: &Judged, skip: Option<Skip>, account: &str) {
        let at = format!("{}:{}", place.0, place.1);
        self.plan.selected += 1;
        self.plan.ages.add(self.plan.made_at_ms - judged.letter.failed_at_ms());
        self.group(judged, &at);
        match &judged.forecast {
            None => {}
            Some(Forecast::Sent) => self.plan.predicted.sent += 1,
            Some(Forecast::Suppressed) => self.plan.predicted.suppressed += 1,
            Some(Forecast::Halted) => self.plan.predicted.halted += 1,
            Some(Forecast::Refused { reason, field }) => {
                let refusal = self.refusals.entry((reason, field.clone())).or_insert_with(|| PredictedRefusal {
                    reason: (*reason).to_owned(),
                    field: mask_text(field).into_owned(),
                    count: 0,
                    sample: at.clone(),
                });
                refusal.count += 1;
            }
        }
        match skip {
            Some(cause) => {
                *self.plan.refused.entry(cause.as_str().to_owned()).or_default() += 1;
                self.plan.samples.entry(cause.as_str().to_owned()).or_insert(at);
            }
            None => self.places.entry(account.to_owned()).or_default().push(place),
        }
    }

    fn group(&mut self, judged: &Judged, at: &str) {
        let text = |name| judged.letter.text(name).map(|text| mask_text(text).into_owned()).unwrap_or_default();
        let [reason, code, field, platform, account] =
            ["reason", "last-code", "field", "platform", "account"].map(text);
        let failed_at = judged.letter.failed_at_ms();
        let key = [reason.clone(), code.clone(), field.clone(), platform.clone(), account.clone()];
        let group = self.groups.entry(key).or_insert_with(|| Group {
            reason,
            code,
            field,
            platform,
            account,
            count: 0,
            first_ms: failed_at,
            last_ms: failed_at,
            sample: at.to_owned(),
        });
        group.count += 1;
        group.first_ms = group.first_ms.min(failed_at);
        group.last_ms = group.last_ms.max(failed_at);
    }

    /// The plan, and the values of its places by their field.
    pub fn finish(mut self) -> (Plan, Vec<(String, Vec<u8>)>) {
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        let mut refused: Vec<PredictedRefusal> = self.refusals.into_values().collect();
        refused.sort_by_key(|refusal| std::cmp::Reverse(refusal.count));
        (self.plan.groups, self.plan.predicted.refused) = (groups, refused);
        let mut values = Vec::new();
        for (number, (account, places)) in self.places.into_iter().enumerate() {
            self.plan.accounts.push(account);
            let packed = pack(&places).into_iter().enumerate();
            values.extend(packed.map(|(n, value)| (format!("{number}:{n}"), value)));
        }
        (self.plan, values)
    }
}
