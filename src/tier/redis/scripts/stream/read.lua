-- ARGV: life, key
if life and not (met and life == ARGV[1]) then
  return {'unmet'}
end
local waiting = {}
for _, number in ipairs(redis.call('LRANGE', PENDING .. ARGV[2], 0, -1)) do
  local entry = redis.call('XRANGE', LOG, number, number, 'COUNT', 1)[1]
  if entry then
    waiting[#waiting + 1] = number
    waiting[#waiting + 1] = entry[2][4]
  end
end
return {'met', waiting}
