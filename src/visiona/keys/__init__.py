"""API keys: what a person's own programs show instead of a session."""
