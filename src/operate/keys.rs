//! The names of the keys in Redis. The table in [`crate::operate`] says what each key holds.

/// Builds the names of the keys under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// Names that begin with `prefix` and a colon.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }
    /// The key of the lane switches.
    pub fn lanes(&self) -> String {
        format!("{}:lanes", self.prefix)
    }
    /// The key of the audit entries that are not published yet.
    pub fn audit_out(&self) -> String {
        format!("{}:audit:out", self.prefix)
    }
    /// The key of whose turn it is to publish them.
    pub fn audit_turn(&self) -> String {
        format!("{}:audit:turn", self.prefix)
    }
    /// The key of the ids of replicas that wrote a snapshot.
    pub fn replicas(&self) -> String {
        format!("{}:replicas", self.prefix)
    }
    /// The key of one replica's snapshot.
    pub fn replica(&self, id: &str) -> String {
        format!("{}:replica:{id}", self.prefix)
    }
    /// The key of the orders to parked partitions.
    pub fn orders(&self) -> String {
        format!("{}:orders", self.prefix)
    }
    /// The key of the partitions that are parked because they have no offset, as `<topic>/<partition>`.
    pub fn unplaced(&self) -> String {
        format!("{}:unplaced", self.prefix)
    }
    /// A key that exists while an account received records from a topic lately.
    pub fn arrived(&self, topic: &str, account: &str) -> String {
        format!("{}:arrived:{topic}:{account}", self.prefix)
    }
    /// The key of the topics that have been part of the input before.
    pub fn topics(&self) -> String {
        format!("{}:topics", self.prefix)
    }
    /// The key of the partitions of tiers and parking topics that had a committed offset.
    pub fn positions(&self) -> String {
        format!("{}:positions", self.prefix)
    }
    /// The key of the epoch. It exists as long as the store has not lost its data.
    pub fn epoch(&self) -> String {
        format!("{}:epoch", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_begins_with_the_prefix() {
        let keys = Keys::new("pb");
        let all = [
            keys.lanes(),
            keys.audit_out(),
            keys.audit_turn(),
            keys.replicas(),
            keys.replica("a1"),
            keys.orders(),
            keys.epoch(),
        ];
        assert_eq!(
            all,
            ["pb:lanes", "pb:audit:out", "pb:audit:turn", "pb:replicas", "pb:replica:a1", "pb:orders", "pb:epoch"]
        );
        assert_eq!([keys.unplaced(), keys.topics(), keys.positions()], ["pb:unplaced", "pb:topics", "pb:positions"]);
    }
}
