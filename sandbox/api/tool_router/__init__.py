"""The session API of the Composio face. Wire names live here; each module is one concern."""
