-- ARGV: token, lease
if not is_leased_to(ARGV[1]) then
  return 'lost'
end
local lease = tonumber(ARGV[2])
local kept = string.sub(slot, 47)
local expires = kept ~= '' and number(93) or 0
write(string.sub(slot, 1, 33) .. digits(later(now, lease)) .. kept, math.max(later(now, lease * 4), expires))
return 'done'
