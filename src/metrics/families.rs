//! Every metric by name, type, labels and help text (contract section 7). Names are fixed: dashboards rely on them.

use std::fmt::Write as _;

/// Type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

impl Kind {
    /// The word after `# TYPE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One metric family.
pub struct Family {
    /// Full name.
    pub name: &'static str,
    pub kind: Kind,
    /// Label names, in the order in which values are given.
    pub labels: &'static [&'static str],
    pub help: &'static str,
    /// Upper bounds of a histogram, `+Inf` left out.
    pub buckets: &'static [f64],
}

impl Family {
    /// Writes its help and its type, which come before its series.
    pub(super) fn write_head(&self, text: &mut String) {
        let (name, help, kind) = (self.name, self.help, self.kind.as_str());
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, labels, help, buckets: &[] }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, labels, help, buckets: &[] }
}

const fn histogram(name: &'static str, help: &'static str, buckets: &'static [f64]) -> Family {
    Family { name, kind: Kind::Histogram, labels: &["platform"], help, buckets }
}

// 3 s is an edge of a bucket because an alert compares the 99th percentile with it.
const DURATION: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 3.0, 5.0, 10.0, 15.0, 30.0, 60.0];
// 10 s is an edge of a bucket because the objective of freshness is "accepted within ten seconds".
const AGE: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0,
    604_800.0,
];
const WAIT: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0];
const ACCOUNT: &[&str] = &["platform", "account"];
const PARTITION: &[&str] = &["topic", "partition"];

pub const RECEIVED: Family =
    counter("postback_events_received_total", &["topic"], "Records read, of inputs, retry tiers and parking topics.");
pub const FINISHED: Family = counter(
    "postback_events_finished_total",
    &["platform", "account", "outcome"],
    "Events that reached a terminal state.",
);
pub const OPEN: Family =
    gauge("postback_events_open", ACCOUNT, "Records read and neither finished nor handed off, waiting ones included.");
pub const PARKED: Family =
    gauge("postback_events_parked", ACCOUNT, "Unfinished records in parking topics, told by the partition's owner.");
pub const ROLLOUT_WAITING: Family = gauge(
    "postback_rollout_waiting_events",
    ACCOUNT,
    "Events that a gray release does not send yet, told by the owner of their partition.",
);
pub const ROLLOUT_OLDEST: Family = gauge(
    "postback_rollout_oldest_seconds",
    ACCOUNT,
    "Age of the oldest event that a gray release does not send yet, since it was first seen; 0 where none waits.",
);
pub const HANDED_OFF: Family = counter(
    "postback_events_handed_off_total",
    &["to"],
    "Records that left this process without an end: to a retry tier, to parking, or returned at revoke or shutdown.",
);
pub const UNACCOUNTED: Family = gauge(
    "postback_unaccounted_events",
    &[],
    "Received - finished - open - handed off; anything but 0 means that an event was lost track of.",
);
pub const ATTEMPTS: Family =
    counter("postback_attempts_total", &["platform", "account", "class"], "Requests to platforms by class of answer.");
pub const ATTEMPT_DURATION: Family =
    histogram("postback_attempt_duration_seconds", "Time of one request, connecting included.", DURATION);
pub const AGE_AT_DELIVERY: Family = histogram(
    "postback_event_age_at_delivery_seconds",
    "From the event's time to its acceptance; replayed events are left out.",
    AGE,
);
pub const OLDEST_OPEN: Family = gauge(
    "postback_oldest_open_event_age_seconds",
    ACCOUNT,
    "Age of the oldest unfinished event since it was first seen, waiting and parked ones included; 0 where none is.",
);
pub const OLDEST_PARKED: Family = gauge(
    "postback_oldest_parked_event_age_seconds",
    ACCOUNT,
    "Since the oldest event that waits in parking was parked, told by the partition's owner; 0 where none waits.",
);
pub const MAX_PARKED: Family =
    gauge("postback_max_parked_seconds", ACCOUNT, "After this time in parking an event becomes a dead letter.");
pub const DEAD_LETTERS: Family =
    counter("postback_dead_letters_total", &["platform", "account", "reason"], "Events written to the dead letters.");
pub const RETRIES: Family =
    counter("postback_retries_scheduled_total", &["platform", "tier"], "Hand-offs to a retry tier.");
pub const RESENDS: Family = counter(
    "postback_ambiguous_resends_total",
    ACCOUNT,
    "Sends that could be a second one, each declared before its first byte went out.",
);
pub const UNCLASSIFIED: Family =
    counter("postback_unclassified_codes_total", ACCOUNT, "Answers whose code no table lists, or that cannot be read.");
pub const CLAIMS: Family = counter("postback_claims_total", &["result"], "Claims of a trans_id by what was found.");
pub const LANE_STATE: Family = gauge("postback_lane_state", &["account", "state"], "1 on the lane's current state.");
pub const BREAKER_STATE: Family = gauge(
    "postback_breaker_state",
    &["account", "state"],
    "1 on the breaker's current state: closed sends, open sends nothing, probing tries one event at a time, ramping sends \
     with fewer permits.",
);
pub const RATE_WAIT: Family =
    histogram("postback_rate_limit_wait_seconds", "From claim to the slot of the shared rate.", WAIT);
pub const CONCURRENCY: Family = gauge("postback_lane_concurrency_limit", &["account"], "Permits of the lane.");
pub const LAG_RECORDS: Family =
    gauge("postback_consumer_lag_records", PARTITION, "Records between the committed position and the end.");
