"""Which sandbox serves which session.

catalog     names and ids to sessions, over the store
configs     their configurations and versions; session_config and config_parts are its shapes
state       a session's sandbox as a state machine; pure, with transitions
place       drives that machine for one session; places holds all of them
sandbox     one live sandbox: boot, calls, loss, removal
line        its pipe: opened again when it is cut, by reopen
rest        puts idle sandboxes to rest and wakes them; reaper says when
resizing    gives a sandbox another size in place
debts       removals that the engine owes us
claims      which sandbox is whose, noted in the store
takeover    what becomes of the sandboxes that an earlier controller left, and of the survivors that run in them
supply      sandboxes for who needs one, from a pool or by a boot
pool        booted sandboxes that belong to no session yet
admission   bounds on sandboxes, and the fair queue of who waits for room
giving_way  which unused sandbox gives way to who waits; pure
making_room stops these
execution   one run of code or of a command, and its live output
executions  all of them, running (runner) and ended (history)
results     those that ended, written to the store behind the answer; sweep removes old ones
helper_*    calls that code in a sandbox makes: helper_desk hands them to the gateway, helper_calls ends each once
store       what is kept, as an interface; store_sql and *_sql are its SQL, tables its schema
manager     puts these together; the only thing that the layers above call
"""
