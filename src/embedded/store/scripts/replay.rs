//! The scripts of replays.

use crate::embedded::store::args::Args;
use crate::embedded::store::change::{add_to_field, set_bit};
use crate::embedded::store::keys::Keys;
use crate::embedded::store::wire::{Reply, bulk, error};

/// How many values describe one dead letter, and where they begin.
const PER_LETTER: usize = 5;
const LETTERS_FROM: usize = 8;

fn words(words: &[&[u8]]) -> Reply {
    Reply::Array(words.iter().map(|word| bulk(word)).collect())
}

fn field(keys: &Keys, key: &[u8], field: &[u8]) -> Result<Option<Vec<u8>>, Reply> {
    Ok(keys.hash(key)?.and_then(|hash| hash.get(field)).cloned())
}

/// The state of a replay, or the reply that says why there is none to change.
fn state_of(keys: &Keys, key: &[u8]) -> Result<Result<Vec<u8>, Reply>, Reply> {
    let Some(state) = field(keys, key, b"state")? else { return Ok(Err(words(&[b"none"]))) };
    Ok(if field(keys, key, b"progress")?.is_some() { Err(words(&[b"planning"])) } else { Ok(state) })
}

fn is_listed(states: &[u8], state: &[u8]) -> bool {
    let wanted = [b"|", state, b"|"].concat();
    states.windows(wanted.len()).any(|window| window == wanted)
}

fn set_fields(keys: &mut Keys, key: &[u8], pairs: &[(&[u8], &[u8])]) -> Result<(), Reply> {
    keys.change_hash(key, |hash| {
        pairs.iter().for_each(|(field, value)| _ = hash.insert(field.to_vec(), value.to_vec()))
    })
}

fn remove_fields(keys: &mut Keys, key: &[u8], fields: &[&[u8]]) -> Result<(), Reply> {
    keys.change_hash(key, |hash| fields.iter().for_each(|field| _ = hash.remove(*field)))
}

pub(super) fn change_state(keys: &mut Keys, names: &[Vec<u8>], args: &Args<'_>) -> Result<Reply, Reply> {
    let [replay, running_key, outcomes, audit] = names else {
        return Err(error("ERR a script needs four keys"));
    };
    let state = match state_of(keys, replay)? {
        Ok(state) => state,
        Err(reply) => return Ok(reply),
    };
    let (id, to) = (args.text(0)?, args.text(1)?);
    if !is_listed(args.text(2)?, &state) {
        return Ok(words(&[b"state", &state]));
    }
    let running = keys.text(running_key)?.map(<[u8]>::to_vec);
    if to == b"running" {
        if let Some(other) = running.filter(|other| other != id) {
            return Ok(words(&[b"held", &other]));
        }
        keys.set_text(running_key, id, None);
        if field(keys, replay, b"started_ms")?.is_none() {
            set_fields(keys, replay, &[(b"started_ms", args.text(3)?)])?;
        }
        remove_fields(keys, replay, &[b"ended_ms", b"stopped", b"waiting"])?;
        remove_fields(keys, outcomes, &[b"brake", b"recent"])?;
    } else {
        if running.as_deref() == Some(id) {
            keys.remove(running_key);
        }
        set_fields(keys, replay, &[(b"ended_ms", args.text(3)?)])?;
        remove_fields(keys, replay, &[b"waiting"])?;
    }
    set_fields(keys, replay, &[(b"state", to)])?;
    for pair in args.0.get(7..).unwrap_or_default().chunks_exact(2) {
        set_fields(keys, replay, &[(&pair[0], &pair[1])])?;
    }
    keys.set_life(replay, args.number(4)?);
    set_fields(keys, audit, &[(args.text(5)?, args.text(6)?)])?;
    Ok(words(&[b"done"]))
}

pub(super) fn set_rate(keys: &mut Keys, names: &[Vec<u8>], args: &Args<'_>) -> Result<Reply, Reply> {
    let [replay, audit] = names else { return Err(error("ERR a script needs two keys")) };
    let state = match state_of(keys, replay)? {
        Ok(state) => state,
        Err(reply) => return Ok(reply),
    };
    if is_listed(args.text(1)?, &state) {
        return Ok(words(&[b"state", &state]));
    }
    set_fields(keys, replay, &[(b"rate", args.text(0)?)])?;
    set_fields(keys, audit, &[(args.text(2)?, args.text(3)?)])?;
    Ok(words(&[b"done"]))
}

pub(super) fn progress(keys: &mut Keys, names: &[Vec<u8>], args: &Args<'_>) -> Result<Reply, Reply> {
    let [lock, replay, running, bitmaps @ ..] = names else { return Err(error("ERR a script needs three keys")) };
    if keys.text(lock)? != Some(args.text(0)?) {
        return Ok(words(&[b"lost", b""]));
    }
    let Some(mut state) = field(keys, replay, b"state")? else { return Ok(words(&[b"none", b""])) };
    keys.set_life(lock, args.number(1)?);
    let key =
        |index: usize| names.get(index.wrapping_sub(1)).ok_or_else(|| error("ERR a script was given no such key"));
    let letters = args.0.get(LETTERS_FROM..).unwrap_or_default().chunks_exact(PER_LETTER);
    for letter in letters.map(Args) {
        let (done, bit) = (key(letter.index(2)?)?, letter.number(3)?);
        if set_bit(keys, done, bit, true)? {
            continue;
        }
        for field in [letter.text(0)?, letter.text(1)?].into_iter().filter(|field| !field.is_empty()) {
            add_to_field(keys, replay, field, 1)?;
        }
        let replayed = letter.index(4)?;
        if replayed > 0 {
            set_bit(keys, key(replayed)?, bit, true)?;
        }
    }
    for bitmap in bitmaps {
        keys.set_life(bitmap, args.number(4)?);
    }
    if state == b"running" {
        match args.text(5)? {
            b"" => remove_fields(keys, replay, &[b"waiting"])?,
            waiting => set_fields(keys, replay, &[(b"waiting", waiting)])?,
        }
        let end = args.text(6)?;
        if !end.is_empty() {
            state = end.to_vec();
            set_fields(keys, replay, &[(b"state", end), (b"ended_ms", args.text(3)?)])?;
            remove_fields(keys, replay, &[b"waiting"])?;
            if !args.text(7)?.is_empty() {
                set_fields(keys, replay, &[(b"stopped", args.text(7)?)])?;
            }
            if keys.text(running)? == Some(args.text(2)?) {
                keys.remove(running);
            }
        }
    }
    let rate = field(keys, replay, b"rate")?.unwrap_or_default();
    Ok(words(&[&state, &rate]))
}
