-- Stores a claim unless one is there that has not ended.
--
-- The caller's clock decides: the server's own only removes what has ended
-- long ago.
--
-- KEYS: 1 claim
-- ARGV: 1 value (32 bytes), 2 stamp (16 bytes), 3 end, 4 now, 5 ms to keep it
-- Returns the claim that is there: value, stamp and end.
local there = redis.call('GET', KEYS[1])
if there and tonumber(string.sub(there, 49)) > tonumber(ARGV[4]) then
    return there
end
local claim = ARGV[1] .. ARGV[2] .. ARGV[3]
redis.call('SET', KEYS[1], claim, 'PX', ARGV[5])
return claim
