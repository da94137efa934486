-- What every script of a stream needs. The rules are those of stream.rs; tests hold the two against each other command by
-- command.
--
-- KEYS: meta, log, and what waits for the key that it is about, if it is about one. All are in one slot; they are named so
-- that, while that is on its way to another node, a script runs where all of them are, or nowhere.
--
-- Numbers are microseconds: a Lua number holds them exactly until the year 2255.
local META, LOG = KEYS[1], KEYS[2]
local PENDING = string.sub(META, 1, -5) .. 'p:'

local function text(number)
  return string.format('%.0f', number)
end

local meta = {}
do
  local names = {'last', 'life', 'boundary', 'met', 'met_upto', 'epoch', 'floor', 'wanted', 'bytes',
    'ends', 'moved_above', 'moved_upto'}
  local values = redis.call('HMGET', META, unpack(names))
  for index, name in ipairs(names) do
    meta[name] = values[index]
  end
end
local last, boundary, floor = tonumber(meta.last or 0), tonumber(meta.boundary or 0), tonumber(meta.floor or 0)
local bytes, epoch, wanted = tonumber(meta.bytes or 0), tonumber(meta.epoch or 0), tonumber(meta.wanted or 0)
local ends, moved_above, moved_upto = meta.ends or '', tonumber(meta.moved_above or 0), tonumber(meta.moved_upto or 0)
local life, met, met_upto = meta.life, meta.met == '1', tonumber(meta.met_upto or 0)

-- The last number of a life that has ended; nothing, if that is not known here.
local function end_of(ended)
  for of, number in string.gmatch(ends, '(%d+):(%d+)') do
    if of == ended then
      return tonumber(number)
    end
  end
end

local LIVES = 8
local function note_end(ended)
  local known = {}
  for of, number in string.gmatch(ends, '(%d+):(%d+)') do
    if of ~= ended then
      known[#known + 1] = of .. ':' .. number
    end
  end
  known[#known + 1] = ended .. ':' .. text(last)
  while #known > LIVES do
    table.remove(known, 1)
  end
  ends = table.concat(known, ' ')
end

local function note_life(now_in)
  if life == now_in then
    return
  end
  if life then
    note_end(life)
  end
  boundary = last
  if met or not life then
    met_upto = last
  end
  life, met = now_in, false
end

local function next_number(above)
  last = math.max(now, math.max(last, above, floor) + 1)
  return last
end

local function number_of(id)
  return tonumber(string.match(id, '^%d+'))
end

local function oldest()
  local first = redis.call('XRANGE', LOG, '-', '+', 'COUNT', 1)[1]
  return first and number_of(first[1])
end

local function add(number, key, record, is_doubtful)
  redis.call('XADD', LOG, text(number) .. '-0', 'k', key, 'r', record, 'd', is_doubtful and '1' or '0')
end

-- A write counts for readers no more, if it did. By its number: something newer may wait for the same key.
local function leave(key, number)
  return redis.call('LREM', PENDING .. key, 1, text(number)) == 1
end

-- Only what has changed: who owns a shard in which nothing happens asks many times a second, and what is written, even if it
-- is the same, goes to the disk and to the replicas.
local function save()
  local now_is = {last = text(last), boundary = text(boundary), floor = text(floor), bytes = text(bytes), epoch = text(epoch),
    wanted = text(wanted), life = life, met = met and '1' or '0', met_upto = text(met_upto),
    ends = ends, moved_above = text(moved_above), moved_upto = text(moved_upto)}
  local changed = {}
  for name, value in pairs(now_is) do
    if meta[name] ~= value then
      changed[#changed + 1] = name
      changed[#changed + 1] = value
    end
  end
  if #changed > 0 then
    redis.call('HSET', META, unpack(changed))
  end
end
