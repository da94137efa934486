-- ARGV: want
local want = math.min(tonumber(ARGV[1]), last)
if want > wanted then
  wanted = want
  redis.call('HSET', META, 'wanted', text(wanted))
end
local first = oldest()
local age = first and math.max(now - first, 0) or 0
return {text(last), text(floor), redis.call('XLEN', LOG), text(bytes), text(age)}
