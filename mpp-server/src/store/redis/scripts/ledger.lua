-- Reads one page of the ledger.
--
-- KEYS: 1 ledger, 2 ledger of one channel or ledger
-- ARGV: 1 first number, 2 how many
-- Returns stream id and entry of each, in one list.
local page = {}
for _, line in ipairs(redis.call('XRANGE', KEYS[2], ARGV[1], '+', 'COUNT', ARGV[2])) do
    local id, fields = line[1], line[2]
    if KEYS[1] ~= KEYS[2] then
        fields = redis.call('XRANGE', KEYS[1], id, id)[1][2]
    end
    page[#page + 1] = id
    page[#page + 1] = fields[2]
end
return page
