"""Which sandbox serves which session.

catalog     names and ids to sessions, over the store
state       a session's sandbox as a state machine; pure
place       drives that machine for one session
sandbox     one live sandbox: boot, calls, loss, removal
line        its pipe: opened again when it is cut, by reopen
debts       removals that the engine owes us
claims      which sandbox is whose, noted in the store
takeover    what becomes of the sandboxes that an earlier controller left
pool        booted sandboxes that belong to no session yet
admission   bounds on sandboxes, and the fair queue of who waits for room
giving_way  which unused sandbox gives way to who waits; pure
making_room stops these
execution   one run of code or of a command, and its live output
manager     puts these together; the only thing that the layers above call
"""
