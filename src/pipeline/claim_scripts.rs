//! The scripts of the claim protocol. Each touches one key, compares before it writes, and states its expiry.

/// Replaces exactly ARGV[1] by ARGV[2] for ARGV[3] ms; with ARGV[4] ≥ 0 only if at least so many ms have passed since it
/// was written with that life. Returns 1, 0 (too young), or the other value found.
pub const TAKE_OVER: &str = r"
local v = redis.call('GET', KEYS[1])
if v ~= ARGV[1] then return v end
if tonumber(ARGV[4]) >= 0 and tonumber(ARGV[3]) - redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

/// Gives up the claim whose value begins with ARGV[1]: puts ARGV[2] back for ARGV[3] ms, or deletes where it is empty.
pub const RELEASE: &str = r"
local v = redis.call('GET', KEYS[1])
if not v or string.sub(v, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1";

/// Writes the mark ARGV[2] for ARGV[3] ms where the key holds the claim that begins with ARGV[1], or nothing. Returns 1
/// where the mark stands, 0 where something else does, which stays.
pub const MARK: &str = r"
local v = redis.call('GET', KEYS[1])
if v == ARGV[2] then return 1 end
if v and (ARGV[1] == '' or string.sub(v, 1, #ARGV[1]) ~= ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1";

/// Reserves ARGV[1] slots of ARGV[2] µs each, unless the next free time is over ARGV[3] µs ahead. Returns slots granted,
/// µs from now to the first, and µs the next free time was ahead.
pub const RESERVE: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local tat = tonumber(redis.call('GET', KEYS[1]) or '0')
local ahead = tat - now
if ahead > tonumber(ARGV[3]) then return {0, 0, ahead} end
if ahead < 0 then tat = now; ahead = 0 end
local free = tat + ARGV[1] * ARGV[2]
redis.call('SET', KEYS[1], string.format('%.0f', free), 'PX', math.ceil((free - now) / 1000) + 60000)
return {tonumber(ARGV[1]), tat - now, ahead}";

/// Pushes the next free time to at least ARGV[1] µs from now.
pub const PUSH_BACK: &str = r"
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now + tonumber(ARGV[1]))
redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 60000)
return tat - now";
