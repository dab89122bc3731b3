//! The list of all scripts that run in Redis. Each script compares before it writes, and states the expiry of what it
//! writes. A script of the sending path touches one key; those of replays touch all the keys that must change together.
//!
//! There is one list because the embedded store implements the scripts itself and finds them by their hash: a script
//! defined elsewhere would work with Redis and fail in the demo. The store's `match` over this list does not compile if
//! a script is missing there.

mod hashes;
mod keys;
#[macro_use]
mod list;

use ::redis::Cmd;

scripts! {
    /// Replaces exactly `ARGV[1]` by `ARGV[2]` for `ARGV[3]` ms. With `ARGV[4]` ≥ 0 it does so only if at least
    /// `ARGV[4]` ms have passed since the value was written with that expiry. Returns 1; 0 if the value is too young;
    /// or the other value that it found.
    TakeOver = r"
local v = redis.call('GET', KEYS[1])
if v ~= ARGV[1] then return v end
if tonumber(ARGV[4]) >= 0 and tonumber(ARGV[3]) - redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

    /// Gives up the claim whose value begins with `ARGV[1]`: writes `ARGV[2]` back for `ARGV[3]` ms, or deletes the key
    /// if `ARGV[2]` is empty.
    Release = r"
local v = redis.call('GET', KEYS[1])
if not v or string.sub(v, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1";

    /// Begins the life of the claim whose value begins with `ARGV[1]` again: `ARGV[2]` ms. Returns 1; 0 if the key
    /// holds something else.
    Renew = r"
local v = redis.call('GET', KEYS[1])
if not v or string.sub(v, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], v, 'PX', ARGV[2])
return 1";

    /// Writes the mark `ARGV[2]` for `ARGV[3]` ms if the key holds the claim that begins with `ARGV[1]`, or nothing.
    /// Returns 1 if the key now holds the mark, and 0 if it holds another value, which stays.
    Mark = r"
local v = redis.call('GET', KEYS[1])
if v == ARGV[2] then return 1 end
if v and (ARGV[1] == '' or string.sub(v, 1, #ARGV[1]) ~= ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

    /// Reserves `ARGV[1]` slots of `ARGV[2]` µs each, the first one at least `ARGV[4]` µs from now, unless the next
    /// free time is more than `ARGV[3]` µs ahead. Returns the number of slots granted, the µs from now to the first,
    /// the µs by which the next free time was ahead, and the present time in epoch µs. A free time that lies more than
    /// 1,000 s and two slots ahead is dropped: no push-back reaches that far, so it comes from a clock that was set
    /// back since, or from another server's clock. A free time with a `d` at its end waits for a platform's limit of a
    /// day. It is dropped beyond 25 h.
    Reserve = r"
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local v = redis.call('GET', KEYS[1]) or '0'
local most = 1000000000
if string.sub(v, -1) == 'd' then most = 90000000000; v = string.sub(v, 1, -2) end
local tat = tonumber(v)
local ahead = tat - now
if ahead > most + 2 * ARGV[2] then tat = now; ahead = 0 end
if ahead > tonumber(ARGV[3]) then return {0, 0, ahead, now} end
tat = math.max(tat, now + ARGV[4])
local free = tat + ARGV[1] * ARGV[2]
redis.call('SET', KEYS[1], string.format('%.0f', free), 'PX', math.ceil((free - now) / 1000) + 60000)
return {tonumber(ARGV[1]), tat - now, math.max(ahead, 0), now}";

    /// Pushes the next free time to at least `ARGV[1]` µs from now. Slots are `ARGV[2]` µs long. `ARGV[3]` is `d` if it
    /// waits for a platform's limit of a day. Returns the µs until that time. It also drops a free time that `Reserve`
    /// would drop, because otherwise the push-back would be dropped with it.
    PushBack = r"
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local v = redis.call('GET', KEYS[1]) or '0'
local most, mark = 1000000000, ''
if string.sub(v, -1) == 'd' then most = 90000000000; mark = 'd'; v = string.sub(v, 1, -2) end
local tat = tonumber(v)
if tat - now > most + 2 * ARGV[2] then tat = now end
local to = now + tonumber(ARGV[1])
if to >= tat then tat = to; mark = ARGV[3] end
redis.call('SET', KEYS[1], string.format('%.0f', tat) .. mark, 'PX', math.ceil((tat - now) / 1000) + 60000)
return tat - now";

    /// Takes the turn of `ARGV[1]` for `ARGV[2]` ms, unless another one has it. Who has it already takes it anew.
    /// Returns 0, or the ms until the other one's turn is over.
    TakeTurn = r"
local v = redis.call('GET', KEYS[1])
if v and v ~= ARGV[1] then return math.max(redis.call('PTTL', KEYS[1]), 1) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 0";

    /// Counts one more of a day, unless it has `ARGV[1]` already. The day is that of a zone which is `ARGV[2]` ms ahead
    /// of UTC. Returns the number of the day, and 0 or the ms until it ends. A server whose clock lags behind the one
    /// that counted before goes on with the later day.
    CountOfDay = r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[2]
local day = math.floor(now / 86400000)
local left = (day + 1) * 86400000 - now
local v = redis.call('GET', KEYS[1])
local counted, n = string.match(v or '', '^(%d+):(%d+)$')
if counted and tonumber(counted) >= day then day = tonumber(counted) else n = 0 end
if tonumber(n) >= tonumber(ARGV[1]) then return {day, left} end
redis.call('SET', KEYS[1], string.format('%d:%d', day, n + 1), 'PX', left + 86400000)
return {day, 0}";

    /// Takes back one that was counted of the day `ARGV[1]`, unless another day has begun. Returns how many it took
    /// back.
    UncountOfDay = r"
local counted, n = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+):(%d+)$')
if counted ~= ARGV[1] or tonumber(n) < 1 then return 0 end
redis.call('SET', KEYS[1], string.format('%d:%d', counted, n - 1), 'KEEPTTL')
return 1";

    /// Replaces exactly `ARGV[1]` by `ARGV[2]`, without an expiry. Always returns 1.
    BeginEpoch = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end
return 1";

    /// Writes `ARGV[2]`, without an expiry, if the key holds nothing or a value that begins with `ARGV[1]`. Returns 1
    /// if the key now holds `ARGV[2]`, or the other value that it found, which stays. There is no expiry because an
    /// account whose refresh token is forgotten is locked out.
    SaveToken = r"
local v = redis.call('GET', KEYS[1])
if v and v ~= ARGV[2] and (ARGV[1] == '' or string.sub(v, 1, #ARGV[1]) ~= ARGV[1]) then return v end
redis.call('SET', KEYS[1], ARGV[2])
return 1";

    /// Sets field `ARGV[1]` of a hash to `ARGV[2]` if it is not set, unless field `ARGV[3]` is set and holds anything
    /// but `ARGV[4]`. Returns how many fields it set.
    SwitchOn = r"
local off = redis.call('HGET', KEYS[1], ARGV[3])
if off and off ~= ARGV[4] then return 0 end
return redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])";

    /// Counts `ARGV[3]` outcomes `ARGV[1]` of one replay (`delivered`, `duplicate`, `suppressed`,
    /// `dead_lettered:<reason>`), of account `ARGV[2]`. `ARGV[4]` is a sample of it as JSON, or empty. `ARGV[5]` is 1
    /// if these outcomes may have been counted before. The hash lives for another `ARGV[6]` ms. Its fields:
    ///
    /// - each outcome, and `ended:<account>`: how many;
    /// - `sample:<outcome>`: the last sample;
    /// - `recent`: the last 50 outcomes, newest first, each with a blank behind it;
    /// - `at_least`: set if some outcome may be counted twice;
    /// - `brake`: JSON of a reason and its sample, set once more than half of 50 outcomes in a row died with this
    ///   reason. While it is set, outcomes are only counted. `ReplayMove` deletes `brake` and `recent`, so that the
    ///   next 50 are judged.
    ///
    /// Returns 1 if it set `brake`, else 0.
    CountOutcome = r#"
redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[3])
redis.call('HINCRBY', KEYS[1], 'ended:' .. ARGV[2], ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'sample:' .. ARGV[1], ARGV[4]) end
if ARGV[5] == '1' then redis.call('HSET', KEYS[1], 'at_least', '1') end
redis.call('PEXPIRE', KEYS[1], ARGV[6])
if redis.call('HEXISTS', KEYS[1], 'brake') == 1 then return 0 end
local all = string.rep(ARGV[1] .. ' ', math.min(tonumber(ARGV[3]), 50)) .. (redis.call('HGET', KEYS[1], 'recent') or '')
local recent, n, times = '', 0, {}
for one in string.gmatch(all, '%S+') do
  if n < 50 then recent = recent .. one .. ' '; n = n + 1; times[one] = (times[one] or 0) + 1 end
end
for one, m in pairs(times) do
  if n == 50 and m > 25 and string.sub(one, 1, 14) == 'dead_lettered:' then
    local sample = redis.call('HGET', KEYS[1], 'sample:' .. one) or 'null'
    redis.call('HSET', KEYS[1], 'brake', '{"reason":"' .. string.sub(one, 15) .. '","sample":' .. sample .. '}')
    redis.call('HDEL', KEYS[1], 'recent')
    return 1
  end
end
redis.call('HSET', KEYS[1], 'recent', recent)
return 0"#;

    /// Deletes field `ARGV[1]` of a hash if it holds exactly `ARGV[2]`. A newer value stays. Returns how many fields it
    /// deleted.
    TakeOrder = r"
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0";

    /// Deletes field `ARGV[1]` of a hash if it holds exactly `ARGV[2]`, and if field `ARGV[3]` still holds `ARGV[4]`
    /// (empty: is not set). Field `ARGV[3]` becomes `ARGV[5]` then, and the field `ARGV[6]` of `KEYS[2]` the audit
    /// entry `ARGV[7]`. Returns how many fields it deleted.
    EndHalt = r"
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if (redis.call('HGET', KEYS[1], ARGV[3]) or '') ~= ARGV[4] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[3], ARGV[5])
redis.call('HSET', KEYS[2], ARGV[6], ARGV[7])
return 1";

    /// Lets a topic be read on, or replaces how many bad records of it may pass. Field `ARGV[1]` of a hash says that it
    /// is stopped, and field `ARGV[3]` how many may still pass. `ARGV[4]` is the new number, or empty. A stopped topic
    /// is read on, with that number; not for 0, which lifts no stop. Otherwise the number replaces one that is not used
    /// up, and 0 ends any. If it changed something, field `ARGV[2]` becomes `ARGV[5]`, and the field `ARGV[6]` of
    /// `KEYS[2]` the audit entry `ARGV[7]`. Returns 0 if it changed nothing, 1 if the topic was stopped, and else 2.
    ReadOn = r"
