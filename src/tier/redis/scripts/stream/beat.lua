-- Says that a process is there, and asks who else is. KEYS[1] is where they are all listed.
-- ARGV: the process, for how long it counts, in microseconds; 0 if it leaves
local MEMBERS = KEYS[1]
if tonumber(ARGV[2]) == 0 then
  redis.call('ZREM', MEMBERS, ARGV[1])
else
  redis.call('ZADD', MEMBERS, string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', MEMBERS, '-inf', string.format('(%.0f', now))
-- In the order of their names, which all see alike.
local all = redis.call('ZRANGE', MEMBERS, 0, -1)
table.sort(all)
local place = 0
for index, name in ipairs(all) do
  if name == ARGV[1] then
    place = index
  end
end
return {#all, place}
