//! Runs each script of [`Script`] in Rust, with the same reads, comparisons, writes and replies as its Lua text.

mod replay;

use super::args::{Args, number};
use super::keys::Keys;
use super::outcomes::count_outcome;
use super::wire::{Reply, bulk, count, error};
use crate::redis::scripts::Script;

const DAY_MS: i64 = 86_400_000;
/// The life of a bucket after its last slot.
const BUCKET_LIFE_MS: i64 = 60_000;
/// A next free time that lies further ahead than this (and two slots) can only come from a clock that was set back
/// since.
const FURTHEST_US: i64 = 1_000_000_000;
/// The same for one that waits for a platform's limit of a day.
const FURTHEST_DAY_US: i64 = 90_000_000_000;
/// The end of such a time.
const DAY: &[u8] = b"d";

/// Runs a script on keys of these names. There are as many as the script needs, and at least one.
///
/// # Errors
/// Errors that Redis would give, too: an argument is missing or no number, or the value has another kind.
pub(super) fn run(script: Script, keys: &mut Keys, names: &[Vec<u8>], args: &[Vec<u8>]) -> Result<Reply, Reply> {
    let (key, args) = (&names[0][..], Args(args));
    match script {
        Script::TakeOver => take_over(keys, key, &args),
        Script::Release => release(keys, key, &args),
        Script::Renew => renew(keys, key, &args),
        Script::Mark => mark(keys, key, &args),
        Script::Reserve => reserve(keys, key, &args),
        Script::PushBack => push_back(keys, key, &args),
        Script::TakeTurn => take_turn(keys, key, &args),
        Script::CountOfDay => count_of_day(keys, key, &args),
        Script::UncountOfDay => uncount_of_day(keys, key, &args),
        Script::BeginEpoch => {
            if keys.text(key)? == Some(args.text(0)?) {
                keys.set_text(key, args.text(1)?, None);
            }
            Ok(Reply::Integer(1))
        }
        Script::SaveToken => save_token(keys, key, &args),
        Script::SwitchOn => {
            let hash = keys.hash(key)?;
            let off = hash.and_then(|hash| hash.get(args.text(2).ok()?));
            let seen = args.text(3)?;
            let field = args.text(0)?;
            if off.is_some_and(|note| note != seen) || hash.is_some_and(|hash| hash.contains_key(field)) {
                return Ok(Reply::Integer(0));
            }
            let value = args.text(1)?.to_vec();
            keys.change_hash(key, |hash| hash.insert(field.to_vec(), value)).map(|_| Reply::Integer(1))
        }
        Script::CountOutcome => count_outcome(keys, key, &args),
        Script::TakeOrder => {
            let found = keys.hash(key)?.and_then(|hash| hash.get(args.text(0).ok()?));
            if found.map(Vec::as_slice) != Some(args.text(1)?) {
                return Ok(Reply::Integer(0));
            }
            let field = args.text(0)?;
            keys.change_hash(key, |hash| count(usize::from(hash.remove(field).is_some())))
        }
        Script::EndHalt => end_halt(keys, names, &args),
        Script::ReadOn => read_on(keys, names, &args),
        Script::ReplayMove => replay::change_state(keys, names, &args),
        Script::ReplayRate => replay::set_rate(keys, names, &args),
        Script::ReplayProgress => replay::progress(keys, names, &args),
    }
}

fn end_halt(keys: &mut Keys, names: &[Vec<u8>], args: &Args<'_>) -> Result<Reply, Reply> {
    let [switches, audit, ..] = names else { return Err(error("ERR a script needs two keys")) };
    let (halted, resumed) = (args.text(0)?, args.text(2)?);
    let hash = keys.hash(switches)?;
    let of = |field: &[u8]| hash.and_then(|hash| hash.get(field)).map(Vec::as_slice);
    if of(halted) != Some(args.text(1)?) || of(resumed).unwrap_or_default() != args.text(3)? {
        return Ok(Reply::Integer(0));
    }
    let (token, id, entry) = (args.text(4)?.to_vec(), args.text(5)?.to_vec(), args.text(6)?.to_vec());
    keys.change_hash(switches, |hash| hash.remove(halted))?;
    keys.change_hash(switches, |hash| hash.insert(resumed.to_vec(), token))?;
    keys.change_hash(audit, |hash| hash.insert(id, entry)).map(|_| Reply::Integer(1))
}

