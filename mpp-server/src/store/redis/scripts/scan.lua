-- Reads one page of channels, or of the documents of a kind.
--
-- KEYS: 1 ids
-- ARGV: 1 from where, 2 how many, 3 what their keys begin with, 4 the field to read
-- Returns id, version and that field of each, in one list.
local page = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[1], '+', 'BYLEX', 'LIMIT', 0, ARGV[2])) do
    local found = redis.call('HMGET', ARGV[3] .. id, 'version', ARGV[4])
    page[#page + 1] = id
    page[#page + 1] = found[1] or ''
    page[#page + 1] = found[2] or ''
end
return page
