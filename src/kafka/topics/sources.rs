//! The inputs and their settings. The worker's own topics and the deduplication window are checked against them.

use std::collections::BTreeMap;

use super::{AdminError, Cluster, TopicInfo, TopicSettings};

/// The limit of a topic that states none: a mebibyte and the overhead of a batch.
const DEFAULT_MAX_BYTES: u64 = 1_048_588;

/// The inputs and their settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The inputs that exist.
    pub topics: Vec<TopicInfo>,
    /// The settings that could be read, by topic.
    pub settings: BTreeMap<String, TopicSettings>,
}

impl Sources {
    /// Inputs whose retention is unknown, because this client may not read the settings, or cannot read them yet.
    pub fn unread(&self) -> Vec<&str> {
        let is_read = |name: &str| self.settings.get(name).is_some_and(|s| s.retention_ms.is_some());
        self.topics.iter().map(|t| t.name.as_str()).filter(|name| !is_read(name)).collect()
    }

    /// The size in bytes of the largest record that an input accepts.
    pub fn largest(&self) -> u64 {
        let stated = self.settings.values().filter_map(|s| u64::try_from(s.max_message_bytes?).ok());
        stated.max().unwrap_or(0).max(DEFAULT_MAX_BYTES)
    }
}

impl Cluster {
    /// Reads the inputs, and their settings as far as this client can read them.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn sources(&self) -> Result<Sources, AdminError> {
        let topics = self.inputs()?;
        let names: Vec<&str> = topics.iter().map(|t| t.name.as_str()).collect();
        let settings = self.describe_patiently(&names)?;
        Ok(Sources { topics, settings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(settings: &[(&str, Option<i64>, i64)]) -> Sources {
        let topic = |name: &str| TopicInfo { name: name.into(), partitions: 1, replication: 1 };
        let set = |retention_ms, max| TopicSettings {
            retention_ms,
            max_message_bytes: Some(max),
            ..TopicSettings::default()
        };
        Sources {
            topics: ["a", "b"].map(topic).to_vec(),
            settings: settings.iter().map(|(name, retention, max)| ((*name).into(), set(*retention, *max))).collect(),
        }
    }

    #[test]
    fn an_input_is_unread_until_its_retention_is_known() {
        assert_eq!(sources(&[]).unread(), ["a", "b"]);
        assert_eq!(sources(&[("a", Some(-1), 5), ("b", None, 5)]).unread(), ["b"]);
        assert_eq!(sources(&[("a", Some(1), 5), ("b", Some(2), 5)]).unread(), Vec::<&str>::new());
    }

    #[test]
    fn the_largest_record_is_what_a_broker_takes_by_default_unless_an_input_takes_more() {
        assert_eq!(sources(&[]).largest(), 1_048_588);
        assert_eq!(sources(&[("a", None, 100)]).largest(), 1_048_588);
        assert_eq!(sources(&[("a", None, 5_000_000), ("b", None, 2)]).largest(), 5_000_000);
    }
}
