"""Finds out whether this machine can run sandboxes, and says what to do where it cannot."""
