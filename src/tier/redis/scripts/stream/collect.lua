-- ARGV: life, epoch, offset, most, delay
local ours, offset, most, delay = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if epoch > ours then
  return {'superseded'}
end
if floor > offset then
  return {'behind', text(floor)}
end
note_life(ARGV[1])

-- Who is new here, or meets a server that is: what the store cannot have gets a number above its offset, and so does all
-- that came after it.
local is_new_life = not met
local is_foreign = ours > epoch and offset > floor
  and #redis.call('XRANGE', LOG, text(offset), text(offset), 'COUNT', 1) == 0
epoch, met = ours, true
local done, doubtful = offset, offset
if is_new_life then
  done, doubtful = met_upto, boundary
elseif is_foreign then
  -- Somebody who was an owner once may have met the server before its owner did.
  done, doubtful = math.max(floor, met_upto), math.max(floor, boundary)
end
local lost_its_end = (is_new_life or is_foreign) and math.max(floor, boundary) < offset
local moved = {}
if done < offset and #redis.call('XRANGE', LOG, text(done + 1), text(offset), 'COUNT', 1) > 0 then
  moved = redis.call('XRANGE', LOG, text(done + 1), '+')
  moved_above, moved_upto = done, number_of(moved[#moved][1])
end
-- The store has all of these.
local settled = redis.call('XRANGE', LOG, '-', text(math.min(done, offset)))

-- What has gone to another node ends the script here, before it has changed anything: what is done until then would stay.
local seen = {}
for _, entries in ipairs({moved, settled}) do
  for _, entry in ipairs(entries) do
    local key = entry[2][2]
    if not seen[key] then
      seen[key] = redis.call('LRANGE', PENDING .. key, 0, 0)
    end
  end
end

for _, entry in ipairs(moved) do
  local number, key, record = number_of(entry[1]), entry[2][2], entry[2][4]
  local new, is_doubtful = next_number(offset), entry[2][6] == '1' or number <= math.min(doubtful, offset)
  -- The new number comes before the old one goes, or there would be no list in between.
  if not is_doubtful then
    redis.call('RPUSH', PENDING .. key, text(new))
  end
  if not leave(key, number) and not is_doubtful then
    leave(key, new)
  end
  redis.call('XDEL', LOG, entry[1])
  add(new, key, record, is_doubtful)
end
for _, entry in ipairs(settled) do
  leave(entry[2][2], number_of(entry[1]))
  bytes = bytes - #entry[2][4]
end
redis.call('XTRIM', LOG, 'MINID', text(offset + 1))
floor, last = math.max(floor, offset), math.max(last, offset)
save()

local found = {lost_its_end and 1 or 0, #moved, text(boundary)}
local first = oldest()
if not first then
  return {'nothing', found}
end
local due = first + delay
if first <= now and now < due and wanted < first and redis.call('XLEN', LOG) < most then
  return {'later', found, text(due - now)}
end
local batch = {}
for _, entry in ipairs(redis.call('XRANGE', LOG, '-', '+', 'COUNT', most)) do
  batch[#batch + 1] = text(number_of(entry[1]))
  batch[#batch + 1] = entry[2][4]
  batch[#batch + 1] = entry[2][6]
end
return {'due', found, batch}
