"""One module a peer, run in the peer's own virtual environment: the standard library and the peer, nothing of ours."""
