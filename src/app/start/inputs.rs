//! The input topics that a worker reads: those that the start checked, and those that are created while it runs.

use std::collections::{BTreeMap, BTreeSet};

use crate::account::WindowCheck;
use crate::app::start::topics::{Waits, window_refusal};
use crate::kafka::topics::{AdminError, Cluster, TopicInfo, TopicSettings};
use crate::settings::Config;

/// The result of a start's check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// The names of the inputs.
    pub inputs: BTreeSet<String>,
    /// The size in bytes of the largest record that one of the inputs accepts.
    pub largest: u64,
}

impl Fit {
    pub(super) fn of(topics: &[TopicInfo], largest: u64) -> Self {
        Self { inputs: topics.iter().map(|topic| topic.name.clone()).collect(), largest }
    }
}

/// The result of checking inputs that were created while the worker runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// The inputs to read.
    pub fit: Vec<String>,
    /// The inputs that must not be read, each with the reason.
    pub refused: BTreeMap<String, String>,
    /// Warnings about the inputs to read.
    pub warnings: Vec<String>,
}

/// Checks input topics that were created while the worker runs, by the rules of a start. `largest` is the size in bytes
/// of the largest record for which the worker's own topics were checked.
///
/// # Errors
/// See [`AdminError`].
pub fn judge_inputs(config: &Config, cluster: &Cluster, names: &[&str], largest: u64) -> Result<Judged, AdminError> {
    Ok(judge(config, names, &cluster.describe(names)?, largest))
}

fn judge(config: &Config, names: &[&str], described: &BTreeMap<String, TopicSettings>, largest: u64) -> Judged {
    let mut judged = Judged::default();
    for name in names {
        let settings = described.get(*name);
        let why = match settings {
            Some(settings) if settings.retention_ms.is_some() => {
                window_refusal(config, name, settings.retention_ms, &settings.cleanup_policy)
            }
            _ => Some(Waits::Unread((*name).to_owned()).to_string()),
        };
        match why {
            Some(why) if config.dedupe.window_check == WindowCheck::Refuse => {
                judged.refused.insert((*name).to_owned(), why);
                continue;
            }
            why => judged.warnings.extend(why),
        }
        let bytes = settings.and_then(|settings| u64::try_from(settings.max_message_bytes?).ok());
        judged.warnings.extend(bytes.filter(|bytes| *bytes > largest).map(|bytes| {
            format!(
                "kafka: topic {name} takes records of {bytes} bytes, and the worker's own topics were checked for {largest}: \
                 a copy that is too large for them ends as a dead letter without its value; `postback check --connect` says \
                 what to set"
            )
        }));
        judged.fit.push((*name).to_owned());
    }
    judged
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::account::Account;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn an_input_that_comes_later_is_judged_like_one_that_was_there() {
        let mut config = Config::load(None, []).unwrap_or_else(|found| panic!("{found}")).config;
        config.accounts = [("acme".into(), Arc::new(Account::stub("acme")))].into();
        let set = |retention_ms, bytes| TopicSettings {
            retention_ms,
            max_message_bytes: Some(bytes),
            cleanup_policy: "delete".into(),
            ..TopicSettings::default()
        };
        let described = BTreeMap::from([
            ("fit".to_owned(), set(Some(DAY_MS), 1000)),
            ("large".to_owned(), set(Some(DAY_MS), 1001)),
            ("for-ever".to_owned(), set(Some(-1), 1000)),
            ("silent".to_owned(), set(None, 1000)),
        ]);
        let names = ["fit", "large", "for-ever", "silent", "hidden"];
        let judged = judge(&config, &names, &described, 1000);
        assert_eq!(judged.fit, ["fit", "large"]);
        assert!(judged.warnings.len() == 1 && judged.warnings[0].contains("topic large takes"), "{judged:?}");
        assert_eq!(judged.refused.keys().collect::<Vec<_>>(), ["for-ever", "hidden", "silent"]);
        assert!(judged.refused["for-ever"].contains("for ever"), "{judged:?}");
        assert!(
            ["hidden", "silent"].iter().all(|name| judged.refused[*name].contains("DescribeConfigs")),
            "{judged:?}"
        );

        config.dedupe.window_check = WindowCheck::Warn;
        let judged = judge(&config, &names, &described, 1000);
        assert_eq!((judged.fit.len(), judged.refused.len(), judged.warnings.len()), (5, 0, 4), "{judged:?}");
    }
}
