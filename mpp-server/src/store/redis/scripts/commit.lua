-- Replaces a record if its version is still the expected one, and writes
-- ledger entry and outcome with it. Everything is checked before the first
-- write: a script that fails later would leave half of it behind.
--
-- KEYS: 1 channel, 2 all, 3 live, 4 number, 5 ledger, 6 ledger of the channel,
--       7 outcome, 8 outcomes of the channel
-- ARGV: 1 expected version or '', 2 next version, 3 record, 4 stamp, 5 id,
--       6 '1' if live, 7 entry or '', 8 outcome or '', 9 its number, 10 its key,
--       11 how long it is kept in ms, 12 newest number that is dropped,
--       13 what outcomes' keys begin with, 14 where changes are told,
--       15 bytes of stamps that are kept
-- Returns 1 when it is written, 0 when another version is there.
local found = redis.call('HMGET', KEYS[1], 'version', 'stamps')
local version, stamps = found[1] or '', found[2] or ''
if version ~= ARGV[1] then
    return 0
end

if ARGV[7] ~= '' then
    local id = string.format('%.0f-0', redis.call('INCR', KEYS[4]))
    redis.call('XADD', KEYS[5], id, 'entry', ARGV[7])
    redis.call('XADD', KEYS[6], id, '', '')
end

redis.call('HSET', KEYS[1], 'version', ARGV[2], 'record', ARGV[3],
    'stamps', string.sub(ARGV[4] .. stamps, 1, tonumber(ARGV[15])))
if version == '' then
    redis.call('ZADD', KEYS[2], 0, ARGV[5])
end
if ARGV[6] == '1' then
    redis.call('ZADD', KEYS[3], 0, ARGV[5])
else
    redis.call('ZREM', KEYS[3], ARGV[5])
end

if ARGV[8] ~= '' then
    redis.call('SET', KEYS[7], ARGV[8], 'PX', ARGV[11])
    redis.call('ZADD', KEYS[8], ARGV[9], ARGV[10])
    for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[8], '-inf', ARGV[12])) do
        redis.call('DEL', ARGV[13] .. key)
    end
    redis.call('ZREMRANGEBYSCORE', KEYS[8], '-inf', ARGV[12])
    -- The list of the outcomes ends with the last of them.
    if redis.call('PTTL', KEYS[8]) < tonumber(ARGV[11]) then
        redis.call('PEXPIRE', KEYS[8], ARGV[11])
    end
end

redis.call('PUBLISH', ARGV[14], ARGV[5] .. ' ' .. ARGV[2])
return 1
