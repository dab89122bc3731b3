//! Which topics the two consumers read.

use std::collections::BTreeSet;

use crate::kafka::topics::{AdminError, Cluster};

/// The topics that the two consumers read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub inputs: BTreeSet<String>,
    /// The retry tiers and parking topics.
    pub waiting: BTreeSet<String>,
}

impl Names {
    /// Reads the names of all such topics that exist now.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn read(cluster: &Cluster) -> Result<Self, AdminError> {
        let mut names = Self::default();
        for topic in cluster.topics()? {
            if cluster.matching().is_input(&topic.name) {
                names.inputs.insert(topic.name);
            } else if cluster.matching().is_waiting(&topic.name) {
                names.waiting.insert(topic.name);
            }
        }
        Ok(names)
    }
}
