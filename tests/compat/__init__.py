"""The contract with programs that were written for the hosted service: each promise of it is held by a test."""
