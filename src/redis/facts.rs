//! Reads what a Redis server says about itself, and judges whether claims may rely on it (pure).

use std::collections::HashMap;

/// What `INFO` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `redis_version`.
    pub version: String,
    /// `cluster_enabled`.
    pub cluster: bool,
    /// `maxmemory_policy`. Empty if the server hides it.
    pub policy: String,
    /// `master` or `slave`.
    pub role: String,
    /// `master_replid`. It changes with the primary.
    pub replication_id: String,
    /// Whether the server writes an append-only file.
    pub append_only: bool,
    /// `connected_slaves`.
    pub replicas: u32,
    /// Whether the server refuses writes that too few replicas would receive: `min_slaves_good_slaves` is shown only
    /// then.
    pub needs_replicas: bool,
    /// `used_memory` and `maxmemory`, if there is a limit.
    pub memory: Option<(u64, u64)>,
}

impl Facts {
    /// Reads the text that `INFO` returns.
    pub fn read(info: &str) -> Self {
        let fields: HashMap<&str, &str> = info.lines().filter_map(|l| l.trim_end().split_once(':')).collect();
        let text = |name: &str| fields.get(name).copied().unwrap_or_default().to_owned();
        let number = |name: &str| fields.get(name).and_then(|v| v.parse::<u64>().ok());
        Self {
            version: text("redis_version"),
            cluster: text("cluster_enabled") == "1",
            policy: text("maxmemory_policy"),
            role: text("role"),
            replication_id: text("master_replid"),
            append_only: text("aof_enabled") == "1",
            replicas: number("connected_slaves").unwrap_or(0) as u32,
            needs_replicas: fields.contains_key("min_slaves_good_slaves"),
            memory: number("maxmemory").filter(|m| *m > 0).zip(number("used_memory")).map(|(max, used)| (used, max)),
        }
    }

    /// The reasons why claims may not rely on this server, each with its remedy. Each of them refuses a start.
    pub fn refusals(&self) -> Vec<String> {
        let mut found = Vec::new();
        let major = self.version.split('.').next().and_then(|m| m.parse::<u32>().ok());
        if major.is_some_and(|m| m < 7) {
            found.push(format!(
                "redis.url: Redis {} is too old: 7.0 or newer is needed (SET with NX and GET)",
                self.version
            ));
        }
        if self.cluster {
            found.push("redis.url: Redis runs in cluster mode: use one primary with replicas".into());
        }
        if !self.policy.is_empty() && self.policy != "noeviction" {
            found.push(format!(
                "redis.url: maxmemory-policy is {}: it forgets claims while it says OK; run \
                 `CONFIG SET maxmemory-policy noeviction` and write it to the configuration",
                self.policy
            ));
        }
        found
    }

    /// Whether this is the store inside this process.
    pub fn is_embedded(&self) -> bool {
        self.version.ends_with("-embedded")
    }

    /// Settings that are allowed but should be different.
    pub fn warnings(&self) -> Vec<String> {
        let mut found = Vec::new();
        // The embedded store reports this itself at the start, and nobody could change it there.
        if !self.append_only && !self.is_embedded() {
            found.push("redis: no append-only file: a restart loses the claims; set appendonly yes".to_owned());
        }
        // A replica shows its own replicas, and takes no writes.
        if self.replicas > 0 && !self.needs_replicas && self.role != "slave" {
            found.push(
                "redis: it has replicas, and min-replicas-to-write is 0: a primary that is cut off from them goes on \
                 confirming claims, which a failover then loses, and conversions are sent twice; run \
                 `CONFIG SET min-replicas-to-write 1` and write it to the configuration"
                    .to_owned(),
            );
        }
        if let Some((used, max)) = self.memory.filter(|(used, max)| used * 10 >= max * 7) {
            // The percentage moves in steps of ten, so that the text stays the same within a step and each step is
            // logged once.
            found.push(format!(
                "redis: {} % or more of its maxmemory of {max} bytes are used: it refuses claims when full; raise maxmemory",
                used * 10 / max * 10
            ));
        }
        found
    }

    /// Why the server cannot be used now, although it may be usable later.
    pub fn hold(&self) -> Option<String> {
        (self.role == "slave")
            .then(|| "redis.url leads to a replica: claims need the primary; name that one".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\ncluster_enabled:0\r\naof_enabled:1\r\n\
                        maxmemory:0\r\nmaxmemory_policy:noeviction\r\nmaster_replid:abc\r\n";

    #[test]
    fn a_fit_redis_is_not_refused() {
        let facts = Facts::read(GOOD);
        assert_eq!(facts.refusals(), Vec::<String>::new());
        assert_eq!(facts.warnings(), Vec::<String>::new());
        assert_eq!(facts.hold(), None);
        assert_eq!(facts.replication_id, "abc");
    }

    #[test]
    fn old_clustered_and_evicting_ones_are_refused_each_by_name() {
        for (from, to, word) in [
            ("7.0.15", "6.2.14", "6.2.14"),
            ("cluster_enabled:0", "cluster_enabled:1", "cluster"),
            ("noeviction", "allkeys-lru", "allkeys-lru"),
        ] {
            let found = Facts::read(&GOOD.replace(from, to)).refusals();
            assert!(found.len() == 1 && found[0].contains(word), "{found:?}");
        }
    }

    #[test]
    fn a_replica_is_waited_for_and_a_hidden_policy_is_believed() {
        assert!(Facts::read(&GOOD.replace("role:master", "role:slave")).hold().is_some());
        assert!(Facts::read(&GOOD.replace("maxmemory_policy:noeviction\r\n", "")).refusals().is_empty());
    }

    #[test]
    fn a_primary_with_replicas_is_warned_of_if_it_takes_writes_without_them() {
        let with = |more: &str| Facts::read(&format!("{GOOD}{more}"));
        let warned = with("connected_slaves:2\r\n").warnings();
        let [text] = &warned[..] else { panic!("{warned:?}") };
        assert!(text.contains("min-replicas-to-write"), "{text}");
        assert_eq!(with("connected_slaves:1\r\n").warnings(), warned, "one text, so that it is told once");
        assert!(with("connected_slaves:2\r\nmin_slaves_good_slaves:1\r\n").warnings().is_empty());
        assert!(with("connected_slaves:0\r\n").warnings().is_empty(), "there is no failover");
        let replica = Facts::read(&GOOD.replace("role:master", "role:slave\r\nconnected_slaves:1"));
        assert!(replica.warnings().is_empty());
    }

    #[test]
    fn memory_is_warned_of_from_seven_tenths_on() {
        let at =
            |used: u64| Facts::read(&GOOD.replace("maxmemory:0", &format!("maxmemory:1000\r\nused_memory:{used}")));
        assert!(at(699).warnings().is_empty());
        assert!(at(700).warnings()[0].contains("70 % or more of its maxmemory of 1000 bytes"));
        assert_eq!(at(701).warnings(), at(799).warnings(), "one text per step, so that it is told once");
        assert_ne!(at(799).warnings(), at(800).warnings());
    }
}