pub const LAG_SECONDS: Family = gauge(
    "postback_consumer_lag_seconds",
    PARTITION,
    "Age of the oldest record that is not finished; 0 where none is; absent while none of those that wait was read.",
);
pub const COMMIT_AGE: Family = gauge(
    "postback_commit_age_seconds",
    PARTITION,
    "Since the committed position last moved while there was something to move it.",
);
pub const RETENTION_HEADROOM: Family = gauge(
    "postback_retention_headroom_seconds",
    PARTITION,
    "Until retention.ms deletes the oldest unfinished record; absent where it is unlimited or unknown.",
);
pub const RETENTION: Family = gauge(
    "postback_retention_seconds",
    PARTITION,
    "The topic's retention.ms; absent where it is unlimited or unknown.",
);
pub const UNPLACED: Family =
    gauge("postback_unplaced_partitions", &[], "Partitions that wait for `postback unblock offsets`.");
pub const REFUSED_TOPICS: Family =
    gauge("postback_refused_topics", &[], "Topics of the worker's own that take no records.");
pub const IN_FLIGHT_EVENTS: Family = gauge(
    "postback_in_flight_events",
    &[],
    "Records read and not finished, without those that wait in a tier or parking.",
);
pub const IN_FLIGHT_BYTES: Family = gauge("postback_in_flight_bytes", &[], "Bytes of the records in flight.");
pub const REDIS_UP: Family = gauge("postback_redis_up", &[], "1 while Redis answers.");
pub const KAFKA_UP: Family = gauge("postback_kafka_up", &[], "1 while a broker answers.");
pub const REPLAY_RUNNING: Family =
    gauge("postback_replay_running", &[], "1 while this replica republishes the dead letters of a replay.");
pub const REPLAY_RECORDS: Family = counter(
    "postback_replay_records_total",
    &["result"],
    "Dead letters that replays dealt with: republished, skipped, or failed.",
);
pub const REPLAY_OUTCOMES: Family =
    counter("postback_replay_outcomes_total", &["outcome"], "Replayed events that reached a terminal state.");
pub const REPLAY_STOPPED: Family =
    gauge("postback_replay_stopped", &[], "1 while the newest replay has stopped itself and waits for an operator.");
pub const HOLDS: Family = gauge(
    "postback_worker_holds",
    &["cause"],
    "1 while the worker sends nothing because of its own redis, its lost claims (dedupe), its kafka, or its clock.",
);
pub const CLOCK_OFFSET: Family = gauge(
    "postback_clock_offset_seconds",
    &[],
    "The largest known difference of this machine's clock from that of Redis or of a platform; positive: ours is ahead.",
);
pub const BUILD_INFO: Family = gauge("postback_build_info", &["version", "commit"], "Always 1.");
pub const SECRET_AGE: Family = gauge(
    "postback_secret_age_days",
    &["account"],
    "Since the not_before of the credential in force; no series where it is not stated.",
);
pub const STORM_STOPPED: Family =
    gauge("postback_storm_stopped", &["topic"], "1 while the storm brake keeps an input topic from being read.");
pub const PROCESS_CPU: Family =
    counter("process_cpu_seconds_total", &[], "User and system time of all threads of this process.");
pub const PROCESS_MEMORY: Family = gauge("process_resident_memory_bytes", &[], "Resident memory of this process.");
pub const PROCESS_OPEN_FDS: Family = gauge("process_open_fds", &[], "Open files and sockets of this process.");

pub const CONFIG_RELOADS: Family = counter(
    "postback_config_reloads_total",
    &["result"],
    "Reloads of the configuration: ok, or failed because the file cannot be used.",
);
pub const CONFIG_LAST_RELOAD: Family = gauge(
    "postback_config_last_reload_timestamp_seconds",
    &[],
    "When the configuration in force was loaded: at the start, or at the last successful reload.",
);

/// Every family, in the order of the contract.
pub const ALL: [&Family; 48] = [
    &RECEIVED,
    &FINISHED,
    &OPEN,
    &PARKED,
    &ROLLOUT_WAITING,
    &ROLLOUT_OLDEST,
    &HANDED_OFF,
    &UNACCOUNTED,
    &ATTEMPTS,
    &ATTEMPT_DURATION,
    &AGE_AT_DELIVERY,
    &OLDEST_OPEN,
    &OLDEST_PARKED,
    &MAX_PARKED,
    &DEAD_LETTERS,
    &RETRIES,
    &RESENDS,
    &UNCLASSIFIED,
    &CLAIMS,
    &LANE_STATE,
    &BREAKER_STATE,
    &RATE_WAIT,
    &CONCURRENCY,
    &LAG_RECORDS,
    &LAG_SECONDS,
    &COMMIT_AGE,
    &RETENTION_HEADROOM,
    &RETENTION,
    &UNPLACED,
    &REFUSED_TOPICS,
    &IN_FLIGHT_EVENTS,
    &IN_FLIGHT_BYTES,
    &REPLAY_RUNNING,
    &REPLAY_RECORDS,
    &REPLAY_OUTCOMES,
    &REPLAY_STOPPED,
    &CONFIG_RELOADS,
    &CONFIG_LAST_RELOAD,
    &REDIS_UP,
    &KAFKA_UP,
    &HOLDS,
    &CLOCK_OFFSET,
    &BUILD_INFO,
    &SECRET_AGE,
    &PROCESS_CPU,
    &PROCESS_MEMORY,
    &PROCESS_OPEN_FDS,
    &STORM_STOPPED,
];
