-- tell
-- Nothing but the message: whatever it is about has been done.
announce()
return 'done'
