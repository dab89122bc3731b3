//! Judges the worker's own topics as they are (pure). A setting that could lose copies refuses the start; other
//! findings only warn.

use std::collections::BTreeMap;
use std::fmt;

use super::owned::{Keeps, MONTH_MS, OwnedTopic, SEGMENT_MS};
use super::{TopicInfo, TopicSettings};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The worker must not start.
    Refuse,
    /// The log names it, and the worker starts.
    Warn,
}

/// Something about a topic that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it refuses the start.
    pub level: Level,
    /// The topic. Empty: the finding is about the cluster.
    pub topic: String,
    pub text: String,
    pub mend: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, text, mend, .. } = self;
        match topic.as_str() {
            "" => write!(f, "kafka: {text}: {mend}"),
            topic => write!(f, "kafka: topic {topic}: {text}: {mend}"),
        }
    }
}

/// This client may not read the topic's settings.
pub(super) fn unreadable(topic: &str) -> Finding {
    Finding {
        level: Level::Warn,
        topic: topic.to_owned(),
        text: "its settings cannot be read, so they were not checked".into(),
        mend: "grant DescribeConfigs on it".into(),
    }
}

/// `kafka.replication` asks for topics that a later start would refuse.
pub(super) fn one_replica(brokers: usize) -> Finding {
    Finding {
        level: Level::Refuse,
        topic: String::new(),
        text: format!("kafka.replication is 1 on {brokers} brokers: one broker's loss would lose copies"),
        mend: "set it to at least 2, or to 0 for the broker's default".into(),
    }
}

/// Whether the time for which a topic keeps its records is wrong, and why.
fn retention(keeps: Keeps, settings: &TopicSettings) -> Option<(Level, String)> {
    let ms = settings.retention_ms?;
    let waiting = match keeps {
        Keeps::Month => {
            let short = (0..MONTH_MS).contains(&ms);
            return short.then(|| (Level::Warn, format!("retention.ms is {ms}: less than 30 days")));
        }
        Keeps::Waiting(waiting) => waiting,
    };
    if (0..waiting.least_ms).contains(&ms) {
        let text = format!(
            "retention.ms is {ms}: less than max_age + max_parked + 1 day ({}), so that what still waits would be deleted",
            waiting.least_ms
        );
        return Some((Level::Refuse, text));
    }
    // Settings that the worker itself would choose, for any window, are not a finding.
    let longest = waiting.window_ms.max(waiting.retention_ms + SEGMENT_MS);
    let kept = ms.saturating_add(settings.segment_ms.unwrap_or(SEGMENT_MS));
    (ms < 0 || kept > longest).then(|| {
        let text = format!(
            "records are kept for longer than dedupe.window (retention.ms {ms} and segment.ms {}): where a position is \
             lost, what was sent long ago would be sent again",
            settings.segment_ms.map_or("unknown".to_owned(), |segment| segment.to_string())
        );
        (Level::Warn, text)
    })
}

