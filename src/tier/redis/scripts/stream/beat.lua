-- Says that a process is there, and asks who else is. KEYS: where they are all listed, and how many shards there are.
-- ARGV: the process, for how long it counts, in microseconds, or 0 if it leaves; how many shards it knows, and whether the
-- stream is to have so many from now on
local MEMBERS, SHARDS = KEYS[1], KEYS[2]
redis.call('ZREMRANGEBYSCORE', MEMBERS, '-inf', string.format('(%.0f', now))

-- Who knows another number of shards would look for a key where others do not.
local shards = redis.call('GET', SHARDS)
if not shards or (ARGV[4] == '1' and redis.call('ZCARD', MEMBERS) == 0) then
  shards = ARGV[3]
  redis.call('SET', SHARDS, shards)
end
if shards ~= ARGV[3] then
  return {redis.call('ZCARD', MEMBERS), 0, tonumber(shards)}
end

if tonumber(ARGV[2]) == 0 then
  redis.call('ZREM', MEMBERS, ARGV[1])
else
  redis.call('ZADD', MEMBERS, string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
end
-- In the order of their names, which all see alike.
local all = redis.call('ZRANGE', MEMBERS, 0, -1)
table.sort(all)
local place = 0
for index, name in ipairs(all) do
  if name == ARGV[1] then
    place = index
  end
end
return {#all, place, tonumber(shards)}
