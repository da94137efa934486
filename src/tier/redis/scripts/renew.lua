-- ARGV: token, lease
if not is_leased_to(ARGV[1]) then
  return 'lost'
end
local lease = tonumber(ARGV[2])
local kept, expires = '', 0
if is_copy(47) then
  kept, expires = string.sub(slot, 47), number(93)
end
write(string.sub(slot, 1, 33) .. digits(later(now, lease)) .. kept, math.max(later(now, lease * 4), expires))
return 'done'
