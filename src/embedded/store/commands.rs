//! The commands of the store: those that the worker and `postback` use, with the behaviour of Redis 7.0.

use super::change::{add_to_field, integer, set_bit};
use super::keys::Keys;
use super::scripts;
use super::wire::{Reply, bulk, count, error, maybe, ok};
use crate::redis::scripts::Script;

/// Runs one command with its arguments.
pub(super) fn run(keys: &mut Keys, info: &str, request: &[Vec<u8>]) -> Reply {
    match find(request) {
        Ok((command, args)) => {
            (command.run)(&mut RunningCommand { keys, info, args }).unwrap_or_else(|refusal| refusal)
        }
        Err(refusal) => refusal,
    }
}

/// Says why a command would not run at all. A transaction asks this when it queues a command.
pub(super) fn refusal(request: &[Vec<u8>]) -> Option<Reply> {
    find(request).err()
}

fn find(request: &[Vec<u8>]) -> Result<(&'static Command, &[Vec<u8>]), Reply> {
    let (name, args) = request.split_first().ok_or_else(|| error("ERR no command"))?;
    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
    let command = COMMANDS.iter().find(|c| c.name == name).ok_or_else(|| unknown(&name))?;
    if (command.least..=command.most).contains(&args.len()) {
        return Ok((command, args));
    }
    Err(error(&format!("ERR wrong number of arguments for '{}' command", name.to_ascii_lowercase())))
}

fn unknown(name: &str) -> Reply {
    let name: String = name.chars().take(64).collect();
    error(&format!("ERR unknown command '{name}': the embedded store has only those that postback uses"))
}

