-- What every script needs: the slot of KEYS[1], taken apart. The layout is that of tier/redis/layout.rs, the rules
-- are those of tier/slot.rs; tests hold the two against each other command by command.
local key = KEYS[1]
local slot = redis.pcall('GET', key)
if type(slot) == 'table' and not string.find(slot.err, 'WRONGTYPE', 1, true) then
  return slot
end
local NOBODY = string.rep('\0', 16)
local LAST = 9999999999999
local TOKEN, TIME = string.rep('.', 16), string.rep('%d', 13)

local function has(form, from)
  return string.find(slot, '^' .. form, from) ~= nil
end

local function is_copy(from)
  return has('ld1V' .. TOKEN .. TIME .. TIME .. TIME, from)
end

local function is_held()
  for from = 6, #slot, 29 do
    if not has(TOKEN .. TIME, from) then
      return false
    end
  end
  return has('ld1H', 1)
end

-- Anything but a whole slot is as good as nothing.
local state
if type(slot) == 'string' then
  if is_copy(1) then
    state = 'ld1V'
  elseif has('ld1L' .. TOKEN .. TIME .. TIME, 1) then
    state = 'ld1L'
  elseif is_held() then
    state = 'ld1H'
  end
end

local function number(from)
  return tonumber(string.sub(slot, from, from + 12))
end

local function later(moment, by)
  return math.min(moment + by, LAST)
end

local function digits(moment)
  return string.format('%013.0f', moment)
end

local function write(value, gone_at)
  redis.call('SET', key, value, 'PX', string.format('%.0f', gone_at - now))
end

-- The copy that a reader may still be given, its end and whether it is fresh; or nothing.
local function kept_copy(from)
  if is_copy(from) then
    local expires = number(from + 46)
    if expires > now then
      return string.sub(slot, from), expires, number(from + 33) > now
    end
  end
end

local function keep(id, as_of, fresh, total, body)
  local expires = later(as_of, total)
  if expires > now then
    write('ld1V' .. id .. digits(as_of) .. digits(later(as_of, fresh)) .. digits(expires) .. body, expires)
  else
    redis.call('DEL', key)
  end
end

-- The holds that have not run out, and whether more than one writer was here.
local function live_holds()
  local holds = {}
  if state ~= 'ld1H' then
    return holds, false
  end
  for from = 6, #slot, 29 do
    local ends = number(from + 16)
    if ends > now then
      holds[#holds + 1] = { string.sub(slot, from, from + 15), ends }
    end
  end
  return holds, #holds > 0 and string.sub(slot, 5, 5) == '1'
end

local function without(holds, token)
  local rest, found = {}, nil
  for _, hold in ipairs(holds) do
    if hold[1] == token then
      found = hold
    else
      rest[#rest + 1] = hold
    end
  end
  return rest, found
end

local function write_holds(holds, contended)
  if #holds == 0 then
    redis.call('DEL', key)
    return
  end
  local parts, gone_at = { 'ld1H', contended and '1' or '0' }, 0
  for _, hold in ipairs(holds) do
    parts[#parts + 1] = hold[1] .. digits(hold[2])
    gone_at = math.max(gone_at, hold[2])
  end
  write(table.concat(parts), gone_at)
end

-- Leaves no copy and no lease. Writers who are not done keep their holds, and will not publish.
local function drop_copy(holds, hold_off)
  if hold_off > 0 then
    local rest, before = without(holds, NOBODY)
    rest[#rest + 1] = { NOBODY, math.max(later(now, hold_off), before and before[2] or 0) }
    holds = rest
  end
  write_holds(holds, true)
end

-- Ends a hold: 'sole', or 'shared' or 'lost' and no copy.
local function end_hold(token, hold_off)
  local holds, contended = live_holds()
  local rest, mine = without(holds, token)
  if mine and not contended then
    return 'sole'
  end
  drop_copy(rest, hold_off)
  return mine and 'shared' or 'lost'
end

local function is_leased_to(token)
  return state == 'ld1L' and string.sub(slot, 5, 20) == token
end

-- Tells those who wait for a load that it has ended, if there are any; KEYS[2] is there while there are. The last three
-- arguments are those of `announce`.
local function wake()
  if KEYS[2] and redis.call('GET', KEYS[2]) then
    redis.pcall(ARGV[#ARGV - 2], ARGV[#ARGV - 1], 'filled ' .. ARGV[#ARGV])
  end
end

-- Tells all who keep copies elsewhere that the keys of a stripe are dropped here, in a message with the bucket's next
-- number. KEYS[2] has that number; the last three arguments say by which command, on which channel, and of which stripe.
-- A count that the server has lost goes on above all that were ever heard, as long as the server's clock goes forward. Who
-- may not publish, or count, is heard of all the same: by the number, at the next barrier.
local function announce()
  if not KEYS[2] then
    return
  end
  local number = redis.pcall('INCR', KEYS[2])
  if type(number) ~= 'number' or number == 1 then
    number = math.max(now * 1000, (tonumber(redis.pcall('GET', KEYS[2])) or 0) + 1)
    redis.call('SET', KEYS[2], string.format('%.0f', number))
  end
  redis.pcall(ARGV[#ARGV - 2], ARGV[#ARGV - 1], string.format('%.0f ', number) .. ARGV[#ARGV])
end
