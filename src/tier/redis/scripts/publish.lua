-- ARGV: token, as_of, fresh, total, hold_off, body
local found = end_hold(ARGV[1], tonumber(ARGV[5]))
if found == 'sole' then
  keep(ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[6])
  return 'stored'
end
return found == 'lost' and 'lost' or 'refused'
