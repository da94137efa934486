-- ARGV: token, lease, '1' to renew
local token, lease, renew = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
if #live_holds() > 0 then
  return { 'held', digits(now) }
end
local kept, expires, fresh, left, taken_over
if state == 'ld1V' then
  kept, expires, fresh = kept_copy(1)
elseif state == 'ld1L' then
  kept, expires, fresh = kept_copy(47)
  local ends = number(34)
  if ends > now then
    left = ends - now
  else
    taken_over = string.sub(slot, 5, 20) ~= NOBODY
  end
end
if fresh and not renew then
  return { 'fresh', digits(now), kept }
end
if left then
  return { 'busy', digits(now), digits(left) }
end
local stays = math.max(later(now, lease * 4), expires or 0)
write('ld1L' .. token .. digits(now) .. digits(later(now, lease)) .. (kept or ''), stays)
return { taken_over and 'taken' or 'granted', digits(now), kept or '' }