local stopped = redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1
local left = redis.call('HGET', KEYS[1], ARGV[3])
local ends, numbered = ARGV[4] == '0', ARGV[4] ~= '' and ARGV[4] ~= '0'
if stopped and ends then return 0 end
if not stopped and not (left and (ends or (numbered and (tonumber(left) or 0) > 0))) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
if numbered then redis.call('HSET', KEYS[1], ARGV[3], ARGV[4]) else redis.call('HDEL', KEYS[1], ARGV[3]) end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[5])
redis.call('HSET', KEYS[2], ARGV[6], ARGV[7])
return stopped and 1 or 2";

    /// Moves the replay `ARGV[1]` to the state `ARGV[2]` if it is in one of the states `ARGV[3]` (`|a|b|`), at
    /// `ARGV[4]` (epoch ms). Its hash (`KEYS[1]`) then lives for `ARGV[5]` ms. `KEYS[2]` names the one that runs:
    /// moving to `running` takes it, moving away gives it up. `KEYS[3]` is the hash of `CountOutcome`: a new start
    /// forgets what stopped the last one. The field `ARGV[6]` of `KEYS[4]` becomes the audit entry `ARGV[7]`, and the
    /// fields and values from `ARGV[8]` on are set, with the move or not at all. Returns `done`; or `none`, `planning`,
    /// `state` and the state, `held` and the one that runs.
    ReplayMove = r"
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {'none'} end
if redis.call('HEXISTS', KEYS[1], 'progress') == 1 then return {'planning'} end
if not string.find(ARGV[3], '|' .. state .. '|', 1, true) then return {'state', state} end
local running = redis.call('GET', KEYS[2])
if ARGV[2] == 'running' then
  if running and running ~= ARGV[1] then return {'held', running} end
  redis.call('SET', KEYS[2], ARGV[1])
  redis.call('HSETNX', KEYS[1], 'started_ms', ARGV[4])
  redis.call('HDEL', KEYS[1], 'ended_ms', 'stopped', 'waiting')
  redis.call('HDEL', KEYS[3], 'brake', 'recent')
