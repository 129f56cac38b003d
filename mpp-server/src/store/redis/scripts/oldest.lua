-- Reads the oldest outcome of a channel that is kept, with its key.
--
-- KEYS: 1 outcomes of the channel
-- ARGV: 1 what outcomes' keys begin with
-- Returns key and outcome, or nothing. The list keeps keys of outcomes that
-- have ended; those before one that has ended have ended too.
for _, key in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    local outcome = redis.call('GET', ARGV[1] .. key)
    if outcome then
        return {key, outcome}
    end
end
return {}