fn read_on(keys: &mut Keys, names: &[Vec<u8>], args: &Args<'_>) -> Result<Reply, Reply> {
    let [storms, audit, ..] = names else { return Err(error("ERR a script needs two keys")) };
    let (stopped, passing, pass) = (args.text(0)?, args.text(2)?, args.text(3)?);
    let hash = keys.hash(storms)?;
    let of = |field: &[u8]| hash.and_then(|hash| hash.get(field));
    let (is_stopped, left) = (of(stopped).is_some(), of(passing));
    let (ends, numbered) = (pass == b"0", !pass.is_empty() && pass != b"0");
    let is_left = left.and_then(|left| number(left).ok()).is_some_and(|left| left > 0);
    if if is_stopped { ends } else { !(ends && left.is_some() || numbered && is_left) } {
        return Ok(Reply::Integer(0));
    }
    let (released, token) = (args.text(1)?.to_vec(), args.text(4)?.to_vec());
    let (id, entry) = (args.text(5)?.to_vec(), args.text(6)?.to_vec());
    keys.change_hash(storms, |hash| {
        hash.remove(stopped);
        match numbered {
            true => hash.insert(passing.to_vec(), pass.to_vec()),
            false => hash.remove(passing),
        };
        hash.insert(released, token);
    })?;
    keys.change_hash(audit, |hash| hash.insert(id, entry))?;
    Ok(Reply::Integer(if is_stopped { 1 } else { 2 }))
}

fn take_over(keys: &mut Keys, key: &[u8], args: &Args<'_>) -> Result<Reply, Reply> {
    let life = args.number(2)?;
    match keys.text(key)? {
        Some(found) if found == args.text(0)? => {}
        Some(found) => return Ok(bulk(found)),
        None => return Ok(Reply::Null),
    }
    let age = args.number(3)?;
    if age >= 0 && life.saturating_sub(keys.life_ms(key)) < age {
        return Ok(Reply::Integer(0));
    }
    write(keys, key, args.text(1)?, life)
}

fn renew(keys: &mut Keys, key: &[u8], args: &Args<'_>) -> Result<Reply, Reply> {
    let holder = args.text(0)?;
    match keys.text(key)?.filter(|found| found.starts_with(holder)).map(<[u8]>::to_vec) {
        Some(claim) => write(keys, key, &claim, args.number(1)?),
        None => Ok(Reply::Integer(0)),
    }
}

fn release(keys: &mut Keys, key: &[u8], args: &Args<'_>) -> Result<Reply, Reply> {
    if !keys.text(key)?.is_some_and(|found| args.text(0).is_ok_and(|holder| found.starts_with(holder))) {
        return Ok(Reply::Integer(0));
    }
    match args.text(1)? {
        b"" => {
            keys.remove(key);
            Ok(Reply::Integer(1))
        }
        old => write(keys, key, old, args.number(2)?),
    }
}

fn mark(keys: &mut Keys, key: &[u8], args: &Args<'_>) -> Result<Reply, Reply> {
    let (holder, mark) = (args.text(0)?, args.text(1)?);
    match keys.text(key)? {
        Some(found) if found == mark => Ok(Reply::Integer(1)),
        Some(found) if holder.is_empty() || !found.starts_with(holder) => Ok(Reply::Integer(0)),
        _ => write(keys, key, mark, args.number(2)?),
    }
}

fn save_token(keys: &mut Keys, key: &[u8], args: &Args<'_>) -> Result<Reply, Reply> {
    let (replaced, new) = (args.text(0)?, args.text(1)?);
    match keys.text(key)? {
        Some(found) if found != new && (replaced.is_empty() || !found.starts_with(replaced)) => Ok(bulk(found)),
        _ => {
            keys.set_text(key, new, None);
            Ok(Reply::Integer(1))
        }
    }
}

fn write(keys: &mut Keys, key: &[u8], text: &[u8], life_ms: i64) -> Result<Reply, Reply> {
    if life_ms <= 0 {
        return Err(error("ERR invalid expire time in 'set' command"));
    }
    keys.set_text(key, text, Some(life_ms));
    Ok(Reply::Integer(1))
}

