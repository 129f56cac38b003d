-- Writes documents if the versions of all are the expected ones. Everything is
-- checked before the first write.
--
-- KEYS: for each document its key and the ids of its kind
-- ARGV: 1 stamp, then for each document: expected version or '', next version,
--       its id, '1' to write or '0' to remove, value
-- Returns 1 when they are written, 0 when another version is there.
local count = #KEYS / 2
for i = 1, count do
    local version = redis.call('HGET', KEYS[2 * i - 1], 'version') or ''
    if version ~= ARGV[5 * i - 3] then
        return 0
    end
end
for i = 1, count do
    local key, ids = KEYS[2 * i - 1], KEYS[2 * i]
    local version, id, keep, value = ARGV[5 * i - 2], ARGV[5 * i - 1], ARGV[5 * i], ARGV[5 * i + 1]
    if keep == '1' then
        redis.call('HSET', key, 'version', version, 'stamps', ARGV[1], 'value', value)
        redis.call('ZADD', ids, 0, id)
    else
        redis.call('DEL', key)
        redis.call('ZREM', ids, id)
    end
end
return 1
