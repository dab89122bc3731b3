//! Finds partitions with unfinished records of which no running worker tells. Workers tell of what they own, so only
//! Kafka knows of these.

use std::collections::{BTreeMap, BTreeSet};

use crate::kafka::Config;
use crate::kafka::settings::waiting_group;
use crate::kafka::topics::{AdminError, Cluster, OffsetByPartition, PartitionName};

/// A partition that nobody owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unowned {
    pub name: PartitionName,
    /// The committed position.
    pub committed: Option<i64>,
    /// The first offset to read.
    pub from: i64,
    pub end: i64,
}

/// Looks for them in the inputs, the tiers and the parking topics. It blocks.
///
/// # Errors
/// See [`AdminError`].
pub fn unowned(config: &Config, owned: &BTreeSet<PartitionName>) -> Result<Vec<Unowned>, AdminError> {
    let cluster = Cluster::new(config).map_err(|e| AdminError::Refused(e.to_string()))?;
    let (mut inputs, mut waiting) = (Vec::new(), Vec::new());
    for topic in cluster.topics()? {
        let names = (0..topic.partitions).map(|partition| (topic.name.clone(), partition));
        let names = names.filter(|name| !owned.contains(name));
        match cluster.matching() {
            matching if matching.is_input(&topic.name) => inputs.extend(names),
            matching if matching.is_waiting(&topic.name) => waiting.extend(names),
            _ => {}
        }
    }
    let mut committed = BTreeMap::new();
    for (group, names) in [(config.group.clone(), &inputs), (waiting_group(config), &waiting)] {
        if !names.is_empty() {
            committed.extend(cluster.committed(&group, names)?);
        }
    }
    let (all, offsets) = ([inputs, waiting].concat(), cluster.offsets()?);
    let (first, ends) = (offsets.first(&all)?, offsets.ends(&all)?);
    Ok(unfinished(all, &committed, &first, &ends))
}

/// Those among the partitions that hold a record at or behind their position.
fn unfinished(
    all: Vec<PartitionName>,
    committed: &OffsetByPartition,
    first: &OffsetByPartition,
    ends: &OffsetByPartition,
) -> Vec<Unowned> {
    let found = all.into_iter().filter_map(|name| {
        let (first, end) = (*first.get(&name)?, *ends.get(&name)?);
        let committed = committed.get(&name).copied();
        let from = committed.map_or(first, |at| at.max(first));
        (from < end).then_some(Unowned { name, committed, from, end })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_counts_from_its_position_and_without_one_from_its_beginning() {
        let name = |partition: i32| ("t".to_owned(), partition);
        let of = |pairs: &[(i32, i64)]| pairs.iter().map(|(p, at)| (name(*p), *at)).collect::<OffsetByPartition>();
        let found = unfinished(
            (0..5).map(name).collect(),
            &of(&[(0, 7), (1, 9), (3, 2)]),
            &of(&[(0, 0), (1, 0), (2, 4), (3, 5), (4, 6)]),
            &of(&[(0, 9), (1, 9), (2, 9), (3, 9), (4, 6)]),
        );
        let found: Vec<_> = found.into_iter().map(|u| (u.name.1, u.committed, u.from, u.end)).collect();
        assert_eq!(found, [(0, Some(7), 7, 9), (2, None, 4, 9), (3, Some(2), 5, 9)]);
    }
}
