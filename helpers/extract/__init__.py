"""Reads the text of one document, in a process of its own: a hostile file harms nobody else."""