/// Judges the topics that exist (pure).
pub(super) fn findings(
    owned: &[OwnedTopic],
    infos: &[TopicInfo],
    settings: &BTreeMap<String, TopicSettings>,
    brokers: usize,
    max_bytes: i64,
    bootstrap: &str,
) -> Vec<Finding> {
    let mut found = Vec::new();
    if brokers == 1 {
        found.push(Finding {
            level: Level::Warn,
            topic: String::new(),
            text: "the cluster has one broker: what it acknowledges is lost with its disk".into(),
            mend: "use at least three brokers where conversions count".into(),
        });
    }
    for topic in owned {
        let Some(info) = infos.iter().find(|i| i.name == topic.name) else { continue };
        let set = |setting: &str| {
            format!(
                "kafka-configs.sh --bootstrap-server {bootstrap} --alter --entity-type topics --entity-name {} \
                 --add-config {setting}",
                topic.name
            )
        };
        let mut add = |level, text: String, mend| {
            found.push(Finding { level, topic: topic.name.clone(), text, mend });
        };
        if topic.single && info.partitions != 1 {
            let text = format!("{} partitions instead of one: parked work may overtake itself", info.partitions);
            add(Level::Warn, text, "recreate it with one partition while it is empty".into());
        }
        if info.partitions < topic.least {
            let text = format!("{} partitions: its records need {}", info.partitions, topic.least);
            let mend = format!(
                "kafka-topics.sh --bootstrap-server {bootstrap} --alter --topic {} --partitions {}",
                topic.name, topic.least
            );
            add(Level::Refuse, text, mend);
        }
        if brokers > 1 && info.replication < 2 {
            let text = format!("{} replica on {brokers} brokers", info.replication);
            add(Level::Refuse, text, "kafka-reassign-partitions.sh to at least two replicas".into());
        }
        let Some(settings) = settings.get(&topic.name) else { continue };
        // A setting that a broker does not state is not judged.
        if !["", "delete"].contains(&&*settings.cleanup_policy) {
            let text = format!("cleanup.policy is {}: copies with one key would vanish", settings.cleanup_policy);
            add(Level::Refuse, text, set("cleanup.policy=delete"));
        }
        if let Some((level, text)) = retention(topic.keeps, settings) {
            let right: Vec<_> = topic.keeps.settings().iter().map(|(key, ms)| format!("{key}={ms}")).collect();
            add(level, text, set(&right.join(",")));
        }
        if let Some(max) = settings.max_message_bytes.filter(|max| *max < max_bytes) {
            let text = format!("max.message.bytes is {max}: a copy of the largest input record needs {max_bytes}");
            // A copy that is refused because of its size ends as a dead letter, at worst as a hash, so that nothing is
            // lost silently.
            add(Level::Warn, text, set(&format!("max.message.bytes={max_bytes}")));
        }
        if let Some(insync) = settings.min_insync_replicas.filter(|n| brokers > 1 && *n < 2) {
            let text = format!("min.insync.replicas is {insync}: one broker's loss could lose acknowledged copies");
            add(Level::Refuse, text, set("min.insync.replicas=2"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::owned::Waiting;
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;

    #[test]
    fn what_waits_is_kept_for_its_whole_wait_and_no_longer_than_what_was_sent_is_remembered() {
        let waiting = Waiting { retention_ms: 11 * DAY, least_ms: 5 * DAY, window_ms: 12 * DAY };
        let judge = |waiting, retention, segment| {
            let settings =
                TopicSettings { retention_ms: Some(retention), segment_ms: Some(segment), ..TopicSettings::default() };
            retention_of(Keeps::Waiting(waiting), &settings)
        };
        for kept in [5 * DAY, 11 * DAY] {
            assert_eq!(judge(waiting, kept, SEGMENT_MS), None, "{kept}");
        }
        assert_eq!(judge(waiting, 5 * DAY - 1, SEGMENT_MS), Some(Level::Refuse));
        for (kept, segment) in [(-1, SEGMENT_MS), (30 * DAY, SEGMENT_MS), (11 * DAY, 7 * DAY)] {
            assert_eq!(judge(waiting, kept, segment), Some(Level::Warn), "{kept} {segment}");
        }
        // The topic was created for a window that is too short for its waiting records. Another warning covers that.
        let short = Waiting { retention_ms: 5 * DAY, least_ms: 5 * DAY, window_ms: 3 * DAY };
        assert_eq!(judge(short, 5 * DAY, SEGMENT_MS), None, "the worker made it like that");
    }

    fn retention_of(keeps: Keeps, settings: &TopicSettings) -> Option<Level> {
        retention(keeps, settings).map(|(level, _)| level)
    }

    fn judged(info: (i32, usize), settings: (&str, i64, i64, i64), brokers: usize) -> Vec<(Level, String)> {
        let infos = [TopicInfo { name: "t".into(), partitions: info.0, replication: info.1 }];
        let settings = TopicSettings {
            cleanup_policy: settings.0.into(),
            retention_ms: Some(settings.1),
            segment_ms: None,
            max_message_bytes: Some(settings.2),
            min_insync_replicas: Some(settings.3),
        };
        let settings = BTreeMap::from([("t".to_owned(), settings)]);
        let found = findings(
            &[OwnedTopic { name: "t".into(), partitions: 3, single: true, least: 1, keeps: Keeps::Month }],
            &infos,
            &settings,
            brokers,
            1000,
            "b:1",
        );
        assert!(found.iter().all(|f| !f.mend.is_empty()));
        found.into_iter().map(|f| (f.level, f.text)).collect()
    }

    #[test]
    fn a_topic_that_is_set_right_has_no_findings() {
        assert_eq!(judged((1, 3), ("delete", MONTH_MS, 1000, 2), 3), []);
        assert_eq!(judged((1, 3), ("delete", -1, 1000, 2), 3), []);
        assert_eq!(judged((1, 3), ("", -1, 1000, 2), 3), [], "a broker that does not say");
    }

    #[test]
    fn what_could_lose_copies_refuses_the_start_and_the_rest_warns() {
        let level = |found: Vec<(Level, String)>| found.iter().map(|f| f.0).collect::<Vec<_>>();
        assert_eq!(level(judged((1, 3), ("compact,delete", -1, 1000, 2), 3)), [Level::Refuse]);
        assert_eq!(level(judged((1, 1), ("delete", -1, 1000, 2), 3)), [Level::Refuse]);
        assert_eq!(level(judged((1, 3), ("delete", -1, 1000, 1), 3)), [Level::Refuse]);
        assert_eq!(level(judged((1, 3), ("delete", -1, 999, 2), 3)), [Level::Warn]);
        assert_eq!(level(judged((1, 3), ("delete", 1000, 1000, 2), 3)), [Level::Warn]);
        assert_eq!(level(judged((2, 3), ("delete", -1, 1000, 2), 3)), [Level::Warn]);
        let one = judged((1, 1), ("delete", -1, 1000, 1), 1);
        assert!(one.len() == 1 && one[0].0 == Level::Warn && one[0].1.contains("one broker"), "{one:?}");
    }

    #[test]
    fn a_topic_whose_records_go_to_partitions_by_number_needs_them_all() {
        let judge = |partitions| {
            let owned =
                OwnedTopic { name: "t".into(), partitions: 100, single: false, least: 100, keeps: Keeps::Month };
            let infos = [TopicInfo { name: "t".into(), partitions, replication: 3 }];
            let found = findings(&[owned], &infos, &BTreeMap::new(), 3, 1000, "b:1");
            found.into_iter().map(|f| (f.level, f.mend)).collect::<Vec<_>>()
        };
        assert_eq!((judge(100), judge(120)), (vec![], vec![]));
        let mend = "kafka-topics.sh --bootstrap-server b:1 --alter --topic t --partitions 100";
        assert_eq!(judge(99), [(Level::Refuse, mend.to_owned())]);
    }

    #[test]
    fn a_finding_names_its_topic_and_one_of_the_cluster_names_none() {
        let found = findings(&[], &[], &BTreeMap::new(), 1, 1000, "b:1");
        assert_eq!(
            found[0].to_string(),
            "kafka: the cluster has one broker: what it acknowledges is lost with its disk: use at least three brokers \
             where conversions count"
        );
        let text = unreadable("postback.dlt").to_string();
        assert!(text.starts_with("kafka: topic postback.dlt: its settings cannot be read"), "{text}");
    }
}
