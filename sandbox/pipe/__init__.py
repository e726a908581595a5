"""The pipe: one duplex byte stream between controller and agent, and the protocol on it.

Read in this order: `messages` (what is said), `framing` (how it becomes lines), `caller` (the side that
asks), `answerer` (the side that serves), `peer` (both on one stream, with sync). No transport in here.
"""
