//! Looks up in Redis what keeps dead letters from being published: a replay of another plan, or a delivery since.

use std::collections::BTreeMap;

use ::redis::RedisResult;
use ::redis::aio::MultiplexedConnection;

use crate::inspect::dead_letters::DeadLetter;
use crate::operate::keys::{Keys, OFFSETS_PER_KEY};
use crate::replay::cause::Skip;
use crate::replay::discards::Discards;
use crate::replay::judge::Judged;
use crate::replay::places::Place;

/// Why each of these dead letters is skipped, in one round trip, and whether it is the very record that was delivered
/// since, not a copy of its event. `again` publishes also what was replayed before. Of `discards` those count that the
/// plan did not know.
///
/// # Errors
/// Fails if Redis does not answer.
pub async fn skips(
    c: &mut MultiplexedConnection,
    (keys, prefix): (&Keys, &str),
    letters: &[(Place, Judged)],
    again: bool,
    discards: &Discards,
) -> RedisResult<Vec<(Option<Skip>, bool)>> {
    let mut bitmaps: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut claims: Vec<Vec<u8>> = Vec::new();
    for ((partition, offset), judged) in letters {
        if !again {
            bitmaps.entry(keys.replayed(*partition, *offset)).or_default();
        }
        claims.extend(judged.claim.map(|(key, _)| key.name(prefix)));
    }
    let names: Vec<String> = bitmaps.keys().cloned().collect();
    let asked: Vec<Vec<u8>> = names.iter().map(|name| name.clone().into_bytes()).chain(claims).collect();
    let found: Vec<Option<Vec<u8>>> = match asked.is_empty() {
        true => Vec::new(),
        false => ::redis::cmd("MGET").arg(&asked).query_async(c).await?,
    };
    let mut found = found.into_iter();
    for name in names {
        bitmaps.insert(name, found.next().flatten().unwrap_or_default());
    }
    let discarded = discards.cover(&letters.iter().map(|(_, judged)| &judged.letter).collect::<Vec<&DeadLetter>>());
    let mut discarded = discarded.into_iter();
    let skip = |((partition, offset), judged): &(Place, Judged)| {
        let is_discarded = discarded.next().unwrap_or(false);
        let claim = judged.claim.and_then(|_| found.next().flatten());
        if judged.skip.is_some_and(|cause| !cause.may_be_forced()) {
            return (judged.skip, false);
        }
        let bits = bitmaps.get(&keys.replayed(*partition, *offset));
        if bits.is_some_and(|bits| is_set(bits, *offset)) {
            return (Some(Skip::Replayed), false);
        }
        let settled = judged.settled(claim.as_deref());
        let skip = settled.or(is_discarded.then_some(Skip::Discarded)).or(judged.skip);
        (skip, settled == Some(Skip::Confirmed) && judged.is_itself(claim.as_deref()))
    };
    Ok(letters.iter().map(skip).collect())
}

/// Whether the bit of an offset is set in its bitmap.
pub fn is_set(bits: &[u8], offset: i64) -> bool {
    let bit = usize::try_from(offset % OFFSETS_PER_KEY).unwrap_or(usize::MAX);
    bits.get(bit / 8).is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_read_as_redis_sets_them() {
        let bits = [0b0100_0000, 0b0000_0001];
        let set: Vec<i64> = (65_536..65_600).filter(|offset| is_set(&bits, *offset)).collect();
        assert_eq!(set, [65_537, 65_551]);
        assert!(!is_set(&[], 0));
    }
}
