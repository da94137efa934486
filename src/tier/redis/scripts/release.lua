-- ARGV: token, hold_off
local found = end_hold(ARGV[1], tonumber(ARGV[2]))
if found == 'sole' then
  drop_copy({}, tonumber(ARGV[2]))
elseif found == 'lost' then
  announce()
end
return found == 'lost' and 'lost' or 'done'
