-- ARGV: life, seen, replaces, key, record, most writes, most bytes, most age
local seen, key, record = tonumber(ARGV[2]), ARGV[4], ARGV[5]
if life ~= ARGV[1] then
  note_life(ARGV[1])
  save()
end
local waiting = redis.call('XLEN', LOG)
local function is_within(what, most)
  return most == 0 or what <= most
end
if waiting > 0 and not (
  is_within(waiting + 1, tonumber(ARGV[6])) and is_within(bytes + #record, tonumber(ARGV[7]))
  and (tonumber(ARGV[8]) == 0 or is_within(math.max(now - oldest(), 0), tonumber(ARGV[8])))
) then
  return {'full'}
end
local number = next_number(seen)
-- It comes before what it replaces goes: while a slot is on its way to another node a key that has gone cannot be made anew,
-- and what a script has done until then stays.
redis.call('RPUSH', PENDING .. key, text(number))
if ARGV[3] == '1' then
  redis.call('LTRIM', PENDING .. key, -1, -1)
end
add(number, key, record, false)
redis.call('HSET', META, 'last', text(last), 'bytes', text(bytes + #record))
return {'at', text(number), text(boundary), waiting + 1}