else
  if running == ARGV[1] then redis.call('DEL', KEYS[2]) end
  redis.call('HSET', KEYS[1], 'ended_ms', ARGV[4])
  redis.call('HDEL', KEYS[1], 'waiting')
end
redis.call('HSET', KEYS[1], 'state', ARGV[2])
for i = 8, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('HSET', KEYS[4], ARGV[6], ARGV[7])
return {'done'}";

    /// Sets the rate of the replay (`KEYS[1]`) to `ARGV[1]` unless its state is one of `ARGV[2]` (`|a|b|`). The field
    /// `ARGV[3]` of `KEYS[2]` becomes the audit entry `ARGV[4]`. Returns as `ReplayMove`.
    ReplayRate = r"
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {'none'} end
if redis.call('HEXISTS', KEYS[1], 'progress') == 1 then return {'planning'} end
if string.find(ARGV[2], '|' .. state .. '|', 1, true) then return {'state', state} end
redis.call('HSET', KEYS[1], 'rate', ARGV[1])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
return {'done'}";

    /// Counts what the runner with the token `ARGV[1]` has done, if it still holds the lock (`KEYS[1]`), and lets the
    /// lock live for another `ARGV[2]` ms. `KEYS[2]` is the hash of the replay `ARGV[3]`, `KEYS[3]` names the one that
    /// runs. From `ARGV[9]` on there are five values per dead letter: the field that counts it, the field that counts
    /// its account (or nothing), the index in KEYS of the bitmap of those that are done, its bit there, and the index
    /// of the bitmap of those that were replayed (or 0). A letter whose bit is set already was counted before. The
    /// bitmaps live for `ARGV[5]` ms. `ARGV[6]` says what waits (or nothing). `ARGV[7]` is the state in which the
    /// replay ends at `ARGV[4]` (epoch ms), or nothing, and `ARGV[8]` says why. Returns the state and the rate; `lost`
    /// if another one has the lock, `none` if the replay is gone.
    ReplayProgress = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lost', ''} end