struct Command {
    name: &'static str,
    /// The smallest number of arguments; `most` is the largest.
    least: usize,
    most: usize,
    run: fn(&mut RunningCommand<'_>) -> Result<Reply, Reply>,
}

const fn command(
    name: &'static str,
    least: usize,
    most: usize,
    run: fn(&mut RunningCommand<'_>) -> Result<Reply, Reply>,
) -> Command {
    Command { name, least, most, run }
}

const MANY: usize = usize::MAX;

const COMMANDS: &[Command] = &[
    // Commands about the connection, which a client sends before its first command of ours.
    command("PING", 0, 1, |c| {
        Ok(c.args.first().map_or_else(|| Reply::SimpleString(b"PONG".to_vec()), |text| bulk(text)))
    }),
    command("CLIENT", 1, MANY, client),
    command("SELECT", 1, 1, |c| match c.args[0].as_slice() {
        b"0" => Ok(ok()),
        _ => Err(error("ERR DB index is out of range")),
    }),
    command("INFO", 0, MANY, |c| Ok(bulk(c.info.replace("{keys}", &c.keys.len().to_string()).as_bytes()))),
    command("TIME", 0, 0, |c| {
        let now = c.keys.now_us();
        let [seconds, micros] =
            [now.div_euclid(1_000_000), now.rem_euclid(1_000_000)].map(|n| bulk(n.to_string().as_bytes()));
        Ok(Reply::Array(vec![seconds, micros]))
    }),
    // Commands for keys of any kind.
    command("DEL", 1, MANY, |c| Ok(count(c.args.iter().filter(|key| c.keys.remove(key)).count()))),
    command("EXISTS", 1, MANY, |c| Ok(count(c.args.iter().filter(|key| c.keys.contains(key)).count()))),
    command("PTTL", 1, 1, |c| Ok(Reply::Integer(c.keys.life_ms(&c.args[0])))),
    command("PEXPIRE", 2, 2, |c| {
        let life = integer(&c.args[1])?;
        Ok(count(usize::from(if life > 0 { c.keys.set_life(&c.args[0], life) } else { c.keys.remove(&c.args[0]) })))
    }),
    // Commands for texts.
    command("GET", 1, 1, |c| Ok(maybe(c.keys.text(&c.args[0])?))),
    command("MGET", 1, MANY, |c| {
        // MGET answers nil for a key of another kind, and no error.
        Ok(Reply::Array(c.args.iter().map(|key| maybe(c.keys.text(key).unwrap_or_default())).collect()))
    }),
    command("SET", 2, MANY, set),
    command("SETBIT", 3, 3, |c| {
        let bit = match c.args[2].as_slice() {
            b"0" => false,
            b"1" => true,
            _ => return Err(error("ERR bit is not an integer or out of range")),
        };
        set_bit(c.keys, &c.args[0], integer(&c.args[1])?, bit).map(|old| count(usize::from(old)))
    }),
    // Commands for hashes.
    command("HGET", 2, 2, |c| {
        let value = c.keys.hash(&c.args[0])?.and_then(|hash| hash.get(&c.args[1]));
        Ok(maybe(value.map(Vec::as_slice)))
    }),
    command("HEXISTS", 2, 2, |c| {
        Ok(count(usize::from(c.keys.hash(&c.args[0])?.is_some_and(|hash| hash.contains_key(&c.args[1])))))
    }),
    command("HINCRBY", 3, 3, |c| add_to_field(c.keys, &c.args[0], &c.args[1], integer(&c.args[2])?)),
    command("HGETALL", 1, 1, |c| {
        let pairs =
            c.keys.hash(&c.args[0])?.into_iter().flatten().flat_map(|(field, value)| [bulk(field), bulk(value)]);
        Ok(Reply::Array(pairs.collect()))
    }),
    command("HSET", 3, MANY, |c| {
        if c.args.len() % 2 == 0 {
            return Err(error("ERR wrong number of arguments for 'hset' command"));
        }
        let pairs = c.args[1..].chunks_exact(2);
        let new = |pair: &[Vec<u8>], hash: &mut super::keys::Hash| hash.insert(pair[0].clone(), pair[1].clone());
        c.keys.change_hash(&c.args[0], |hash| count(pairs.filter(|pair| new(pair, hash).is_none()).count()))
    }),
    command("HSETNX", 3, 3, |c| {
        c.keys.change_hash(&c.args[0], |hash| {
            let new = !hash.contains_key(&c.args[1]);
            if new {
                hash.insert(c.args[1].clone(), c.args[2].clone());
            }
            count(usize::from(new))
        })
    }),
    command("HDEL", 2, MANY, |c| {
        c.keys.change_hash(&c.args[0], |hash| {
            count(c.args[1..].iter().filter(|field| hash.remove(field.as_slice()).is_some()).count())
        })
    }),
    // Commands for sets.
    command("SADD", 2, MANY, |c| {
        c.keys.change_set(&c.args[0], |set| count(c.args[1..].iter().filter(|m| set.insert((*m).clone())).count()))
    }),
    command("SREM", 2, MANY, |c| {
        c.keys.change_set(&c.args[0], |set| count(c.args[1..].iter().filter(|m| set.remove(m.as_slice())).count()))
    }),
    command("SMEMBERS", 1, 1, |c| {
        let members = c.keys.set(&c.args[0])?.into_iter().flatten().map(|member| bulk(member));
        Ok(Reply::Array(members.collect()))
    }),
    // Commands for lists.
    command("LPUSH", 2, MANY, |c| {
        c.keys.change_list(&c.args[0], |list| {
            c.args[1..].iter().for_each(|item| list.push_front(item.clone()));
            count(list.len())
        })
    }),
    command("LTRIM", 3, 3, |c| {
        let (from, to) = (integer(&c.args[1])?, integer(&c.args[2])?);
        c.keys.change_list(&c.args[0], |list| {
            let range = range(list.len(), from, to);
            list.truncate(range.end);
            list.drain(..range.start.min(list.len()));
            ok()
        })
    }),
    command("LRANGE", 3, 3, |c| {
        let (from, to) = (integer(&c.args[1])?, integer(&c.args[2])?);
        let Some(list) = c.keys.list(&c.args[0])? else { return Ok(Reply::Array(Vec::new())) };
        Ok(Reply::Array(list.range(range(list.len(), from, to)).map(|item| bulk(item)).collect()))
    }),
    // Commands for sorted sets.
    command("ZADD", 3, 3, |c| {
        let score: Option<f64> = std::str::from_utf8(&c.args[1]).ok().and_then(|text| text.parse().ok());
        let score = score.filter(|score| !score.is_nan()).ok_or_else(|| error("ERR value is not a valid float"))?;
        c.keys.change_sorted(&c.args[0], |set| count(usize::from(set.insert(c.args[2].clone(), score).is_none())))
    }),
    command("ZREM", 2, MANY, |c| {
        c.keys.change_sorted(&c.args[0], |set| {
            count(c.args[1..].iter().filter(|member| set.remove(member.as_slice()).is_some()).count())
        })
    }),
    command("ZREVRANGE", 3, 3, |c| {
        let (from, to) = (integer(&c.args[1])?, integer(&c.args[2])?);
        let Some(set) = c.keys.sorted(&c.args[0])? else { return Ok(Reply::Array(Vec::new())) };
        let mut members: Vec<(&Vec<u8>, &f64)> = set.iter().collect();
        members.sort_by(|a, b| b.1.total_cmp(a.1).then_with(|| b.0.cmp(a.0)));
        let range = range(members.len(), from, to);
        Ok(Reply::Array(members[range].iter().map(|(member, _)| bulk(member)).collect()))
    }),
    // Scripts: only our own, by their text or its hash.
    command("EVAL", 2, MANY, |c| match Script::by_text(&c.args[0]) {
        Some(script) => run_script(c, script),
        None => {
            let begin: String = String::from_utf8_lossy(&c.args[0]).chars().take(80).collect();
            Err(error(&format!("ERR unknown script '{begin}': the embedded store has only those of postback")))
        }
    }),
    command("EVALSHA", 2, MANY, |c| match Script::by_sha(&String::from_utf8_lossy(&c.args[0])) {
        Some(script) => run_script(c, script),
        None => Err(error("NOSCRIPT No matching script. Please use EVAL.")),
    }),
];

/// One command under way.
struct RunningCommand<'a> {
    keys: &'a mut Keys,
    info: &'a str,
    args: &'a [Vec<u8>],
}

/// A client tells its name and version.
fn client(call: &mut RunningCommand<'_>) -> Result<Reply, Reply> {
    let what = String::from_utf8_lossy(&call.args[0]).to_ascii_uppercase();
    match what.as_str() {
        "SETINFO" | "SETNAME" => Ok(ok()),
        _ => Err(unknown(&format!("CLIENT {what}"))),
    }
}

fn set(call: &mut RunningCommand<'_>) -> Result<Reply, Reply> {
    let (key, value) = (&call.args[0], &call.args[1]);
    let (mut only_new, mut only_old, mut get, mut life) = (false, false, false, None);
    let mut options = call.args[2..].iter();
    while let Some(option) = options.next() {
        match option.to_ascii_uppercase().as_slice() {
            b"NX" if !only_old => only_new = true,
            b"XX" if !only_new => only_old = true,
            b"GET" => get = true,
            unit @ (b"PX" | b"EX") if life.is_none() => {
                let given = integer(options.next().ok_or_else(syntax)?)?;
                life = Some(given.saturating_mul(if unit == b"EX" { 1_000 } else { 1 }));
            }
            _ => return Err(syntax()),
        }
    }
    if life.is_some_and(|ms| ms <= 0) {
        return Err(error("ERR invalid expire time in 'set' command"));
    }
    let old = if get { Some(maybe(call.keys.text(key)?)) } else { None };
    let there = call.keys.contains(key);
    let allowed = !(only_new && there || only_old && !there);
    if allowed {
        call.keys.set_text(key, value, life);
    }
    Ok(old.unwrap_or_else(|| if allowed { ok() } else { Reply::Null }))
}

fn run_script(call: &mut RunningCommand<'_>, script: Script) -> Result<Reply, Reply> {
    let number = usize::try_from(integer(&call.args[1])?).unwrap_or_default();
    let least = script.least_keys();
    if number < least || least == 1 && number > 1 {
        let bound = if least == 1 { "exactly" } else { "at least" };
        return Err(error(&format!("ERR the embedded store runs this script on {bound} {least} key(s)")));
    }
    let rest = &call.args[2..];
    if rest.len() < number {
        return Err(error("ERR Number of keys can't be greater than number of args"));
    }
    scripts::run(script, call.keys, &rest[..number], &rest[number..])
}

fn syntax() -> Reply {
    error("ERR syntax error")
}

/// Turns the positions `from` to `to` into a range. Both are included, and negative ones count from the end.
fn range(length: usize, from: i64, to: i64) -> std::ops::Range<usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let place = |n: i64| if n < 0 { length.saturating_add(n).max(0) } else { n.min(length) };
    // If `to` lies before the beginning, the range is empty.
    let end = if to < 0 && to.saturating_add(length) < 0 { 0 } else { place(to).saturating_add(1).min(length) };
    let start = place(from).min(end);
    let whole = |n: i64| usize::try_from(n).unwrap_or(0);
    whole(start)..whole(end)
}
