//! The series of partitions, which come and go with their assignment.

use super::Metrics;

impl Metrics {
    /// Sets the figures that the owner of a partition knows; `lag_seconds` and `commit_age` are in seconds. An unknown
    /// lag has no series, because 0 would say that there is no lag.
    pub fn set_partition(
        &self,
        topic: &str,
        partition: i32,
        lag_records: Option<i64>,
        lag_seconds: Option<f64>,
        commit_age: f64,
    ) {
        let number = partition.to_string();
        let labels = [topic, number.as_str()];
        // An error means that the series did not exist.
        match lag_records {
            Some(lag) => self.lag_records.with_label_values(&labels).set(lag.max(0)),
            None => _ = self.lag_records.remove_label_values(&labels),
        }
        match lag_seconds {
            Some(lag) => self.lag_seconds.with_label_values(&labels).set(lag.max(0.0)),
            None => _ = self.lag_seconds.remove_label_values(&labels),
        }
        self.commit_age.with_label_values(&labels).set(commit_age.max(0.0));
    }

    /// Sets how long a partition keeps its records, and how long it keeps its oldest unfinished one from now on, both in
    /// seconds. What is unlimited or unknown has no series.
    pub fn set_retention(&self, topic: &str, partition: i32, retention: Option<f64>, headroom: Option<f64>) {
        let number = partition.to_string();
        let labels = [topic, number.as_str()];
        for (family, value) in [(&self.retention, retention), (&self.retention_headroom, headroom)] {
            match value {
                Some(seconds) => family.with_label_values(&labels).set(seconds),
                // An error means that the series did not exist.
                None => _ = family.remove_label_values(&labels),
            }
        }
    }

    /// Removes the series of a partition that this process does not own any more. Otherwise their last values would go
    /// on raising alarms.
    pub fn remove_partition(&self, topic: &str, partition: i32) {
        let number = partition.to_string();
        let labels = [topic, number.as_str()];
        // An error means that the series did not exist: the partition was revoked before its first report.
        let _ = self.lag_records.remove_label_values(&labels);
        let _ = self.lag_seconds.remove_label_values(&labels);
        let _ = self.commit_age.remove_label_values(&labels);
        self.set_retention(topic, partition, None, None);
    }
}