local state = redis.call('HGET', KEYS[2], 'state')
if not state then return {'none', ''} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
for i = 9, #ARGV, 5 do
  if redis.call('SETBIT', KEYS[tonumber(ARGV[i + 2])], ARGV[i + 3], 1) == 0 then
    redis.call('HINCRBY', KEYS[2], ARGV[i], 1)
    if ARGV[i + 1] ~= '' then redis.call('HINCRBY', KEYS[2], ARGV[i + 1], 1) end
    local replayed = tonumber(ARGV[i + 4])
    if replayed > 0 then redis.call('SETBIT', KEYS[replayed], ARGV[i + 3], 1) end
  end
end
for i = 4, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[5]) end
if state == 'running' then
  if ARGV[6] == '' then redis.call('HDEL', KEYS[2], 'waiting') else redis.call('HSET', KEYS[2], 'waiting', ARGV[6]) end
  if ARGV[7] ~= '' then
    state = ARGV[7]
    redis.call('HSET', KEYS[2], 'state', state, 'ended_ms', ARGV[4])
    redis.call('HDEL', KEYS[2], 'waiting')
    if ARGV[8] ~= '' then redis.call('HSET', KEYS[2], 'stopped', ARGV[8]) end
    if redis.call('GET', KEYS[3]) == ARGV[3] then redis.call('DEL', KEYS[3]) end
  end
end
return {state, redis.call('HGET', KEYS[2], 'rate') or ''}";
}

impl Script {
    /// A command that carries the text and runs it on one key. The caller adds the arguments.
    pub fn eval(self, key: &[u8]) -> Cmd {
        self.eval_on(&[key])
    }

    /// A command that carries the text and runs it on these keys. The caller adds the arguments.
    pub fn eval_on<K: AsRef<[u8]>>(self, keys: &[K]) -> Cmd {
        let mut cmd = ::redis::cmd("EVAL");
        cmd.arg(self.text()).arg(keys.len());
        keys.iter().for_each(|key| _ = cmd.arg(key.as_ref()));
        cmd
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn a_script_is_found_by_its_hash_and_by_its_text() {
        for script in Script::ALL {
            assert_eq!(Script::by_sha(script.sha()), Some(*script));
            assert_eq!(Script::by_sha(&script.sha().to_uppercase()), Some(*script));
            assert_eq!(Script::by_text(script.text().as_bytes()), Some(*script));
        }
        assert_eq!(Script::by_sha("da39a3ee5e6b4b0d3255bfef95601890afd80709"), None);
        assert_eq!(Script::by_text(b"return 1"), None);
    }

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
    }

    /// A script that is not in the list would not run on the embedded store.
    #[test]
    fn no_other_place_runs_scripts() {
        fn search(folder: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    search(&path, found);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let runs = ["EVAL", "EVALSHA", "FCALL"]
                        .iter()
                        .any(|c| ["cmd", "arg"].iter().any(|call| text.contains(&format!("{call}(\"{c}\""))));
                    if runs || text.contains("redis::Script::new") {
                        found.push(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
                    }
                }
            }
        }
        let mut found = Vec::new();
        search(&root(), &mut found);
        found.sort();
        let own = ["redis/batcher.rs", "redis/scripts.rs", "redis/scripts/hashes.rs"];
        assert_eq!(found, own, "scripts belong into src/redis/scripts.rs");
    }
}
