-- ARGV: want, and the life and the number of a write, or 0
local want = math.min(tonumber(ARGV[1]), last)
if want > wanted then
  wanted = want
  redis.call('HSET', META, 'wanted', text(wanted))
end
local first = oldest()
local age = first and math.max(now - first, 0) or 0
-- Whether it is here under its number, or was.
local number = tonumber(ARGV[3])
local end_of_life = ARGV[2] == life and last or end_of(ARGV[2])
local was_moved = moved_above < number and number <= moved_upto
local is_kept = number == 0 or (end_of_life and number <= end_of_life and not was_moved)
return {text(last), text(floor), redis.call('XLEN', LOG), text(bytes), text(age), is_kept and 1 or 0}
