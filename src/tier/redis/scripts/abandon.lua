-- ARGV: token, back_off
if not is_leased_to(ARGV[1]) then
  return 'lost'
end
local kept, expires = kept_copy(47)
if kept then
  write('ld1L' .. NOBODY .. string.sub(slot, 21, 33) .. digits(later(now, tonumber(ARGV[2]))) .. kept, expires)
else
  redis.call('DEL', key)
end
wake()
return 'done'
