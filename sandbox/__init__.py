"""Workbench: a self-hosted remote code sandbox service for AI agents."""

__version__ = "0.1.0"
