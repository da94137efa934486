-- ARGV: life, key
local waiting = redis.call('LRANGE', PENDING .. ARGV[2], 0, -1)
if #waiting > 0 and not (met and life == ARGV[1]) then
  return {'unmet'}
end
local found = {}
for _, number in ipairs(waiting) do
  local entry = redis.call('XRANGE', LOG, number, number, 'COUNT', 1)[1]
  if entry then
    found[#found + 1] = number
    found[#found + 1] = entry[2][4]
  end
end
return {'met', found}
