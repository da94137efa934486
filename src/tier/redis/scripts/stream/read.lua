-- ARGV: life, key
if life and not (met and life == ARGV[1]) then
  return {'unmet'}
end
return {'met', redis.call('HGETALL', PENDING .. ARGV[2])}
