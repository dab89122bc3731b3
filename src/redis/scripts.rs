//! Every script that runs in Redis, in one list. Each touches one key, compares before it writes, and states its expiry.
//!
//! One list, because the embedded store carries scripts out itself, by their hash: a script that stood elsewhere would
//! work with Redis and fail in the demo. The store's `match` over this list does not compile while one is missing there.

use std::sync::LazyLock;

use ::redis::Cmd;

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Script {
            $($(#[$doc])* $name,)+
        }

        impl Script {
            pub const ALL: &[Script] = &[$(Script::$name,)+];

            pub const fn text(self) -> &'static str {
                match self {
                    $(Script::$name => $text,)+
                }
            }
        }
    };
}

scripts! {
    /// Replaces exactly `ARGV[1]` by `ARGV[2]` for `ARGV[3]` ms; with `ARGV[4]` ≥ 0 only if at least so many ms have
    /// passed since it was written with that life. Returns 1, 0 (too young), or the other value found.
    TakeOver = r"
local v = redis.call('GET', KEYS[1])
if v ~= ARGV[1] then return v end
if tonumber(ARGV[4]) >= 0 and tonumber(ARGV[3]) - redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

    /// Gives up the claim whose value begins with `ARGV[1]`: puts `ARGV[2]` back for `ARGV[3]` ms, or deletes where it is
    /// empty.
    Release = r"
local v = redis.call('GET', KEYS[1])
if not v or string.sub(v, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1";

    /// Writes the mark `ARGV[2]` for `ARGV[3]` ms where the key holds the claim that begins with `ARGV[1]`, or nothing. Returns
    /// 1 where the mark stands, 0 where something else does, which stays.
    Mark = r"
local v = redis.call('GET', KEYS[1])
if v == ARGV[2] then return 1 end
if v and (ARGV[1] == '' or string.sub(v, 1, #ARGV[1]) ~= ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

    /// Reserves `ARGV[1]` slots of `ARGV[2]` µs each, the first one at least `ARGV[4]` µs from now, unless the next free time
    /// is over `ARGV[3]` µs ahead. Returns slots granted, µs from now to the first, µs the next free time was ahead, and
    /// now in epoch µs.
    /// A free time over 1,000 s and two slots ahead, further than anybody is pushed back, is one of a clock that was set
    /// back since, or of another server's.
    Reserve = r"
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local tat = tonumber(redis.call('GET', KEYS[1]) or '0')
local ahead = tat - now
if ahead > 1000000000 + 2 * ARGV[2] then tat = now; ahead = 0 end
if ahead > tonumber(ARGV[3]) then return {0, 0, ahead, now} end
tat = math.max(tat, now + ARGV[4])
local free = tat + ARGV[1] * ARGV[2]
redis.call('SET', KEYS[1], string.format('%.0f', free), 'PX', math.ceil((free - now) / 1000) + 60000)
return {tonumber(ARGV[1]), tat - now, math.max(ahead, 0), now}";

    /// Pushes the next free time to at least `ARGV[1]` µs from now, slots being `ARGV[2]` µs long. Returns µs to it. A free
    /// time that `Reserve` would drop is dropped here too: the push-back would go with it.
    PushBack = r"
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local tat = tonumber(redis.call('GET', KEYS[1]) or '0')
if tat - now > 1000000000 + 2 * ARGV[2] then tat = now end
tat = math.max(tat, now + tonumber(ARGV[1]))
redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 60000)
return tat - now";

    /// Replaces exactly `ARGV[1]` by `ARGV[2]`, without an expiry. Always returns 1.
    BeginEpoch = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end
return 1";

    /// Writes `ARGV[2]`, without an expiry, where the key holds nothing or what begins with `ARGV[1]`. Returns 1 where it
    /// stands there, or the other value found, which stays. Without an expiry, because a refresh token that is forgotten
    /// locks its account out.
    SaveToken = r"
local v = redis.call('GET', KEYS[1])
if v and v ~= ARGV[2] and (ARGV[1] == '' or string.sub(v, 1, #ARGV[1]) ~= ARGV[1]) then return v end
redis.call('SET', KEYS[1], ARGV[2])
return 1";

    /// Sets field `ARGV[1]` of a hash to `ARGV[2]` where it is not set, unless field `ARGV[3]` is and holds anything but
    /// `ARGV[4]`. Returns how many were set.
    SwitchOn = r"
local off = redis.call('HGET', KEYS[1], ARGV[3])
if off and off ~= ARGV[4] then return 0 end
return redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])";

    /// Deletes field `ARGV[1]` of a hash where it holds exactly `ARGV[2]`; a newer value stays. Returns how many were
    /// deleted.
    TakeOrder = r"
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0";
}

static HASHES: LazyLock<Vec<String>> =
    LazyLock::new(|| Script::ALL.iter().map(|s| ::redis::Script::new(s.text()).get_hash().to_owned()).collect());

impl Script {
    /// The SHA-1 of the text, by which a server remembers it.
    pub fn sha(self) -> &'static str {
        &HASHES[self as usize]
    }

    /// The one with this hash.
    pub fn by_sha(sha: &str) -> Option<Script> {
        Script::ALL.iter().copied().find(|script| script.sha().eq_ignore_ascii_case(sha))
    }

    /// The one with this text.
    pub fn by_text(text: &[u8]) -> Option<Script> {
        Script::ALL.iter().copied().find(|script| script.text().as_bytes() == text)
    }

    /// A command that carries the text and runs it on one key; the arguments are to follow.
    pub fn eval(self, key: &[u8]) -> Cmd {
        let mut cmd = ::redis::cmd("EVAL");
        cmd.arg(self.text()).arg(1).arg(key);
        cmd
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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

    /// What is not in the list would not run on the embedded store.
    #[test]
    fn no_other_place_runs_scripts() {
        fn search(folder: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    search(&path, found);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let runs = ["EVAL", "EVALSHA", "FCALL"].iter().any(|c| text.contains(&format!("cmd(\"{c}\"")));
                    if runs || text.contains("redis::Script::new") {
                        found.push(path.file_name().unwrap().to_string_lossy().into_owned());
                    }
                }
            }
        }
        let mut found = Vec::new();
        search(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        found.sort();
        assert_eq!(found, ["batcher.rs", "scripts.rs"], "scripts belong into src/redis/scripts.rs");
    }
}
