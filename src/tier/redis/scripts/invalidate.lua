-- ARGV: hold_off
drop_copy((live_holds()), tonumber(ARGV[1]))
announce()
return 'done'
