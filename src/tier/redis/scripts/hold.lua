-- ARGV: token, life
local holds, contended = live_holds()
local rest, mine = without(holds, ARGV[1])
contended = contended or (not mine and #rest > 0)
rest[#rest + 1] = { ARGV[1], later(now, tonumber(ARGV[2])) }
write_holds(rest, contended)
announce()
return contended and 'contended' or 'done'
