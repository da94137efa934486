-- ARGV: token, as_of, fresh, total, hold_off, body
local hold_off = tonumber(ARGV[5])
local found = end_hold(ARGV[1], hold_off)
if found == 'sole' and hold_off == 0 then
  keep(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[6])
  return 'stored'
elseif found == 'sole' then
  drop_copy({}, hold_off)
elseif found == 'lost' then
  announce()
end
return found == 'lost' and 'lost' or 'refused'