fn reserve(keys: &mut Keys, key: &[u8], args: &Args<'_>) -> Result<Reply, Reply> {
    let (slots, interval, limit, lead) = (args.number(0)?, args.number(1)?, args.number(2)?, args.number(3)?);
    let now = keys.now_us();
    let (next_free, _) = next_free(keys, key, now, interval)?;
    let ahead = next_free.saturating_sub(now);
    if ahead > limit {
        return Ok(numbers([0, 0, ahead, now]));
    }
    let first = next_free.max(now.saturating_add(lead));
    set_next_free(keys, key, first.saturating_add(slots.saturating_mul(interval)), b"");
    Ok(numbers([slots, first - now, ahead.max(0), now]))
}

fn push_back(keys: &mut Keys, key: &[u8], args: &Args<'_>) -> Result<Reply, Reply> {
    let now = keys.now_us();
    let (mut next_free, mut mark) = next_free(keys, key, now, args.number(1)?)?;
    let to = now.saturating_add(args.number(0)?);
    if to >= next_free {
        (next_free, mark) = (to, args.text(2)?);
    }
    set_next_free(keys, key, next_free, mark);
    Ok(Reply::Integer(next_free - now))
}

/// Returns the next free time of the bucket, epoch µs, and its mark. A missing bucket has been free for ever. A bucket
/// whose time comes from another clock is free from now on.
fn next_free(keys: &Keys, key: &[u8], now: i64, interval: i64) -> Result<(i64, &'static [u8]), Reply> {
    let text = keys.text(key)?.unwrap_or(b"0");
    let (text, mark, furthest) = match text.strip_suffix(DAY) {
        Some(text) => (text, DAY, FURTHEST_DAY_US),
        None => (text, &b""[..], FURTHEST_US),
    };
    let at = number(text)?;
    let is_ours = at.saturating_sub(now) <= furthest.saturating_add(interval.saturating_mul(2));
    Ok((if is_ours { at } else { now }, mark))
}

fn set_next_free(keys: &mut Keys, key: &[u8], at: i64, mark: &[u8]) {
    let ahead_ms = at.saturating_sub(keys.now_us()).saturating_add(999).div_euclid(1_000);
    keys.set_text(key, &[at.to_string().as_bytes(), mark].concat(), Some(ahead_ms.saturating_add(BUCKET_LIFE_MS)));
}

fn take_turn(keys: &mut Keys, key: &[u8], args: &Args<'_>) -> Result<Reply, Reply> {
    if keys.text(key)?.is_some_and(|found| Ok(found) != args.text(0)) {
        return Ok(Reply::Integer(keys.life_ms(key).max(1)));
    }
    write(keys, key, args.text(0)?, args.number(1)?).map(|_| Reply::Integer(0))
}

fn count_of_day(keys: &mut Keys, key: &[u8], args: &Args<'_>) -> Result<Reply, Reply> {
    let (most, ahead_of_utc) = (args.number(0)?, args.number(1)?);
    let now = keys.now_us().div_euclid(1_000).saturating_add(ahead_of_utc);
    let today = now.div_euclid(DAY_MS);
    let left = today.saturating_add(1).saturating_mul(DAY_MS).saturating_sub(now);
    let (day, count) = counted(keys, key)?.filter(|(day, _)| *day >= today).unwrap_or((today, 0));
    if count >= most {
        return Ok(numbers([day, left]));
    }
    keys.set_text(key, format!("{day}:{}", count + 1).as_bytes(), Some(left.saturating_add(DAY_MS)));
    Ok(numbers([day, 0]))
}

fn uncount_of_day(keys: &mut Keys, key: &[u8], args: &Args<'_>) -> Result<Reply, Reply> {
    let wanted = args.text(0)?;
    let is_wanted = |(day, count): &(i64, i64)| day.to_string().as_bytes() == wanted && *count > 0;
    let Some((day, count)) = counted(keys, key)?.filter(is_wanted) else { return Ok(Reply::Integer(0)) };
    let life = keys.life_ms(key);
    keys.set_text(key, format!("{day}:{}", count - 1).as_bytes(), (life >= 0).then_some(life));
    Ok(Reply::Integer(1))
}

/// A day by its number, and how many were counted of it.
fn counted(keys: &Keys, key: &[u8]) -> Result<Option<(i64, i64)>, Reply> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let text = keys.text(key)?.and_then(|text| std::str::from_utf8(text).ok());
    Ok(text.and_then(|text| text.split_once(':')).and_then(|(day, count)| Some((digits(day)?, digits(count)?))))
}

fn numbers<const N: usize>(of: [i64; N]) -> Reply {
    Reply::Array(of.map(Reply::Integer).to_vec())
}
