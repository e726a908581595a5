"""The pipe: one duplex byte stream between controller and agent, and the protocol on it.

Read in this order: `messages` (what is said), `frames` (how the protocol carries it), `framing` (how that becomes
lines), `peer` (the controller's side, with `pending`: a call it waits for), `answerer` (the agent's side, with `ledger`
and `replay`: what it remembers for a controller that was not there), `window` (bulk data). Calls that go the other way,
from helpers to the gateway: `asking` (the agent's side) and `helper_talk` (the controller's). No transport in here:
`link` is what one has to offer.
"""
