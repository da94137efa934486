-- ARGV: token, as_of, fresh, total, body
if not is_leased_to(ARGV[1]) then
  return 'refused'
end
keep(ARGV[1], math.min(tonumber(ARGV[2]), number(21)), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5])
wake()
return 'stored'
