"""Drivers that make sandboxes. `base` is the contract, `conformance` the list that every driver passes."""
