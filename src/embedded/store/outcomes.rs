//! The script that counts the outcomes of a replay, as its Lua text does it.

use std::collections::BTreeMap;

use super::args::{Args, number};
use super::keys::{Hash, Keys};
use super::wire::{Reply, error};

/// How many outcomes are judged together.
const WINDOW: usize = 50;
const DEAD: &[u8] = b"dead_lettered:";

pub(super) fn count_outcome(keys: &mut Keys, key: &[u8], args: &Args<'_>) -> Result<Reply, Reply> {
    let (outcome, account, times) = (args.text(0)?, args.text(1)?, args.number(2)?);
    let (sample, twice, life_ms) = (args.text(3)?, args.text(4)?, args.number(5)?);
    let braked = keys.change_hash(key, |hash| {
        add(hash, outcome.to_vec(), times)?;
        add(hash, [b"ended:", account].concat(), times)?;
        if !sample.is_empty() {
            hash.insert([b"sample:", outcome].concat(), sample.to_vec());
        }
        if twice == b"1" {
            hash.insert(b"at_least".to_vec(), b"1".to_vec());
        }
        Ok(judge(hash, outcome, times))
    })??;
    keys.set_life(key, life_ms);
    Ok(Reply::Integer(i64::from(braked)))
}

fn add(hash: &mut Hash, field: Vec<u8>, times: i64) -> Result<(), Reply> {
    let before = hash.get(&field).map_or(Ok(0), |text| number(text));
    let before = before.map_err(|_| error("ERR hash value is not an integer"))?;
    hash.insert(field, before.saturating_add(times).to_string().into_bytes());
    Ok(())
}

/// Adds to the last outcomes, and sets the brake if they are too many of one kind.
fn judge(hash: &mut Hash, outcome: &[u8], times: i64) -> bool {
    if hash.contains_key(&b"brake"[..]) {
        return false;
    }
    let earlier = hash.remove(&b"recent"[..]).unwrap_or_default();
    let new = std::iter::repeat_n(outcome, usize::try_from(times).unwrap_or(0).min(WINDOW));
    let recent: Vec<&[u8]> =
        new.chain(earlier.split(|byte| *byte == b' ').filter(|one| !one.is_empty())).take(WINDOW).collect();
    let mut counts = BTreeMap::new();
    recent.iter().for_each(|one| *counts.entry(*one).or_insert(0) += 1);
    let worst = counts.into_iter().find(|(one, count)| *count > WINDOW / 2 && one.starts_with(DEAD));
    if let Some((one, _)) = worst.filter(|_| recent.len() == WINDOW) {
        let sample = hash.get(&[b"sample:", one].concat()).map_or(&b"null"[..], Vec::as_slice);
        let brake = [br#"{"reason":""#, &one[DEAD.len()..], br#"","sample":"#, sample, b"}"].concat();
        hash.insert(b"brake".to_vec(), brake);
        return true;
    }
    let recent: Vec<u8> = recent.iter().flat_map(|one| [*one, b" "].concat()).collect();
    hash.insert(b"recent".to_vec(), recent);
    false
}
